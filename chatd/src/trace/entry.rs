//! Trace of a log entry that has sampled commands in it, which they share.

use super::SpanMark;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Trace of an entry, which goes beside the entry's bytes: through openraft to the log, the state machine and the other
/// pods. An entry that was read from the disk has none.
#[derive(Debug)]
pub(crate) struct EntryTrace {
    mark: SpanMark,
    applied: OnceLock<SystemTime>,
}

impl EntryTrace {
    pub(crate) fn new(mark: SpanMark) -> Self {
        Self { mark, applied: OnceLock::new() }
    }

    pub(crate) fn mark(&self) -> &SpanMark {
        &self.mark
    }

    /// Notes when the entry was applied on this pod.
    pub(super) fn applied(&self, at: SystemTime) {
        // An entry is applied once.
        let _ = self.applied.set(at);
    }

    pub(super) fn applied_at(&self) -> Option<SystemTime> {
        self.applied.get().copied()
    }
}
