//! Settings of the log.

use super::observe::{LogObserver, NoLogObserver};
use crate::raft::threading::ThreadingModel;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Largest payload of a record, in bytes. openraft's requests are bounded at 1 MiB and a proposer's entry at 256 KiB (a
/// single command at 512 KiB), so this only rejects nonsense.
pub const MAX_RECORD: usize = 16 << 20;

/// Settings of a [`super::LogStore`]; the default is what production uses.
#[derive(Clone)]
pub struct LogOptions {
    /// Bytes allocated for a segment. Smaller segments free purged space sooner, larger ones are created less often.
    pub segment_bytes: u32,
    /// Memory for the newest entries, in bytes. Covers followers that are a few seconds behind.
    pub cache_bytes: usize,
    /// Bytes of entries appended but not yet written; `append` waits beyond this limit. Covers a disk that stalls for
    /// about a second.
    pub queue_bytes: u32,
    /// Approximate limit on the bytes of one write, which bounds how long the first caller in it waits for the others.
    pub batch_bytes: usize,
    /// Limit on the bytes that `limited_get_log_entries` returns, though it returns at least one entry. tonic receives
    /// at most 4 MiB.
    pub read_bytes: usize,
    /// Bytes that `entries_stream` loads at a time.
    pub stream_bytes: usize,
    /// Time for which opening waits for another process to release the directory: a pod that was replaced may still be
    /// stopping.
    pub lock_wait: Duration,
    /// Threading model of the writer and of file reads.
    pub drive: ThreadingModel,
    /// Observer that is told about batches.
    pub observer: Arc<dyn LogObserver>,
    /// Source of randomness for the node id and salts.
    pub entropy: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            queue_bytes: 64 << 20,
            batch_bytes: 4 << 20,
            read_bytes: 1 << 20,
            stream_bytes: 2 << 20,
            lock_wait: Duration::from_secs(30),
            drive: ThreadingModel::Threads,
            observer: Arc::new(NoLogObserver),
            entropy: Arc::new(rand::random),
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .field("queue_bytes", &self.queue_bytes)
            .field("batch_bytes", &self.batch_bytes)
            .field("lock_wait", &self.lock_wait)
            .field("drive", &self.drive)
            .finish_non_exhaustive()
    }
}
