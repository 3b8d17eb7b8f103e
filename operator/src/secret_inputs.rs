//! Secrets that the spec refers to: which file each value becomes in the pods, and whether the values can be used.
//!
//! chatd reads the files at startup and ends if one of them holds no secret. The operator therefore checks the values
//! first, and rolls nothing out that would not start.

use crate::{build::short_hash, cluster::ValidCluster};
use k8s_openapi::api::core::v1::Secret;
use quorate_crd::{AccountsSpec, ChatClusterSpec, JwtAlgorithm, SecretKeyRef};
use serde_json::json;
use std::collections::BTreeMap;

/// Largest value that chatd takes for a secret, in bytes (`chatd/src/serve/secrets.rs`).
const MAX_BYTES: usize = 4096;
/// First line of a public key in PEM form.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----";

/// File of the pods that holds a value of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretFile {
    /// Token that lets people register.
    RegistrationToken,
    /// Secret with which administrators register accounts.
    SharedSecret,
    /// Key that verifies the tokens of the identity provider.
    JwtKey,
}

impl SecretFile {
    /// Returns the name of the file.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::RegistrationToken => "registration-token",
            Self::SharedSecret => "shared-secret",
            Self::JwtKey => "jwt-key",
        }
    }

    /// Returns the field of the ChatCluster that names the Secret.
    fn field(self) -> &'static str {
        match self {
            Self::RegistrationToken => "spec.chat.accounts.registrationTokenSecretRef",
            Self::SharedSecret => "spec.chat.accounts.sharedSecretRef",
            Self::JwtKey => "spec.chat.accounts.jwt.keySecretRef",
        }
    }
}

/// Values of the Secrets that the spec refers to, as far as the operator has found them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretInputs {
    /// Every value can be used.
    Complete {
        /// Hash of all values; `None` if the spec refers to none.
        revision: Option<String>,
    },
    /// Some values cannot be used; each text says which and why.
    Lacking(Vec<String>),
}

impl Default for SecretInputs {
    fn default() -> Self {
        Self::Complete { revision: None }
    }
}

impl SecretInputs {
    /// Returns the hash of all values, if there are any and all of them can be used.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        match self {
            Self::Complete { revision } => revision.as_deref(),
            Self::Lacking(_) => None,
        }
    }

    /// Returns `true` if some value cannot be used.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        matches!(self, Self::Lacking(_))
    }
}

/// Returns the Secrets that the spec refers to, with the files that their values become.
#[must_use]
pub fn secret_references(spec: &ChatClusterSpec) -> Vec<(SecretFile, &SecretKeyRef)> {
    // Without `..`, so that whoever adds a field decides here whether it refers to a Secret.
    let AccountsSpec { registration_token_secret_ref, shared_secret_ref, jwt, terms: _, access_token_lifetime: _ } =
        &spec.chat.accounts;
    let token = registration_token_secret_ref.as_ref().map(|found| (SecretFile::RegistrationToken, found));
    let shared = shared_secret_ref.as_ref().map(|found| (SecretFile::SharedSecret, found));
    let key = jwt.as_ref().map(|jwt| (SecretFile::JwtKey, &jwt.key_secret_ref));
    [token, shared, key].into_iter().flatten().collect()
}

/// Checks the values that the spec refers to. `secrets` are the Secrets that exist, by name.
#[must_use]
pub fn inspect_inputs(cluster: &ValidCluster, secrets: &BTreeMap<String, Secret>) -> SecretInputs {
    let references = secret_references(&cluster.spec);
    let mut values = Vec::new();
    let mut lacking = Vec::new();
    for (file, reference) in &references {
        match usable_value(&cluster.spec, *file, reference, secrets) {
            Ok(value) => values.push(json!([file.file_name(), value])),
            Err(why) => lacking.push(format!("{}: {why}", file.field())),
        }
    }
    if !lacking.is_empty() {
        return SecretInputs::Lacking(lacking);
    }
    // With the name of the cluster, so that clusters that share a value do not show it by equal hashes.
    let revision = || short_hash(json!([cluster.key(), values]).to_string().as_bytes());
    SecretInputs::Complete { revision: (!values.is_empty()).then(revision) }
}

