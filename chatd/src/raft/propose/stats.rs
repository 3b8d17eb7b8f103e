//! Hooks through which the metrics observe proposals.

use super::limit::LimitClass;
use std::time::Duration;

/// Observer that is called on the hot path: it must only count and return. All methods do nothing by default.
pub trait ProposeObserver: Send + Sync + 'static {
    /// Reports that the leader packed `commands` into one entry, and left `queued` waiting.
    fn packed(&self, commands: usize, queued: usize) {
        let _ = (commands, queued);
    }
    /// Reports that a proposal from this pod's own APIs ended, after `took`.
    fn settled(&self, result: ProposeResult, took: Duration) {
        let _ = (result, took);
    }
    /// Reports that the leader refused a command of this class, as its bucket was empty.
    fn limited(&self, class: LimitClass) {
        let _ = class;
    }
    /// Reports that a command went to the leader over the network.
    fn forwarded(&self) {}
    /// Reports that a shared read index was fetched for `reads` reads.
    fn read_index(&self, reads: usize, took: Duration) {
        let _ = (reads, took);
    }
}

/// Result of a proposal, as the label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProposeResult {
    /// The proposal has an outcome.
    Applied,
    /// The queue was full.
    Overloaded,
    /// The user's limit was reached.
    RateLimited,
    /// The volumes had no space for the command.
    StorageFull,
    /// The command needs a format level that is not in force.
    TooNew,
    /// No leader took the command in time.
    NoLeader,
    /// The command was perhaps appended.
    Unknown,
    /// The pod was stopping.
    Stopping,
    /// The command was larger than allowed.
    TooLarge,
}

impl ProposeResult {
    /// All results, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Applied,
        Self::Overloaded,
        Self::RateLimited,
        Self::StorageFull,
        Self::TooNew,
        Self::NoLeader,
        Self::Unknown,
        Self::Stopping,
        Self::TooLarge,
    ];

    /// Returns the label that is used in the metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::StorageFull => "storage_full",
            Self::TooNew => "too_new",
            Self::NoLeader => "no_leader",
            Self::Unknown => "unknown",
            Self::Stopping => "stopping",
            Self::TooLarge => "too_large",
        }
    }
}

/// Observer that ignores everything.
pub struct NoObserver;

impl ProposeObserver for NoObserver {}
