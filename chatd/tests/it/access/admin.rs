//! Access control of the API for administrators, `quorate.admin.v1` on the peer listener: by certificate.
//!
//! The calls are made with bytes that are no message: whoever may make a call is told so, and nothing is done.

use super::Answers;
use super::grpc::methods;
use super::raw_call::{NO_MESSAGE, UNREADABLE, call};
use crate::support::certificates::Files;
use crate::support::cluster::Cluster;
use bytes::Bytes;
use tonic::Code;
use tonic::transport::Channel;

const PACKAGE: &str = "quorate.admin.v1";
const NOBODY: &str = "no certificate";

pub(super) async fn answers(cluster: &Cluster, table: &mut String) {
    let holders: [(&'static str, Option<&Files>); 3] = [
        (NOBODY, None),
        ("a member", Some(&cluster.nodes[0].tls)),
        ("an administrator", Some(cluster.administrator())),
    ];
    let mut callers = Vec::new();
    for (caller, files) in holders {
        callers.push((caller, cluster.try_peer_as(0, files).await));
    }
    let methods = methods(PACKAGE);
    for service in ["Admin/", "Moderation/"] {
        let count = methods.iter().filter(|method| method.starts_with(service)).count();
        assert!(count > 10, "{service}: {methods:?}");
    }
    for method in methods {
        let mut answers = Answers::default();
        for (caller, channel) in &callers {
            answers.add(caller, answer(channel.as_ref(), &method, *caller == NOBODY).await);
        }
        answers.write(&format!("certificate {method}"), table);
    }
}

async fn answer(channel: Option<&Channel>, method: &str, is_nobody: bool) -> String {
    let Some(channel) = channel else { return "no connection".into() };
    match call(channel, &format!("/{PACKAGE}.{method}"), "", Bytes::from_static(NO_MESSAGE)).await {
        Err(status) if status.code() == Code::PermissionDenied => "PermissionDenied".into(),
        Err(status) if status.message().contains(UNREADABLE) => "let through".into(),
        // The connection ends with the handshake, of which the client learns with its first call.
        Err(_) if is_nobody => "no connection".into(),
        other => panic!("{method}: {other:?}"),
    }
}
