//! What can be set.

use super::observe::{LogObserver, Unobserved};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A record's payload may have so many bytes. openraft's requests are bounded at 1 MiB and a proposer's entry at 64 KiB,
/// so this only stops nonsense.
pub const MAX_RECORD: usize = 16 << 20;

/// What runs the writer and reads files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// An own thread for the writer; reads from files on tokio's blocking threads. For real disks.
    Threads,
    /// A task on the current tokio runtime: for in-memory disks, so that a simulation stays deterministic.
    Task,
}

/// Settings of a [`super::LogStore`]; the default is what production uses.
#[derive(Clone)]
pub struct Options {
    /// A segment is allocated with so many bytes; smaller ones free purged space sooner, larger ones are made more rarely.
    pub segment_bytes: u32,
    /// Newest entries held in memory, in bytes: covers followers a few seconds behind.
    pub cache_bytes: usize,
    /// Entries appended but not yet written; beyond it `append` waits. Covers a disk that stalls for about a second.
    pub queue_bytes: u32,
    /// One write takes at most about so many bytes: bounds how long the first caller in it waits for the others.
    pub batch_bytes: usize,
    /// `limited_get_log_entries` gives at most so many bytes (tonic receives 4 MiB at most), yet at least one entry.
    pub read_bytes: usize,
    /// `entries_stream` loads so many bytes at a time.
    pub stream_bytes: usize,
    /// How long opening waits for another process to leave the directory: a pod that was replaced may still be stopping.
    pub lock_wait: Duration,
    /// What runs the writer.
    pub drive: Drive,
    /// Who is told about batches.
    pub observer: Arc<dyn LogObserver>,
    /// Source of node id and salts.
    pub entropy: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            queue_bytes: 64 << 20,
            batch_bytes: 4 << 20,
            read_bytes: 1 << 20,
            stream_bytes: 2 << 20,
            lock_wait: Duration::from_secs(30),
            drive: Drive::Threads,
            observer: Arc::new(Unobserved),
            entropy: Arc::new(rand::random),
        }
    }
}

impl fmt::Debug for Options {
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
