//! The Secrets of the peer door. Created, not applied: two operators must not replace each other's authority.

use super::{ApplyError, within_time};
use crate::{
    cluster::Cluster,
    names,
    observe::{RENEW_AT, Seen, text},
    tls::{self, Authority},
};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use std::collections::BTreeMap;

/// Makes the authority if there is none, then the certificate, anew if it is near its end or damaged.
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
    let what = format!("Secret/{name}");
    match within_time("read", &what, secrets.get_opt(&name)).await? {
        None => create(&secrets, &secret).await,
        // There, and near its end or without a part: to create it would only be told that it exists, for ever.
        Some(_) => overwrite(&secrets, &secret).await,
    }
}

async fn authority(secrets: &Api<Secret>, cluster: &Cluster, seen: &Seen) -> Result<Authority, ApplyError> {
    let name = names::peer_ca(&cluster.name);
    let what = format!("Secret/{name}");
    let fresh = tls::authority(&cluster.name, seen.observed.now)?;
    let wanted = secret(cluster, name.clone(), [("ca.crt", fresh.certificate.clone()), ("ca.key", fresh.key.clone())]);
    match within_time("read", &what, secrets.get_opt(&name)).await?.as_ref().map(complete) {
        Some(Some(authority)) => return Ok(authority),
        // Without its key it can sign nothing more, and nobody else has it.
        Some(None) => overwrite(secrets, &wanted).await?,
        None => create(secrets, &wanted).await?,
    }
    // Whoever was first.
    let secret = within_time("read", &what, secrets.get(&name)).await?;
    Ok(complete(&secret).unwrap_or(fresh))
}

fn complete(secret: &Secret) -> Option<Authority> {
    let field = |key| text(secret, key).filter(|text| !text.is_empty());
    Some(Authority { certificate: field("ca.crt")?, key: field("ca.key")? })
}

/// Another operator may have been first; then its Secret stands.
async fn create(secrets: &Api<Secret>, secret: &Secret) -> Result<(), ApplyError> {
    let what = format!("Secret/{}", secret.metadata.name.as_deref().unwrap_or_default());
    match within_time("create", &what, secrets.create(&PostParams::default(), secret)).await {
        Err(ApplyError::Api { source: kube::Error::Api(status), .. }) if status.is_already_exists() => Ok(()),
        outcome => outcome.map(drop),
    }
}

async fn overwrite(secrets: &Api<Secret>, secret: &Secret) -> Result<(), ApplyError> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let what = format!("Secret/{name}");
    let body = serde_json::json!({"data": secret.data, "metadata": {"annotations": secret.metadata.annotations}});
    let patch = Patch::Merge(body);
    within_time("renew", &what, secrets.patch(name, &PatchParams::default(), &patch)).await.map(drop)
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
