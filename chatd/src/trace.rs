//! Traces: what one sampled call goes through, over pods, as spans of [OpenTelemetry](https://opentelemetry.io).
//!
//! [`door`] asks [`sampler`] whether a call is sampled and opens its first span → `propose`, `forward` → [`command`] waits
//! on the leader → [`entry`] is what many commands share → [`append`] (log), [`replicate`], [`apply`] on every pod →
//! `reply`, [`delivery`]. [`export`] sends what has ended.
//!
//! Whoever is not sampled carries a `None`: nothing is made, locked or looked up for it. A span is named by its [`Mark`],
//! which goes beside what it belongs to, never in it: bytes of the log are the same with traces and without.

pub(crate) mod append;
pub(crate) mod apply;
pub(crate) mod command;
pub(crate) mod delivery;
pub mod door;
pub(crate) mod entry;
pub mod export;
mod mark;
pub(crate) mod replicate;
mod sampler;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub(crate) use mark::{Live, Mark, current, span};
pub(crate) use sampler::Asked;

use opentelemetry_sdk::trace::SdkTracer;
use sampler::Sampler;
use std::sync::OnceLock;

/// Of the process, as its subscriber of `tracing`: set once, by [`export::start`], or never.
static TRACING: OnceLock<Tracing> = OnceLock::new();

struct Tracing {
    tracer: SdkTracer,
    sampler: Sampler,
}

/// `None` while traces are off.
fn on() -> Option<&'static Tracing> {
    TRACING.get()
}

/// Names of attributes that are Quorate's own. No contents, no names of users or rooms: see `docs/traces.md`.
pub(crate) mod attribute {
    /// How it ended: `ok`, or the code of the refusal.
    pub(crate) const CODE: &str = "quorate.code";
    /// How an attempt at a leader ended.
    pub(crate) const RESULT: &str = "quorate.result";
    /// Index of the log entry.
    pub(crate) const INDEX: &str = "quorate.log.index";
    /// Commands in it.
    pub(crate) const COMMANDS: &str = "quorate.commands";
    /// Entries in it.
    pub(crate) const ENTRIES: &str = "quorate.entries";
    /// Bytes in it.
    pub(crate) const BYTES: &str = "quorate.bytes";
    /// The other pod's node id.
    pub(crate) const PEER: &str = "quorate.peer";
    /// Which door.
    pub(crate) const DOOR: &str = "quorate.door";
}
