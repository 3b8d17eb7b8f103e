//! The Secrets of the peer door. Created, not applied: two operators must not replace each other's authority.

use super::ApplyError;
use crate::{
    cluster::Cluster,
    names,
    observe::{RENEW_AT, Seen, text},
    observed::PeerTls,
    tls::{self, Authority},
};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use std::collections::BTreeMap;

/// Makes the authority if there is none, then the certificate, anew if it is near its end.
pub(super) async fn issue(client: &Client, cluster: &Cluster, seen: &Seen) -> Result<(), ApplyError> {
    let secrets = Api::<Secret>::namespaced(client.clone(), &cluster.namespace);
    let authority = authority(&secrets, cluster, seen).await?;
    let leaf = tls::certificate(&authority, seen.observed.now)?;
    let name = names::peer_tls(&cluster.name);
    let mut secret = secret(
        cluster,
        name.clone(),
        [("ca.crt", authority.certificate), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)],
    );
    secret.metadata.annotations = Some([(RENEW_AT.to_owned(), leaf.renew_at.to_string())].into());
    if seen.observed.peer_tls == PeerTls::Absent {
        return tolerate_existing(secrets.create(&PostParams::default(), &secret).await, &name);
    }
    let patch = Patch::Merge(
        serde_json::json!({"data": secret.data, "metadata": {"annotations": secret.metadata.annotations}}),
    );
    let outcome = secrets.patch(&name, &PatchParams::default(), &patch).await;
    outcome.map(drop).map_err(ApplyError::api("renew", format!("Secret/{name}")))
}

async fn authority(secrets: &Api<Secret>, cluster: &Cluster, seen: &Seen) -> Result<Authority, ApplyError> {
    let name = names::peer_ca(&cluster.name);
    let fresh = tls::authority(&cluster.name, seen.observed.now)?;
    let wanted = secret(cluster, name.clone(), [("ca.crt", fresh.certificate.clone()), ("ca.key", fresh.key.clone())]);
    let found = secrets.get_opt(&name).await.map_err(ApplyError::api("read", format!("Secret/{name}")))?;
    if found.is_none() {
        tolerate_existing(secrets.create(&PostParams::default(), &wanted).await, &name)?;
    }
    // Whoever was first.
    let secret = secrets.get(&name).await.map_err(ApplyError::api("read", format!("Secret/{name}")))?;
    let field = |key| text(&secret, key).unwrap_or_default();
    Ok(Authority { certificate: field("ca.crt"), key: field("ca.key") })
}

fn tolerate_existing(outcome: kube::Result<Secret>, name: &str) -> Result<(), ApplyError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(ApplyError::api("create", format!("Secret/{name}"))(error)),
    }
}

fn secret<const N: usize>(cluster: &Cluster, name: String, data: [(&str, String); N]) -> Secret {
    let data: BTreeMap<String, ByteString> =
        data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(names::labels(&cluster.name)),
            owner_references: Some(vec![cluster.owner.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    }
}
