//! What the log tells about itself; metrics implement it.

use std::time::Duration;

/// One write with its fsync.
#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    /// Records in it.
    pub records: usize,
    /// Bytes in it, with framing.
    pub bytes: usize,
    /// Duration of the write.
    pub write: Duration,
    /// Duration of the fdatasync.
    pub sync: Duration,
    /// Operations that waited in the queue when it was done.
    pub queued: usize,
}

/// Called on the writer's thread, between two batches: must not block.
pub trait LogObserver: Send + Sync + 'static {
    /// A batch is on disk.
    fn batch(&self, _report: &BatchReport) {}
    /// There are now so many segments. `making` is how long a new one took; `None` at opening and when one was removed.
    fn segments(&self, _count: usize, _making: Option<Duration>) {}
}

/// Nobody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl LogObserver for Unobserved {}
