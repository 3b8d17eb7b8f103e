//! Errors of administrative changes.

use crate::raft::{consensus::RaftStopped, identity::AdoptError, types::TypeConfig};
use openraft::errors::{ClientWriteError, RaftError};
use std::time::Duration;

/// Error of an administrative change. Each variant maps to its own gRPC status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Only the leader can make the change, and this node does not lead; nothing was changed.
    #[error("{}", not_leader(*leader))]
    NotLeader {
        /// Node id of the leader, if known.
        leader: Option<u64>,
    },
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The change would be wrong in the current state; the message says what has to be true first.
    #[error("{0}")]
    Refused(String),
    /// The cluster is not in the state that the caller expected.
    #[error("{0}")]
    Conflict(String),
    /// The change did not finish in time; it may still finish.
    #[error("not finished after {after:?}, but it may still finish: check the status before trying again")]
    TimedOut {
        /// Time limit of the change.
        after: Duration,
    },
    /// Raft has stopped on this node, or its storage failed.
    #[error("this node's Raft has stopped: {0}")]
    Stopped(String),
}

fn not_leader(leader: Option<u64>) -> String {
    match leader {
        Some(id) => format!("this node is not the leader; ask node {id}"),
        None => "this node is not the leader (or has lost its quorum), and knows no leader".into(),
    }
}

impl From<RaftStopped> for AdminError {
    fn from(fatal: RaftStopped) -> Self {
        Self::Stopped(fatal.to_string())
    }
}

impl From<AdoptError> for AdminError {
    fn from(error: AdoptError) -> Self {
        match error {
            AdoptError::Missing => Self::Invalid(error.to_string()),
            AdoptError::Store(_) => Self::Stopped(error.to_string()),
            AdoptError::Other { .. } | AdoptError::NotEmpty => Self::Refused(error.to_string()),
        }
    }
}

impl From<RaftError<TypeConfig, ClientWriteError<TypeConfig>>> for AdminError {
    fn from(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Self {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => Self::NotLeader { leader: to.leader_id },
            RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
                Self::Conflict("the leader changed meanwhile; check the status before trying again".into())
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => Self::Refused(error.to_string()),
            RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => {
                Self::Conflict("the membership changed meanwhile; check the status before trying again".into())
            }
            RaftError::Fatal(fatal) => fatal.into(),
        }
    }
}
