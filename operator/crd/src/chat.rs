use crate::DurationString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the chat behaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!self.sessionLifetime.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || \
         (duration(self.sessionLifetime) >= duration('1s') && duration(self.sessionLifetime) <= duration('87600h'))"
    ).message("sessionLifetime must be from 1s to 87600h (ten years); milliseconds are written ms, m is minutes"),
)]
pub struct ChatSpec {
    /// Whether anyone may make an account.
    #[serde(default)]
    pub registration: Registration,
    /// Names of users, without the server, who may read how the whole cluster does (`/_quorate/status`). Each account is
    /// made first and then named here: a name that stands here cannot be registered any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[a-z0-9._=/+-]*[a-z0-9][a-z0-9._=/+-]*$'))")
        .message("administrators are names of users without @ and server, such as alice: lower-case letters, digits and ._=/+-, with at least one letter or digit"))]
    pub administrators: Vec<String>,
    /// How often one user may write.
    #[serde(default)]
    pub rate_limit: RateLimitSpec,
    /// A login ends when it was not used for this long.
    #[serde(default = "session_lifetime")]
    pub session_lifetime: DurationString,
}

/// Whether anyone may make an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Registration {
    /// Anyone who reaches the server may.
    #[default]
    Open,
    /// Nobody may.
    Closed,
}

/// A budget of messages for each user, counted by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.per.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.per) <= duration('24h')")
    .message("per must be at most 24h: who has used the budget up waits for that long"))]
pub struct RateLimitSpec {
    /// Whether there is one at all.
    #[serde(default = "rate_limit_enabled")]
    pub enabled: bool,
    /// Messages allowed in each period.
    #[serde(default = "rate_limit_messages")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub messages: u32,
    /// Length of the period.
    #[serde(default = "rate_limit_per")]
    pub per: DurationString,
}

/// What the pods log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogSpec {
    /// How lines look.
    #[serde(default)]
    pub format: LogFormat,
    /// From which weight on.
    #[serde(default)]
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Plain text, for people.
    Text,
}

/// From which weight on lines are written.
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
            registration: Registration::default(),
            administrators: Vec::new(),
            rate_limit: RateLimitSpec::default(),
            session_lifetime: session_lifetime(),
        }
    }
}

impl Default for RateLimitSpec {
    fn default() -> Self {
        Self { enabled: rate_limit_enabled(), messages: rate_limit_messages(), per: rate_limit_per() }
    }
}
