//! What the machine tells metrics.

use crate::raft::types::Entry;
use openraft::EntryPayload;
use std::time::Duration;

/// One commit of the apply thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedBatch {
    /// Log entries.
    pub entries: usize,
    /// Commands in them.
    pub commands: usize,
    /// Their encoded size.
    pub bytes: usize,
    /// Index of the last.
    pub last_index: u64,
    /// From the first entry's decoding to the end of the commit.
    pub elapsed: Duration,
}

/// Hooks for metrics, called on the thread that does the work: they must not block. `()` ignores everything.
pub trait MachineObserver: Send + Sync + 'static {
    /// A batch was committed and answered.
    fn applied(&self, _batch: &AppliedBatch) {}
    /// A snapshot was built.
    fn snapshot_built(&self, _elapsed: Duration, _bytes: u64) {}
    /// A snapshot could not be built; the one before it stays in use.
    fn snapshot_failed(&self) {}
    /// A received snapshot became the state.
    fn snapshot_installed(&self) {}
}

impl MachineObserver for () {}

/// Encoded size of an entry's commands.
pub(super) fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
