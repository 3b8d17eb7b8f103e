//! Results of a proposal other than an outcome.

use quorate_core::proto::log::Outcome;
use std::time::Duration;

/// Reason why a proposal has no outcome. The set is closed: each API maps each case to its own status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Too many writes are waiting already; the command was not appended.
    #[error("too many writes are waiting; try again in {retry_after:?}")]
    Overloaded {
        /// Delay after which to try again.
        retry_after: Duration,
    },
    /// The user has reached the limit of writes; the command was not appended.
    #[error("the user has reached the write limit; try again in {retry_after:?}")]
    RateLimited {
        /// Delay after which the next write is allowed.
        retry_after: Duration,
    },
    /// The volumes of the cluster are nearly full; the command was not appended.
    #[error(
        "the server's storage is nearly full, and new content is refused until there is space; reading and deleting still work"
    )]
    StorageFull {
        /// Delay after which a retry may succeed.
        retry_after: Duration,
    },
    /// The command needs a format level that is not in force, because not all pods know it; it was not appended.
    #[error("the cluster is being upgraded, and not all pods know this command yet; try again in {retry_after:?}")]
    TooNew {
        /// Delay after which to try again.
        retry_after: Duration,
    },
    /// No leader took the command in time; it was not appended.
    #[error("the cluster has no leader now, or this pod is cut off from it; try again")]
    NoLeader,
    /// The command may or may not have been appended: try again with the same transaction id.
    #[error("the outcome of the write is unknown ({reason}); try again with the same transaction id")]
    Unknown {
        /// Description of what happened.
        reason: String,
    },
    /// The pod is stopping; the command was not appended.
    #[error("this pod is stopping; try again on another one")]
    Stopping,
    /// The command is too large, and is never appended, here or elsewhere.
    #[error("the command has {bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Encoded size of the command, in bytes.
        bytes: usize,
        /// Largest allowed size, in bytes.
        limit: usize,
    },
}

/// Result of one try at a leader.
#[derive(Debug)]
pub(crate) enum ProposeAttempt {
    /// The command was applied on the leader; refusals by the log are outcomes, too.
    Applied(Box<Outcome>),
    /// The command was not appended; the given node leads, as far as the node that was asked knows.
    NotLeader(Option<u64>),
    /// The command was perhaps appended.
    Unknown(String),
    /// The command was not appended, and must not be tried elsewhere.
    Refused(ProposeError),
}

impl ProposeAttempt {
    /// Returns the label that is used in traces.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::NotLeader(_) => "not_leader",
            Self::Unknown(_) => "unknown",
            Self::Refused(_) => "refused",
        }
    }
}
