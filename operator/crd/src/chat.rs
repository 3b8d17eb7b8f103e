use crate::duration::bounded_duration_rule;
use crate::web_url::web_url_rule;
use crate::{AccountsSpec, DurationString, PresenceSpec};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Chat server settings: registration, accounts, administrators, rate limit, session lifetime and presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(bounded_duration_rule(
        "self.sessionLifetime",
        "(duration(self.sessionLifetime) >= duration('1s') && duration(self.sessionLifetime) <= duration('87600h'))",
    )).message("sessionLifetime must be from 1s to 87600h (ten years); ms is milliseconds, m is minutes"),
)]
pub struct ChatSpec {
    /// Registration policy: `Open` lets anyone create an account, `Token` whoever knows a token (with Matrix clients
    /// only), `Closed` nobody. Tokens are created with `chatctl admin tokens`; one more may be in
    /// `accounts.registrationTokenSecretRef`.
    #[serde(default)]
    pub registration: RegistrationPolicy,
    /// Registration by token or by administrators, terms of service, and logins with tokens of an identity provider.
    // Omitted if it has the defaults, like `presence`: the inputs of the pod template are compared as text, and a newly
    // added field must not restart pods.
    #[serde(default, skip_serializing_if = "AccountsSpec::is_default")]
    pub accounts: AccountsSpec,
    /// Localparts (user names without `@` and server name) of the users who may read the status of the whole cluster
    /// (`/_quorate/status`). Register each account before adding its name: a name on this list can no longer be
    /// registered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[a-z0-9._=/+-]*[a-z0-9][a-z0-9._=/+-]*$'))")
        .message("administrators are names of users without @ and server name, such as alice: lower-case letters, digits and ._=/+-, with at least one letter or digit"))]
    pub administrators: Vec<String>,
    /// Rate limit on the messages of each user.
    #[serde(default)]
    pub rate_limit: RateLimitSpec,
    /// Time without use after which a login expires.
    #[serde(default = "session_lifetime")]
    pub session_lifetime: DurationString,
    /// Address at which Matrix clients reach this server, such as `https://chat.example.org`, which
    /// `/.well-known/matrix/client` tells them.
    #[serde(default, rename = "publicBaseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(web_url_rule())
        .message("publicBaseURL must be a URL such as https://chat.example.org"))]
    pub public_base_url: Option<String>,
    /// Presence: who is online of those with whom a user shares a room.
    #[serde(default, skip_serializing_if = "PresenceSpec::is_default")]
    pub presence: PresenceSpec,
    /// Shows the public directory of rooms also to callers without an access token (`GET /_matrix/client/v3/publicRooms`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub directory_without_token: bool,
}

/// Policy for creating accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegistrationPolicy {
    /// Anyone who can reach the server may create an account.
    #[default]
    Open,
    /// Whoever knows a registration token may create an account.
    Token,
    /// Nobody may create an account.
    Closed,
}

/// Limits on what each user and address may do, counted by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(bounded_duration_rule("self.per", "duration(self.per) <= duration('24h')"))
    .message("per must be at most 24h: a user who has used up the budget waits that long"))]
pub struct RateLimitSpec {
    /// Enables the rate limit.
    #[serde(default = "rate_limit_enabled")]
    pub enabled: bool,
    /// Number of messages that each user may send per period.
    #[serde(default = "rate_limit_messages")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub messages: u32,
    /// Length of the period, at most 24h.
    #[serde(default = "rate_limit_per")]
    pub per: DurationString,
    /// Number of changes to rooms per user and period: state events, memberships, new rooms, aliases. Default: 2 for each
    /// message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub state: Option<u32>,
    /// Number of changes per user and period to account data, tags, filters, profiles, pushers and names of devices, and of
    /// reports. Default: 5 for each message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub account: Option<u32>,
    /// Number of receipts and read markers per user and period. Default: 10 for each message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub receipts: Option<u32>,
    /// Number of requests about encryption per user and period. Default: 20 for each message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub keys: Option<u32>,
    /// Number of sessions that may be opened for one account within ten minutes. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub logins: Option<u32>,
    /// Number of accounts that may be registered from one address within ten minutes. Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub registrations: Option<u32>,
}

/// Log output of the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogSpec {
    /// Format of the log lines: `json` or `text`.
    #[serde(default)]
    pub format: LogFormat,
    /// Minimum level of the log lines that are written.
    #[serde(default)]
    pub level: LogLevel,
}

/// Format of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    #[default]
    Json,
    /// Plain text, for people.
    Text,
}

/// Minimum level of the log lines that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

// 30 days.
fn session_lifetime() -> DurationString {
    "720h".into()
}

fn rate_limit_enabled() -> bool {
    true
}

fn rate_limit_messages() -> u32 {
    10
}

fn rate_limit_per() -> DurationString {
    "10s".into()
}

impl Default for ChatSpec {
    fn default() -> Self {
        Self {
            registration: RegistrationPolicy::default(),
            accounts: AccountsSpec::default(),
            administrators: Vec::new(),
            rate_limit: RateLimitSpec::default(),
            session_lifetime: session_lifetime(),
            public_base_url: None,
            presence: PresenceSpec::default(),
            directory_without_token: false,
        }
    }
}

impl Default for RateLimitSpec {
    fn default() -> Self {
        Self {
            enabled: rate_limit_enabled(),
            messages: rate_limit_messages(),
            per: rate_limit_per(),
            state: None,
            account: None,
            receipts: None,
            keys: None,
            logins: None,
            registrations: None,
        }
    }
}
