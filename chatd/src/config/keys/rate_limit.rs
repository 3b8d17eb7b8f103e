//! Keys of the limits on what one user or address may do; `chatd/src/raft/propose/limit.rs` says what is counted as what.

use super::super::parsers::{AUTOMATIC, automatic_count, one_of, positive_count};
use super::super::values::{PERIOD, bounded_duration};
use super::{ConfigKey, KeyDefault};
use quorate_duration::format_duration;
use serde_json::json;

pub(super) const ENABLED: ConfigKey = ConfigKey {
    path: "rateLimit.enabled",
    kind: "`true` or `false`",
    default: KeyDefault::Value("true"),
    meaning: "Whether the leader limits, for the whole cluster and both APIs together, how much one user may write and how many accounts one address may create, and each pod how much an address may read without a session. Wrong passwords are always limited.",
    set: |c, v| one_of(v, &[("true", true), ("false", false)]).map(|v| c.rate_limit.enabled = v),
    show: |c| json!(c.rate_limit.enabled),
};
pub(super) const PER: ConfigKey = ConfigKey {
    path: "rateLimit.per",
    kind: "duration, 10ms to 1d",
    default: KeyDefault::Value("10s"),
    meaning: "Length of that period.",
    set: |c, v| bounded_duration(&PERIOD, v).map(|v| c.rate_limit.per = v),
    show: |c| json!(format_duration(c.rate_limit.per)),
};

/// Class of commands whose limit has a key. Wrong passwords have none: they are always limited, and alike.
#[derive(Clone, Copy)]
pub(super) enum ConfigurableClass {
    Messages,
    State,
    Account,
    Receipts,
    Keys,
    Logins,
    Registrations,
}

/// Builds the key of a class from the field of its limit, the default and the meaning. With `auto`, the limit is derived
/// from the one on messages unless it is set.
macro_rules! limit_key {
    ($field:ident, auto, $meaning:literal) => {
        ConfigKey {
            path: concat!("rateLimit.", stringify!($field)),
            kind: "number, 1 to 1000000, or `auto`",
            default: KeyDefault::Value(AUTOMATIC),
            meaning: $meaning,
            set: |c, v| automatic_count(v).map(|v| c.rate_limit.$field = v),
            show: |c| c.rate_limit.$field.map_or_else(|| json!(AUTOMATIC), |count| json!(count)),
        }
    };
    ($field:ident, $default:literal, $meaning:literal) => {
        ConfigKey {
            path: concat!("rateLimit.", stringify!($field)),
            kind: "number, 1 to 1000000",
            default: KeyDefault::Value($default),
            meaning: $meaning,
            set: |c, v| positive_count(v).map(|v| c.rate_limit.$field = v),
            show: |c| json!(c.rate_limit.$field),
        }
    };
}

impl ConfigurableClass {
    /// Returns the key with the limit of this class.
    pub(super) const fn key(self) -> ConfigKey {
        match self {
            Self::Messages => limit_key!(
                messages,
                "10",
                "Number of messages that one user may send per period (`rateLimit.per`); redactions count, too."
            ),
            Self::State => limit_key!(
                state,
                auto,
                "Number of changes to rooms per user and period: state events, memberships, new rooms, aliases. `auto` is 2 for each message."
            ),
            Self::Account => limit_key!(
                account,
                auto,
                "Number of changes per user and period to what the server keeps for them: account data, tags, filters, profile, pushers, names of devices; and reports. `auto` is 5 for each message: a first login makes a dozen or two."
            ),
            Self::Receipts => limit_key!(
                receipts,
                auto,
                "Number of receipts and read markers per user and period. `auto` is 10 for each message."
            ),
            Self::Keys => limit_key!(
                keys,
                auto,
                "Number of requests about encryption per user and period: keys, signatures, key backups, messages to devices. `auto` is 20 for each message."
            ),
            Self::Logins => limit_key!(
                logins,
                "100",
                "Number of sessions that may be opened for one account within ten minutes; tokens to log in with count, too."
            ),
            Self::Registrations => limit_key!(
                registrations,
                "60",
                "Number of accounts that may be registered from one address within ten minutes."
            ),
        }
    }
}
