//! What proposing tells the metrics.

use std::time::Duration;

/// Called from the hot path: counts and returns. All default to nothing.
pub trait ProposeObserver: Send + Sync + 'static {
    /// The leader packed `commands` into one entry, and left `queued` waiting.
    fn packed(&self, commands: usize, queued: usize) {
        let _ = (commands, queued);
    }
    /// A proposal of this pod's own doors came to an end, after `took`.
    fn settled(&self, result: ProposeResult, took: Duration) {
        let _ = (result, took);
    }
    /// A command went to the leader over the wire.
    fn forwarded(&self) {}
    /// A shared read index was fetched for `reads` reads.
    fn read_index(&self, reads: usize, took: Duration) {
        let _ = (reads, took);
    }
}

/// How a proposal ended, as a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProposeResult {
    /// There is an outcome.
    Applied,
    /// The queue was full.
    Overloaded,
    /// The user's limit.
    RateLimited,
    /// The volumes had no space for it.
    StorageFull,
    /// No leader in time.
    NoLeader,
    /// Perhaps appended.
    Unknown,
    /// This pod was stopping.
    Stopping,
    /// Larger than a command may be.
    TooLarge,
}

impl ProposeResult {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::Applied,
        Self::Overloaded,
        Self::RateLimited,
        Self::StorageFull,
        Self::NoLeader,
        Self::Unknown,
        Self::Stopping,
        Self::TooLarge,
    ];

    /// As it stands in the metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::StorageFull => "storage_full",
            Self::NoLeader => "no_leader",
            Self::Unknown => "unknown",
            Self::Stopping => "stopping",
            Self::TooLarge => "too_large",
        }
    }
}

/// Counts nothing.
pub struct NoObserver;

impl ProposeObserver for NoObserver {}
