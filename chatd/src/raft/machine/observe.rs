//! Hooks through which the metrics observe the state machine.

use crate::raft::types::LogEntry;
use openraft::EntryPayload;
use std::time::Duration;

/// One commit of the apply thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedBatch {
    /// Number of log entries.
    pub entries: usize,
    /// Number of commands in the entries.
    pub commands: usize,
    /// Encoded size of the commands, in bytes.
    pub bytes: usize,
    /// Index of the last entry.
    pub last_index: u64,
    /// Time from decoding the first entry to the end of the commit.
    pub elapsed: Duration,
}

/// Hooks for metrics, called on the thread that does the work: they must not block. `()` ignores everything.
pub trait MachineObserver: Send + Sync + 'static {
    /// Reports a batch that was committed and answered.
    fn applied(&self, _batch: &AppliedBatch) {}
    /// Reports a snapshot that was built.
    fn snapshot_built(&self, _elapsed: Duration, _bytes: u64) {}
    /// Reports that a snapshot could not be built; the previous one stays in use.
    fn snapshot_failed(&self) {}
    /// Reports that a received snapshot became the state.
    fn snapshot_installed(&self) {}
}

impl MachineObserver for () {}

/// Returns the encoded size of an entry's commands, in bytes.
pub(super) fn payload_bytes(entry: &LogEntry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
