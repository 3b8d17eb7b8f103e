//! Servers with a certificate.

use crate::fake::{Fake, World};
use quorate_chatctl::{
    admin::{DOMAIN, certificates},
    client::{CallFailure, ClientOptions, ClusterClient, ServerTrust},
    session::ClientSession,
};
use quorate_wire::chat::v1::WhoAmIRequest;
use std::{fs, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tonic::transport::Identity;

/// Creates a directory as `chatctl cluster init` does: its nodes' certificates are made for [`DOMAIN`].
fn authority() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    certificates::make_missing(directory.path(), "c", &["a".into()], false).unwrap();
    directory
}

fn server(world: &Arc<World>, directory: &Path) -> Fake {
    let read = |name: &str| fs::read(directory.join("a").join(name)).unwrap();
    Fake::start_with_tls(world, Identity::from_pem(read("tls.crt"), read("tls.key")))
}

async fn who_am_i(servers: &[String], token: &str, trust: Option<ServerTrust>) -> Result<String, CallFailure> {
    let options = ClientOptions { limit: Some(Duration::from_secs(2)), trust, ..ClientOptions::default() };
    let session = ClientSession::new(ClusterClient::new(servers, options).unwrap(), token).unwrap();
    let answer = session.call(WhoAmIRequest {}, |mut chat, request| async move { chat.who_am_i(request).await }).await;
    answer.map(|answer| answer.user_id)
}

fn trust(directory: &Path, name: Option<&str>) -> Option<ServerTrust> {
    Some(ServerTrust::load(Some(&directory.join("ca.crt")), name.map(str::to_owned)).unwrap())
}

#[tokio::test]
async fn a_server_is_believed_for_its_authority_and_its_name_only() {
    let (ours, other) = (authority(), authority());
    let world = World::new();
    let (token, _) = world.furnished();
    let fake = server(&world, ours.path());
    let address = [fake.address.clone()];
    let seen = who_am_i(&address, &token, trust(ours.path(), Some(DOMAIN))).await.unwrap();
    assert_eq!(seen, "@alice:test");
    let foreign = who_am_i(&address, &token, trust(other.path(), Some(DOMAIN))).await.unwrap_err();
    assert!(foreign.message.contains("invalid peer certificate"), "{foreign}");
    // The certificate is not valid for the address connected to.
    let elsewhere = who_am_i(&address, &token, trust(ours.path(), None)).await.unwrap_err();
    assert!(elsewhere.message.contains("not valid for name"), "{elsewhere}");
    // A call in clear text gets no answer.
    assert!(who_am_i(&address, &token, None).await.is_err());
}
