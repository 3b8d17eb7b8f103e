//! Spans of a sampled command on the leader: from the proposer's queue to its answer.

use super::entry::EntryTrace;
use super::{Live, Mark, attribute, span};
use opentelemetry::trace::SpanKind;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// State that whoever waits for a command shares with whoever packs it.
struct Shared {
    mark: Mark,
    packed: OnceLock<Packed>,
}

struct Packed {
    at: SystemTime,
    entry: Arc<EntryTrace>,
}

/// Span of a command, held by whoever waits for the answer.
pub(crate) struct Waiting {
    live: Live,
    shared: Arc<Shared>,
}

/// Mark of a command, held in the proposer's queue beside the command.
pub(crate) struct Queued(Arc<Shared>);

/// Begins the span of a command that is about to be queued, if it is sampled.
pub(crate) fn begin(parent: Option<&Mark>) -> (Option<Waiting>, Option<Queued>) {
    let Some(live) = parent.and_then(|parent| {
        let kind = if parent.context().is_remote() { SpanKind::Server } else { SpanKind::Internal };
        parent.start(span("command").with_kind(kind))
    }) else {
        return (None, None);
    };
    let shared = Arc::new(Shared { mark: live.mark().clone(), packed: OnceLock::new() });
    (Some(Waiting { live, shared: shared.clone() }), Some(Queued(shared)))
}

impl Queued {
    pub(super) fn mark(&self) -> &Mark {
        &self.0.mark
    }

    /// Notes that the command goes into this entry.
    pub(super) fn packed(&self, entry: &Arc<EntryTrace>) {
        // A command is packed once.
        let _ = self.0.packed.set(Packed { at: SystemTime::now(), entry: entry.clone() });
    }
}

impl Waiting {
    /// Ends the span. The time since the entry was applied on this pod was the way back: the span `reply`.
    pub(crate) fn answered(mut self, result: &'static str) {
        self.live.set(attribute::RESULT, result);
        if let Some(Packed { at, entry }) = self.shared.packed.get() {
            self.live.happened("packed", *at);
            self.live.link(entry.mark());
            if let Some(applied) = entry.applied_at() {
                drop(self.live.mark().start(span("reply").with_start_time(applied)));
            }
        }
    }
}
