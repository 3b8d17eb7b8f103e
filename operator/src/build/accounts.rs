//! Settings of accounts and of presence in chatd's configuration, each absent while it has its default: a different text
//! means a new ConfigMap and a rollout.

use super::{config::duration_text, secrets::secret_path};
use crate::{cluster::ValidCluster, secret_inputs::SecretFile};
use quorate_crd::{AccountsSpec, JwtSpec, PresenceSpec, TermsSpec};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountsConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_token_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_secret_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_version: Option<&'a str>,
    access_token_lifetime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<JwtConfig<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JwtConfig<'a> {
    algorithm: &'static str,
    key_file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    audiences: String,
    leeway: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PresenceConfig {
    enabled: bool,
    pod_timeout: String,
}

/// Returns the section `accounts`; `None` if the spec has the defaults.
pub(super) fn accounts_config(cluster: &ValidCluster) -> Option<AccountsConfig<'_>> {
    let accounts = &cluster.spec.chat.accounts;
    if *accounts == AccountsSpec::default() {
        return None;
    }
    // Without `..`, as in `config_text`.
    let AccountsSpec { registration_token_secret_ref, shared_secret_ref, terms, access_token_lifetime: _, jwt } =
        accounts;
    let path = |is_set: bool, file| is_set.then(|| secret_path(file));
    let terms = terms.as_ref();
    Some(AccountsConfig {
        registration_token_file: path(registration_token_secret_ref.is_some(), SecretFile::RegistrationToken),
        shared_secret_file: path(shared_secret_ref.is_some(), SecretFile::SharedSecret),
        terms_url: terms.map(|TermsSpec { url, version: _ }| url.as_str()),
        terms_version: terms.map(|TermsSpec { url: _, version }| version.as_str()),
        access_token_lifetime: duration_text(cluster.times.access_token_lifetime),
        jwt: jwt.as_ref().map(|jwt| jwt_config(cluster, jwt)),
    })
}

fn jwt_config<'a>(cluster: &ValidCluster, jwt: &'a JwtSpec) -> JwtConfig<'a> {
    let JwtSpec { algorithm, key_secret_ref: _, issuer, audiences, leeway: _ } = jwt;
    JwtConfig {
        algorithm: algorithm.as_str(),
        key_file: secret_path(SecretFile::JwtKey),
        issuer: issuer.as_deref(),
        audiences: audiences.join(","),
        leeway: duration_text(cluster.times.jwt_leeway),
    }
}

/// Returns the section `presence`; `None` if the spec has the defaults.
pub(super) fn presence_config(cluster: &ValidCluster) -> Option<PresenceConfig> {
    let presence = &cluster.spec.chat.presence;
    let PresenceSpec { enabled, pod_timeout: _ } = presence;
    (*presence != PresenceSpec::default())
        .then(|| PresenceConfig { enabled: *enabled, pod_timeout: duration_text(cluster.times.presence_pod_timeout) })
}

#[cfg(test)]
mod tests {
    use crate::{build::config_text, cluster::ValidCluster, fixture};
    use serde_json::{Value, json};

    fn text(chat: Value) -> String {
        let mut object = serde_json::to_value(fixture::chat_cluster()).expect("JSON");
        object["spec"]["chat"] = chat;
        let object = serde_json::from_value(object).expect("a valid object");
        config_text(&ValidCluster::validate(&object).expect("a valid spec"))
    }

    #[test]
    fn defaults_are_not_written() {
        let defaults = json!({
            "accounts": {"accessTokenLifetime": "5m"}, "presence": {"enabled": true, "podTimeout": "30s"},
        });
        assert_eq!(text(defaults), text(json!({})));
    }

    #[test]
    fn accounts_are_those_of_the_spec() {
        let written = text(json!({
            "registration": "Token",
            "accounts": {
                "registrationTokenSecretRef": {"name": "doors", "key": "token"},
                "sharedSecretRef": {"name": "doors", "key": "admins"},
                "terms": {"url": "https://chat.example.org/terms"},
                "jwt": {
                    "algorithm": "EdDSA", "keySecretRef": {"name": "idp", "key": "public.pem"},
                    "issuer": "https://id.example.org", "audiences": ["chat", "phone"], "leeway": "1500ms",
                },
            },
            "publicBaseURL": "https://chat.example.org",
            "presence": {"enabled": false},
        }));
        for lines in [
            "registration: token\n",
            "accounts:\n  registrationTokenFile: /etc/quorate/secrets/registration-token\n  sharedSecretFile: /etc/quorate/secrets/shared-secret\n",
            "  termsUrl: https://chat.example.org/terms\n  termsVersion: '1.0'\n  accessTokenLifetime: 300s\n",
            "  jwt:\n    algorithm: EdDSA\n    keyFile: /etc/quorate/secrets/jwt-key\n    issuer: https://id.example.org\n    audiences: chat,phone\n    leeway: 1500ms\n",
            "publicBaseUrl: https://chat.example.org\n",
            "presence:\n  enabled: false\n  podTimeout: 30s\n",
        ] {
            assert!(written.contains(lines), "{lines}\nis not in\n{written}");
        }
    }
}
