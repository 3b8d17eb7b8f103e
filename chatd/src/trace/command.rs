//! Spans of a sampled command on the leader: from the proposer's queue to its answer.

use super::entry::EntryTrace;
use super::{LiveSpan, SpanMark, attribute, span_builder};
use opentelemetry::trace::SpanKind;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// State that whoever waits for a command shares with whoever packs it.
struct SharedCommand {
    mark: SpanMark,
    packed: OnceLock<PackedCommand>,
}

struct PackedCommand {
    at: SystemTime,
    entry: Arc<EntryTrace>,
}

/// Span of a command, held by whoever waits for the answer.
pub(crate) struct CommandSpan {
    live: LiveSpan,
    shared: Arc<SharedCommand>,
}

/// Mark of a command, held in the proposer's queue beside the command.
pub(crate) struct CommandMark(Arc<SharedCommand>);

/// Begins the span of a command that is about to be queued, if it is sampled.
pub(crate) fn begin_command(parent: Option<&SpanMark>) -> (Option<CommandSpan>, Option<CommandMark>) {
    let Some(live) = parent.and_then(|parent| {
        let kind = if parent.context().is_remote() { SpanKind::Server } else { SpanKind::Internal };
        parent.start(span_builder("command").with_kind(kind))
    }) else {
        return (None, None);
    };
    let shared = Arc::new(SharedCommand { mark: live.mark().clone(), packed: OnceLock::new() });
    (Some(CommandSpan { live, shared: shared.clone() }), Some(CommandMark(shared)))
}

impl CommandMark {
    pub(super) fn mark(&self) -> &SpanMark {
        &self.0.mark
    }

    /// Notes that the command goes into this entry.
    pub(super) fn packed(&self, entry: &Arc<EntryTrace>) {
        // A command is packed once.
        let _ = self.0.packed.set(PackedCommand { at: SystemTime::now(), entry: entry.clone() });
    }
}

impl CommandSpan {
    /// Ends the span. The time since the entry was applied on this pod was the way back: the span `reply`.
    pub(crate) fn answered(mut self, result: &'static str) {
        self.live.set(attribute::RESULT, result);
        if let Some(PackedCommand { at, entry }) = self.shared.packed.get() {
            self.live.happened("packed", *at);
            self.live.link(entry.mark());
            if let Some(applied) = entry.applied_at() {
                drop(self.live.mark().start(span_builder("reply").with_start_time(applied)));
            }
        }
    }
}
