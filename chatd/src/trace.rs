//! Traces: the way of one sampled call over the pods, as spans of [OpenTelemetry](https://opentelemetry.io).
//!
//! [`call`] asks [`sampler`] if a call is sampled and opens its first span → `propose`, `forward` → [`command`] waits
//! on the leader → [`packing`] makes the [`entry`], which many commands share → [`append`] (log), [`replicate`],
//! [`apply`] on every pod → `reply`, [`delivery`]. [`export`] sends the spans that have ended.
//!
//! A call that is not sampled carries a `None`: nothing is made, locked or looked up for it. A span is named by its
//! [`SpanMark`], which goes beside what it belongs to, never in it: the bytes of the log are the same with traces and
//! without.

pub(crate) mod append;
pub(crate) mod apply;
pub mod call;
mod call_error;
pub(crate) mod command;
pub(crate) mod delivery;
pub(crate) mod entry;
pub mod export;
mod mark;
pub(crate) mod packing;
pub(crate) mod replicate;
mod sampler;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use call_error::CallError;
pub(crate) use mark::{LiveSpan, SpanMark, current_span, span_builder};
pub(crate) use sampler::TraceRequest;

use opentelemetry_sdk::trace::SdkTracer;
use sampler::CallSampler;
use std::sync::OnceLock;

/// Tracing of the process, global as its subscriber of `tracing` is: set once, by [`export::start_tracing`], or never.
static TRACING: OnceLock<TracingState> = OnceLock::new();

struct TracingState {
    tracer: SdkTracer,
    sampler: CallSampler,
}

/// Returns the process's tracing; `None` while traces are off.
fn active_tracing() -> Option<&'static TracingState> {
    TRACING.get()
}

/// Names of attributes that are Quorate's own. No contents, no names of users or rooms: see `docs/traces.md`.
pub(crate) mod attribute {
    /// Outcome of a call: `ok`, or the code of the refusal.
    pub(crate) const CODE: &str = "quorate.code";
    /// Outcome of a proposal, or of an attempt at a leader.
    pub(crate) const RESULT: &str = "quorate.result";
    /// Index of the log entry.
    pub(crate) const INDEX: &str = "quorate.log.index";
    /// Number of commands in the entry or commit.
    pub(crate) const COMMANDS: &str = "quorate.commands";
    /// Number of entries in the commit.
    pub(crate) const ENTRIES: &str = "quorate.entries";
    /// Number of bytes in the write.
    pub(crate) const BYTES: &str = "quorate.bytes";
    /// Node id of the other pod.
    pub(crate) const PEER: &str = "quorate.peer";
    /// Client API of a delivery: `grpc` or `matrix`.
    pub(crate) const API: &str = "quorate.api";
}
