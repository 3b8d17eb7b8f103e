//! What a storage engine tells about itself, for metrics.

use std::time::Duration;

/// An engine that can be asked.
pub trait StoreFigures: Send + Sync + 'static {
    /// As of now; must not block.
    fn figures(&self) -> Figures;
}

/// USE of the engine. What is counted is counted since the database was opened: at the start, or with a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes in table files.
    pub disk_bytes: u64,
    /// Bytes in memtables.
    pub memtable_bytes: u64,
    /// Full memtables that wait to be flushed.
    pub immutable_memtables: u64,
    /// Bytes in the block cache.
    pub block_cache_bytes: u64,
    /// What it may hold.
    pub block_cache_capacity_bytes: u64,
    /// Bytes that compaction is behind.
    pub pending_compaction_bytes: u64,
    /// Compactions that run.
    pub running_compactions: u64,
    /// Flushes that run.
    pub running_flushes: u64,
    /// Files of level 0, where there are most.
    pub level0_files: u64,
    /// For how long writes were held up.
    pub stalled: Duration,
    /// No write is taken now.
    pub write_stopped: bool,
    /// Flushes and compactions that failed.
    pub background_errors: u64,
    /// Bytes that compaction read.
    pub compaction_read_bytes: u64,
    /// Bytes that flushes and compaction wrote.
    pub written_bytes: u64,
    /// Bytes that flushes wrote.
    pub flush_written_bytes: u64,
    /// Memory of open table files outside of the cache.
    pub table_readers_bytes: u64,
}