/// Returns the value as chatd reads it, without white space around it, or what is wrong with it.
fn usable_value(
    spec: &ChatClusterSpec,
    file: SecretFile,
    reference: &SecretKeyRef,
    secrets: &BTreeMap<String, Secret>,
) -> Result<String, String> {
    let SecretKeyRef { name, key } = reference;
    let Some(secret) = secrets.get(name) else { return Err(format!("Secret {name} does not exist")) };
    let Some(value) = secret.data.as_ref().and_then(|data| data.get(key)) else {
        return Err(format!("Secret {name} has no key {key}"));
    };
    let wrong = |what: &str| format!("key {key} of Secret {name} {what}");
    if value.0.len() > MAX_BYTES {
        return Err(wrong(&format!("has more than {MAX_BYTES} bytes")));
    }
    let text = std::str::from_utf8(&value.0).map_err(|_| wrong("is not text"))?.trim();
    if text.is_empty() {
        return Err(wrong("is empty"));
    }
    let is_public_key = file == SecretFile::JwtKey
        && spec.chat.accounts.jwt.as_ref().is_some_and(|jwt| jwt.algorithm != JwtAlgorithm::Hs256);
    if is_public_key && !text.contains(PUBLIC_KEY) {
        return Err(wrong("holds no public key in PEM form (BEGIN PUBLIC KEY)"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use k8s_openapi::ByteString;
    use quorate_crd::{JwtSpec, RegistrationPolicy};

    fn reference(name: &str, key: &str) -> SecretKeyRef {
        SecretKeyRef { name: name.into(), key: key.into() }
    }

    fn secrets(value: &[u8]) -> BTreeMap<String, Secret> {
        let data = [("token".to_owned(), ByteString(value.to_vec()))].into();
        [("doors".to_owned(), Secret { data: Some(data), ..Secret::default() })].into()
    }

    fn by_token() -> ValidCluster {
        let mut cluster = fixture::cluster();
        cluster.spec.chat.registration = RegistrationPolicy::Token;
        cluster.spec.chat.accounts.registration_token_secret_ref = Some(reference("doors", "token"));
        cluster
    }

    fn lacks(cluster: &ValidCluster, secrets: &BTreeMap<String, Secret>) -> String {
        match inspect_inputs(cluster, secrets) {
            SecretInputs::Lacking(lacking) => lacking.join("; "),
            SecretInputs::Complete { .. } => String::new(),
        }
    }

    #[test]
    fn a_spec_without_references_needs_nothing() {
        assert_eq!(inspect_inputs(&fixture::cluster(), &BTreeMap::new()), SecretInputs::default());
    }

    #[test]
    fn what_is_missing_is_told_with_its_field() {
        let field = "spec.chat.accounts.registrationTokenSecretRef";
        for (there, words) in [
            (BTreeMap::<String, Secret>::new(), "Secret doors does not exist"),
            ([("doors".to_owned(), Secret::default())].into(), "Secret doors has no key token"),
            (secrets(b" \n"), "is empty"),
            (secrets(&[0xff]), "is not text"),
            (secrets(&[b'x'; 4097]), "more than 4096 bytes"),
        ] {
            let told = lacks(&by_token(), &there);
            assert!(told.contains(field) && told.contains(words), "{told}");
        }
        assert_eq!(lacks(&by_token(), &secrets(&[b'x'; 4096])), "");
    }

    #[test]
    fn registration_by_token_needs_no_secret_as_administrators_create_tokens() {
        let mut cluster = by_token();
        cluster.spec.chat.accounts.registration_token_secret_ref = None;
        assert_eq!(inspect_inputs(&cluster, &BTreeMap::new()), SecretInputs::default());
    }

    #[test]
    fn a_key_that_is_no_public_key_is_told_unless_it_is_a_shared_secret() {
        let mut cluster = fixture::cluster();
        let jwt = |algorithm| JwtSpec {
            algorithm,
            key_secret_ref: reference("doors", "token"),
            issuer: None,
            audiences: Vec::new(),
            leeway: "1m".into(),
        };
        cluster.spec.chat.accounts.jwt = Some(jwt(JwtAlgorithm::Rs256));
        assert!(lacks(&cluster, &secrets(b"-----BEGIN CERTIFICATE-----")).contains("holds no public key"));
        assert_eq!(lacks(&cluster, &secrets(b"-----BEGIN PUBLIC KEY-----\nMC==\n-----END PUBLIC KEY-----\n")), "");
        cluster.spec.chat.accounts.jwt = Some(jwt(JwtAlgorithm::Hs256));
        assert_eq!(lacks(&cluster, &secrets(b"shared")), "");
    }

    #[test]
    fn the_revision_follows_the_values_and_not_the_white_space_around_them() {
        let revision = |value: &[u8]| inspect_inputs(&by_token(), &secrets(value)).revision().map(str::to_owned);
        assert!(revision(b"one").is_some());
        assert_eq!(revision(b"one"), revision(b"one\n"));
        assert_ne!(revision(b"one"), revision(b"two"));
        let mut other = by_token();
        other.name = "other".into();
        assert_ne!(inspect_inputs(&other, &secrets(b"one")).revision().map(str::to_owned), revision(b"one"));
    }
}
