//! Keys of the limits on what one user or address may do; `chatd/src/raft/propose/limit.rs` says what is counted as what.

use super::super::parsers::{AUTOMATIC, automatic_count, one_of, positive_count};
use super::super::values::{PERIOD, bounded_duration};
use super::{ConfigKey, KeyDefault};
use quorate_duration::format_duration;
use serde_json::{Value, json};

/// Shows a limit that is derived from the one on messages unless it is set.
fn show_count(count: Option<u32>) -> Value {
    count.map_or_else(|| json!(AUTOMATIC), |count| json!(count))
}

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
pub(super) const MESSAGES: ConfigKey = ConfigKey {
    path: "rateLimit.messages",
    kind: "number, 1 to 1000000",
    default: KeyDefault::Value("10"),
    meaning: "Number of messages that one user may send per period (`rateLimit.per`); redactions count, too.",
    set: |c, v| positive_count(v).map(|v| c.rate_limit.messages = v),
    show: |c| json!(c.rate_limit.messages),
};
pub(super) const STATE: ConfigKey = ConfigKey {
    path: "rateLimit.state",
    kind: "number, 1 to 1000000, or `auto`",
    default: KeyDefault::Value("auto"),
    meaning: "Number of changes to rooms per user and period: state events, memberships, new rooms, aliases. `auto` is 2 for each message.",
    set: |c, v| automatic_count(v).map(|v| c.rate_limit.state = v),
    show: |c| show_count(c.rate_limit.state),
};
pub(super) const ACCOUNT: ConfigKey = ConfigKey {
    path: "rateLimit.account",
    kind: "number, 1 to 1000000, or `auto`",
    default: KeyDefault::Value("auto"),
    meaning: "Number of changes per user and period to what the server keeps for them: account data, tags, filters, profile, pushers, names of devices; and reports. `auto` is 5 for each message: a first login makes a dozen or two.",
    set: |c, v| automatic_count(v).map(|v| c.rate_limit.account = v),
    show: |c| show_count(c.rate_limit.account),
};
pub(super) const RECEIPTS: ConfigKey = ConfigKey {
    path: "rateLimit.receipts",
    kind: "number, 1 to 1000000, or `auto`",
    default: KeyDefault::Value("auto"),
    meaning: "Number of receipts and read markers per user and period. `auto` is 10 for each message.",
    set: |c, v| automatic_count(v).map(|v| c.rate_limit.receipts = v),
    show: |c| show_count(c.rate_limit.receipts),
};
pub(super) const KEYS: ConfigKey = ConfigKey {
    path: "rateLimit.keys",
    kind: "number, 1 to 1000000, or `auto`",
    default: KeyDefault::Value("auto"),
    meaning: "Number of requests about encryption per user and period: keys, signatures, key backups, messages to devices. `auto` is 20 for each message.",
    set: |c, v| automatic_count(v).map(|v| c.rate_limit.keys = v),
    show: |c| show_count(c.rate_limit.keys),
};
pub(super) const LOGINS: ConfigKey = ConfigKey {
    path: "rateLimit.logins",
    kind: "number, 1 to 1000000",
    default: KeyDefault::Value("100"),
    meaning: "Number of sessions that may be opened for one account within ten minutes; tokens to log in with count, too.",
    set: |c, v| positive_count(v).map(|v| c.rate_limit.logins = v),
    show: |c| json!(c.rate_limit.logins),
};
pub(super) const REGISTRATIONS: ConfigKey = ConfigKey {
    path: "rateLimit.registrations",
    kind: "number, 1 to 1000000",
    default: KeyDefault::Value("60"),
    meaning: "Number of accounts that may be registered from one address within ten minutes.",
    set: |c, v| positive_count(v).map(|v| c.rate_limit.registrations = v),
    show: |c| json!(c.rate_limit.registrations),
};
