//! State that the handles of the store, the readers and the writer share.

use super::cache::TailCache;
use super::error::LogError;
use super::format::LogMeta;
use super::index::{EntryIndex, EntryRun};
use crate::raft::types::{LogEntry, LogId};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared state of a log.
pub(crate) struct SharedLog {
    state: Mutex<LogMemory>,
    /// Reason why nothing is written any more.
    pub(crate) failed: watch::Sender<Option<LogError>>,
}

/// State behind the lock, which is held for moments, never over I/O or an await.
pub(crate) struct LogMemory {
    /// State of the log as on disk, except that `committed` may be ahead of it.
    pub(crate) meta: LogMeta,
    /// Id of the last entry, or of the last purged one if there is none.
    pub(crate) last: Option<LogId>,
    pub(crate) cache: TailCache,
    pub(crate) index: EntryIndex,
}

/// Entries in memory, and the positions of the others.
pub(crate) struct ReadPlan {
    pub(crate) cold: Vec<EntryRun>,
    pub(crate) warm: Vec<LogEntry>,
}

impl SharedLog {
    pub(crate) fn new(memory: LogMemory) -> Self {
        Self { state: Mutex::new(memory), failed: watch::Sender::new(None) }
    }

    /// Locks the memory. A panic while the lock is held cannot leave it half changed in a way that matters: the process
    /// is stopping then.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LogMemory> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the log has not failed.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }

    /// Records a failure. The first one counts, later ones follow from it.
    pub(crate) fn fail(&self, error: &LogError) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                *failed = Some(error.clone());
            }
            first
        });
    }
}

impl LogMemory {
    /// Returns the index of the next entry; `None` if it may be any.
    pub(crate) fn next(&self) -> Option<u64> {
        self.last.as_ref().map(|last| last.index.saturating_add(1))
    }

    /// Plans a read of `range`: all entries that exist, or about `budget` bytes of them, but at least one.
    pub(crate) fn plan(&self, range: Range<u64>, budget: usize) -> ReadPlan {
        let purged = self.meta.purged.as_ref().map_or(0, |id| id.index.saturating_add(1));
        let first_warm = self.cache.first().unwrap_or(u64::MAX);
        let oldest = self.index.bounds().map_or(first_warm, |(first, _)| first.min(first_warm));
        let start = range.start.max(purged).max(oldest);
        let end = range.end.min(self.next().unwrap_or(0));
        let mut plan = ReadPlan { cold: Vec::new(), warm: Vec::new() };
        if start >= end {
            return plan;
        }
        let mut budget = budget;
        let mut nothing_yet = true;
        if start < first_warm {
            let wanted = start..end.min(first_warm);
            let (cold, bytes) = self.index.runs(wanted.clone(), budget);
            plan.cold = cold;
            let found: u64 = plan.cold.iter().map(|run| run.slots.len() as u64).sum();
            if found < wanted.end.saturating_sub(wanted.start) {
                return plan;
            }
            (budget, nothing_yet) = (budget.saturating_sub(bytes), false);
        }
        self.cache.copy(start.max(first_warm), end, budget, nothing_yet, &mut plan.warm);
        plan
    }
}
