//! Figures of a storage engine, for metrics.

use std::time::Duration;

/// Storage engine that reports figures.
pub trait StoreFigures: Send + Sync + 'static {
    /// Returns the current figures. Must not block.
    fn figures(&self) -> EngineFigures;
}

/// Utilisation, saturation and errors of the engine. Counters start when the database is opened: at process start, or
/// with the installation of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineFigures {
    /// Size of all table files, in bytes.
    pub disk_bytes: u64,
    /// Size of all memtables, in bytes.
    pub memtable_bytes: u64,
    /// Number of full memtables that wait to be flushed.
    pub immutable_memtables: u64,
    /// Bytes in use in the block cache.
    pub block_cache_bytes: u64,
    /// Capacity of the block cache, in bytes.
    pub block_cache_capacity_bytes: u64,
    /// Estimated bytes that compaction still has to rewrite.
    pub pending_compaction_bytes: u64,
    /// Number of compactions that are running.
    pub running_compactions: u64,
    /// Number of flushes that are running.
    pub running_flushes: u64,
    /// Number of level 0 files in the column family that has the most of them.
    pub level0_files: u64,
    /// Total time for which writes were stalled.
    pub stalled: Duration,
    /// `true` while the engine accepts no writes.
    pub write_stopped: bool,
    /// Number of flushes and compactions that failed.
    pub background_errors: u64,
    /// Bytes read by compactions.
    pub compaction_read_bytes: u64,
    /// Bytes written by flushes and compactions.
    pub written_bytes: u64,
    /// Bytes written by flushes.
    pub flush_written_bytes: u64,
    /// Memory of open table files outside the block cache, in bytes.
    pub table_readers_bytes: u64,
}
