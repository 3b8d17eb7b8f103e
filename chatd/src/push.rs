//! Push rules at work: which events a user is notified of, and how many of those are unread.
//!
//! [`ruleset`] (the rules of a user) → [`judge`] (what they say of an event) → [`counts`] (unread notifications of rooms)
//! and [`notified`] (the list of what has notified a user).
//! All of it follows from the rows of the state, and nothing of it is written (docs/adr/0028). The [`sender`] of the pod
//! that leads notifies those who have pushers (docs/adr/0029).

mod client;
mod counts;
mod examine;
mod gateway;
mod judge;
mod notified;
mod payload;
mod private;
mod queue;
mod rule_match;
mod ruleset;
mod sender;

pub(crate) use counts::{NotificationCount, UnreadCounter, UnreadCounts};
pub(crate) use gateway::check_gateway;
pub(crate) use notified::{NotifiedEvent, NotifiedPage, NotifiedQuery};
pub(crate) use ruleset::{PUSH_RULES, default_rules, encode_rules, stored_rules};
pub(crate) use sender::{PushSender, PushSenderParts};
