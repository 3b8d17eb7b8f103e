//! How a proposal ends other than by an outcome.

use quorate_core::proto::log::Outcome;
use std::time::Duration;

/// Why there is no outcome. A closed set: each door maps each case to its own status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Too many writes are waiting already; not appended.
    #[error("too many writes are waiting; try again in {retry_after:?}")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// This user's own limit; not appended.
    #[error("the user has reached the limit of writes; try again in {retry_after:?}")]
    RateLimited {
        /// When the next write is allowed.
        retry_after: Duration,
    },
    /// The volumes of the cluster are nearly full; not appended.
    #[error(
        "the server's storage is nearly full, and new content is refused until there is space; reading and deleting go on"
    )]
    StorageFull {
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// No leader took it in time; not appended.
    #[error("the cluster has no leader now, or this pod is cut off from it; try again")]
    NoLeader,
    /// It may or may not have been appended: try again with the same transaction id.
    #[error("the write's fate is unknown ({reason}); try again with the same transaction id")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// This pod is stopping; not appended.
    #[error("this pod is stopping; try again on another one")]
    Stopping,
    /// Never appended, here or elsewhere.
    #[error("the command has {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The largest allowed.
        limit: usize,
    },
}

/// What one try at a leader came to.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Applied on the leader; refusals by the log are outcomes too.
    Applied(Box<Outcome>),
    /// Not appended; this node leads, as far as the one asked knows.
    NotLeader(Option<u64>),
    /// Perhaps appended.
    Unknown(String),
    /// Not appended, and not to be tried elsewhere.
    Refused(ProposeError),
}

impl Attempt {
    /// As it stands in a trace.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::NotLeader(_) => "not_leader",
            Self::Unknown(_) => "unknown",
            Self::Refused(_) => "refused",
        }
    }
}
