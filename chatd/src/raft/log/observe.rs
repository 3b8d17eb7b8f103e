//! Hooks through which the metrics observe the log.

use std::time::Duration;

/// Report on one write with its fsync.
#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    /// Number of records in the write.
    pub records: usize,
    /// Bytes in the write, with framing.
    pub bytes: usize,
    /// Duration of the write.
    pub write: Duration,
    /// Duration of the fdatasync.
    pub sync: Duration,
    /// Operations that were in the queue when the write was done.
    pub queued: usize,
}

/// Observer that is called on the writer's thread, between two batches: it must not block.
pub trait LogObserver: Send + Sync + 'static {
    /// Reports that a batch is on disk.
    fn batch(&self, _report: &BatchReport) {}
    /// Reports the number of segments. `making` is the time that it took to create a new one; `None` at opening, and
    /// when a segment was removed.
    fn segments(&self, _count: usize, _making: Option<Duration>) {}
}

/// Observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLogObserver;

impl LogObserver for NoLogObserver {}
