//! Spans of the log: a sampled entry on its way from the log's queue to the disk.

use super::entry::EntryTrace;
use super::{SpanMark, attribute, span_builder};
use opentelemetry::trace::SpanBuilder;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Sampled entries of one append, while they wait for the disk.
pub(crate) struct AppendTrace {
    queued: SystemTime,
    entries: Vec<(u64, Arc<EntryTrace>)>,
}

/// One write with its fsync, for all appends that were in it.
#[derive(Clone, Copy)]
pub(crate) struct SyncedWrite {
    pub(crate) begun: Instant,
    pub(crate) written: Instant,
    pub(crate) synced: Instant,
    /// Number of bytes in the whole write.
    pub(crate) bytes: usize,
}

/// Collects the sampled entries of an append as it is queued; `None` if no entry is sampled.
pub(crate) fn trace_append<'a>(entries: impl Iterator<Item = (u64, &'a Arc<EntryTrace>)>) -> Option<Box<AppendTrace>> {
    let mut entries = entries.peekable();
    entries.peek()?;
    let entries = entries.map(|(index, trace)| (index, trace.clone())).collect();
    Some(Box::new(AppendTrace { queued: SystemTime::now(), entries }))
}

/// Records the spans of all appends that this write made durable: for each of them `append`, `write` and `fsync`. There
/// is one write for all, so the later spans are linked to the first.
pub(crate) fn record_appends(appends: &[Box<AppendTrace>], how: &SyncedWrite) {
    if appends.is_empty() {
        return;
    }
    let wall = WallClock::now();
    let mut first: Option<SpanMark> = None;
    for (queued, index, trace) in appends.iter().flat_map(|a| a.entries.iter().map(|(i, t)| (a.queued, *i, t))) {
        let Some(mut append) = trace.mark().start(span_builder("append").with_start_time(queued)) else { return };
        append.count(attribute::INDEX, index);
        append.count(attribute::BYTES, how.bytes);
        let part = |name, from| -> SpanBuilder { span_builder(name).with_start_time(wall.at(from)) };
        if let Some(write) = append.mark().start(part("write", how.begun)) {
            write.end_at(wall.at(how.written));
        }
        if let Some(mut fsync) = append.mark().start(part("fsync", how.written)) {
            match &first {
                Some(first) => fsync.link(first),
                None => first = Some(fsync.mark().clone()),
            }
            fsync.end_at(wall.at(how.synced));
        }
        append.end_at(wall.at(how.synced));
    }
}

/// Converter from monotonic to wall-clock time.
pub(super) struct WallClock(Instant, SystemTime);

impl WallClock {
    pub(super) fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    pub(super) fn at(&self, moment: Instant) -> SystemTime {
        self.1.checked_sub(self.0.saturating_duration_since(moment)).unwrap_or(self.1)
    }
}
