//! The Secrets of the peer listener. They are created, not applied, because two operators must not replace each other's
//! CA.

use super::{ApiRequest, ApplyError, within_time};
use crate::{
    cluster::ValidCluster,
    names,
    observe::{ClusterObservation, RENEW_AT, renew_at, secret_text},
    tls::{self, CertificateAuthority, CertificateHolder},
};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use std::collections::BTreeMap;

/// Creates the CA if there is none, then issues the certificates that are absent, damaged, about to expire, or signed
/// by another CA.
pub(super) async fn issue_certificates(
    client: &Client,
    cluster: &ValidCluster,
    seen: &ClusterObservation,
) -> Result<(), ApplyError> {
    let secrets = Api::<Secret>::namespaced(client.clone(), &cluster.namespace);
    let authority = ensure_authority(&secrets, cluster, seen).await?;
    for (name, holder) in [
        (names::peer_tls(&cluster.name), CertificateHolder::Pods),
        (names::admin_tls(&cluster.name), CertificateHolder::Administrator),
    ] {
        issue_one(&secrets, cluster, seen.observed.now, &authority, &name, holder).await?;
    }
    Ok(())
}

async fn issue_one(
    secrets: &Api<Secret>,
    cluster: &ValidCluster,
    now: Timestamp,
    authority: &CertificateAuthority,
    name: &str,
    holder: CertificateHolder,
) -> Result<(), ApplyError> {
    // Read again: another operator, or an attempt that was cut short, may have issued it since the observation.
    let found = within_time(ApiRequest::Read, &format!("Secret/{name}"), secrets.get_opt(name)).await?;
    if found.as_ref().is_some_and(|secret| is_good(secret, authority, now)) {
        return Ok(());
    }
    let called = names::certificate_name(&cluster.namespace, &cluster.name);
    let leaf = tls::issue_certificate(authority, &called, holder, now)?;
    let mut secret = build_secret(
        cluster,
        name.to_owned(),
        [("ca.crt", authority.certificate.clone()), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)],
    );
    secret.metadata.annotations = Some([(RENEW_AT.to_owned(), leaf.renew_at.to_string())].into());
    // The Secret exists but is not usable any longer: creating it would fail with AlreadyExists every time.
    if found.is_some() { overwrite_secret(secrets, &secret).await } else { create_secret(secrets, &secret).await }
}

fn is_good(secret: &Secret, authority: &CertificateAuthority, now: Timestamp) -> bool {
    let has = |key| secret_text(secret, key).is_some_and(|text| !text.is_empty());
    has("tls.crt")
        && has("tls.key")
        && secret_text(secret, "ca.crt").as_ref() == Some(&authority.certificate)
        && renew_at(secret).is_some_and(|at| now < at)
}

async fn ensure_authority(
    secrets: &Api<Secret>,
    cluster: &ValidCluster,
    seen: &ClusterObservation,
) -> Result<CertificateAuthority, ApplyError> {
    let name = names::peer_ca(&cluster.name);
    let what = format!("Secret/{name}");
    let fresh = tls::create_authority(&cluster.name, seen.observed.now)?;
    let wanted =
        build_secret(cluster, name.clone(), [("ca.crt", fresh.certificate.clone()), ("ca.key", fresh.key.clone())]);
    match within_time(ApiRequest::Read, &what, secrets.get_opt(&name)).await?.as_ref().map(read_authority) {
        Some(Some(authority)) => return Ok(authority),
        // Without its key the CA can sign nothing more, and nobody else has the key.
        Some(None) => overwrite_secret(secrets, &wanted).await?,
        None => create_secret(secrets, &wanted).await?,
    }
    // The Secret of whichever operator was first.
    let secret = within_time(ApiRequest::Read, &what, secrets.get(&name)).await?;
    Ok(read_authority(&secret).unwrap_or(fresh))
}

fn read_authority(secret: &Secret) -> Option<CertificateAuthority> {
    let field = |key| secret_text(secret, key).filter(|text| !text.is_empty());
    Some(CertificateAuthority { certificate: field("ca.crt")?, key: field("ca.key")? })
}

/// Creates a Secret, or keeps the one that another operator has created first.
async fn create_secret(secrets: &Api<Secret>, secret: &Secret) -> Result<(), ApplyError> {
    let what = format!("Secret/{}", secret.metadata.name.as_deref().unwrap_or_default());
    match within_time(ApiRequest::Create, &what, secrets.create(&PostParams::default(), secret)).await {
        Err(ApplyError::Api { source: kube::Error::Api(status), .. }) if status.is_already_exists() => Ok(()),
        outcome => outcome.map(drop),
    }
}

async fn overwrite_secret(secrets: &Api<Secret>, secret: &Secret) -> Result<(), ApplyError> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let what = format!("Secret/{name}");
    let body = serde_json::json!({"data": secret.data, "metadata": {"annotations": secret.metadata.annotations}});
    // A merge patch keeps the labels and owners that the Secret has.
    let patch = Patch::Merge(body);
    within_time(ApiRequest::Renew, &what, secrets.patch(name, &PatchParams::default(), &patch)).await.map(drop)
}

fn build_secret<const N: usize>(cluster: &ValidCluster, name: String, data: [(&str, String); N]) -> Secret {
    let data: BTreeMap<String, ByteString> =
        data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(names::object_labels(&cluster.name)),
            owner_references: Some(vec![cluster.owner.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_secret_that_is_damaged_due_or_of_another_authority_is_made_again() {
        let (cluster, now) = (fixture::cluster(), Timestamp::UNIX_EPOCH);
        let ours = tls::create_authority("team", now).expect("an authority");
        let theirs = tls::create_authority("team", now).expect("an authority");
        let leaf = tls::issue_certificate(&ours, "chat.team", CertificateHolder::Pods, now).expect("a certificate");
        let data = [("ca.crt", ours.certificate.clone()), ("tls.crt", leaf.certificate), ("tls.key", leaf.key)];
        let mut good = build_secret(&cluster, names::peer_tls(&cluster.name), data);
        good.metadata.annotations = Some([(RENEW_AT.to_owned(), leaf.renew_at.to_string())].into());
        assert!(is_good(&good, &ours, now));
        assert!(!is_good(&good, &theirs, now));
        assert!(!is_good(&good, &ours, leaf.renew_at));
        for key in ["ca.crt", "tls.crt", "tls.key"] {
            let mut damaged = good.clone();
            damaged.data.get_or_insert_default().remove(key);
            assert!(!is_good(&damaged, &ours, now), "{key}");
        }
    }
}
