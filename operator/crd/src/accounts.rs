use crate::duration::bounded_duration_rule;
use crate::web_url::web_url_rule;
use crate::{DurationString, SecretKeyRef};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Registration of accounts, the terms that people accept, and logins with tokens of an identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(bounded_duration_rule(
        "self.accessTokenLifetime",
        "(duration(self.accessTokenLifetime) >= duration('1s') && duration(self.accessTokenLifetime) <= duration('87600h'))",
    )).message("accessTokenLifetime must be from 1s to 87600h (ten years); ms is milliseconds, m is minutes"),
)]
pub struct AccountsSpec {
    /// Token that lets people register if `chat.registration` is `Token`, as often as they like, beside those that
    /// `chatctl admin tokens` creates. Choose a random one: a hash of it is in an annotation of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_token_secret_ref: Option<SecretKeyRef>,
    /// Secret with which administrators register accounts at `/_synapse/admin/v1/register`, whatever
    /// `chat.registration` says. Without this field, nobody can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_secret_ref: Option<SecretKeyRef>,
    /// Terms of service that people must accept to register, with Matrix clients only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<TermsSpec>,
    /// Lifetime of the access tokens of clients that use refresh tokens. `chat.sessionLifetime` is then the time
    /// without a refresh after which the session expires.
    #[serde(default = "access_token_lifetime")]
    pub access_token_lifetime: DurationString,
    /// Logins with JSON Web Tokens of an identity provider. Without this field, there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtSpec>,
}

/// Terms of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TermsSpec {
    /// Address of the terms, such as `https://chat.example.org/terms`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(web_url_rule())
        .message("url must be a URL such as https://chat.example.org/terms"))]
    pub url: String,
    /// Version of the terms, which clients show.
    #[serde(default = "terms_version")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('[^ ]')")
        .message("version must not be blank: write one such as 1.0"))]
    pub version: String,
}

/// JSON Web Tokens with which people log in (`org.matrix.login.jwt`): the claim `sub` names the account, which the
/// first login registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(bounded_duration_rule("self.leeway", "duration(self.leeway) <= duration('1h')"))
    .message("leeway must be at most 1h: more would accept tokens long after their time"))]
pub struct JwtSpec {
    /// Signature algorithm of the tokens: `HS256`, `RS256`, `ES256` or `EdDSA`.
    pub algorithm: JwtAlgorithm,
    /// Public key that verifies the tokens (PEM, `BEGIN PUBLIC KEY`), or the secret for `HS256`.
    pub key_secret_ref: SecretKeyRef,
    /// Issuer (`iss`) that the tokens must name. Without this field, any issuer is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
    /// Audiences (`aud`) of which the tokens must name one. If empty, any audience is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = Rule::new("self.all(audience, audience.matches('^[^, ]+$'))")
        .message("audiences must not be blank, nor contain commas or spaces"))]
    pub audiences: Vec<String>,
    /// Difference between the clocks of the issuer and of this server that is tolerated in the times of the tokens, at
    /// most 1h.
    #[serde(default = "jwt_leeway")]
    pub leeway: DurationString,
}

/// Signature algorithm of JSON Web Tokens (RFC 7518 and RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    /// Returns the name of the algorithm, as chatd and the tokens write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl AccountsSpec {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn access_token_lifetime() -> DurationString {
    "5m".into()
}

fn terms_version() -> String {
    "1.0".into()
}

fn jwt_leeway() -> DurationString {
    "1m".into()
}

impl Default for AccountsSpec {
    fn default() -> Self {
        Self {
            registration_token_secret_ref: None,
            shared_secret_ref: None,
            terms: None,
            access_token_lifetime: access_token_lifetime(),
            jwt: None,
        }
    }
}
