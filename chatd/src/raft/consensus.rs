//! openraft behind functions that do not name the state machine: everything above (proposals, reads, membership, the
//! doors) is written once, compiled once, and tested with any state machine.

use super::{
    network::snapshot::SnapshotFacts,
    types::{EncodedBatch, LogId, Node, TypeConfig, Vote},
};
use futures::{future::BoxFuture, stream::BoxStream};
use openraft::{
    ChangeMembers, Raft, ReadPolicy,
    errors::{ClientWriteError, Fatal, InitializeError, LinearizableReadError, RaftError},
    impls::ProgressResponder,
    metrics::{RaftMetrics, RaftServerMetrics},
    raft::{
        AppendEntriesRequest, ChangeMembershipRequest, ClientWriteResponse, ClientWriteResult, Precondition,
        StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
    storage::RaftStateMachine,
    type_config::alias::{OneshotReceiverOf, WatchReceiverOf},
};
use std::{collections::BTreeMap, sync::Arc};

/// openraft has stopped, or a write to storage failed.
pub type Stopped = Fatal<TypeConfig>;
/// The figures of a node, followed as they change.
pub type MetricsWatch = WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>;
/// Vote, role, leader and membership only: changes seldom, so waiting on it wakes seldom.
pub type LeadershipWatch = WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>;
/// One change of the membership.
pub type Change = ChangeMembers<u64, Node>;
/// The applied membership entry, or why there is none.
pub type Changed = Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;
/// Answered once the entry is applied; dropped when openraft stops.
pub type Written = OneshotReceiverOf<TypeConfig, ClientWriteResult<TypeConfig>>;

/// What a snapshot holds and takes, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Its name on this pod.
    pub id: String,
    /// Everything up to here is in it.
    pub last_applied: Option<LogId>,
    /// Bytes on disk.
    pub size_bytes: u64,
}

/// One running Raft node. Errors are openraft's; they end in the functions of this folder.
pub trait Consensus: Send + Sync + 'static {
    /// Requests of a leader in order, their answers in the same order; ends after the answer to the last request, or
    /// after the first conflict or higher vote.
    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<TypeConfig>, Stopped>>;
    /// A candidate asks for this node's vote.
    fn vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>>>;
    /// The same question without any effect.
    fn pre_vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>>>;
    /// The leader hands over.
    fn take_over(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<TypeConfig>, Stopped>>;
    /// Appends one entry, if this node leads; returns once openraft has taken it, in the order of the calls.
    fn write(&self, batch: EncodedBatch) -> BoxFuture<'_, Result<Written, Stopped>>;
    /// Confirms leadership with a quorum and returns the index that a read has to wait for (Raft dissertation §6.4).
    fn read_index(&self) -> BoxFuture<'_, Result<LogId, RaftError<TypeConfig, LinearizableReadError<TypeConfig>>>>;
    /// The first membership of a new cluster, on an empty log.
    fn initialize(
        &self,
        voters: BTreeMap<u64, Node>,
    ) -> BoxFuture<'_, Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>>>;
    /// One change of membership, through a joint one where voters change; guarded by `still`, the membership entry
    /// that the caller looked at.
    fn change_membership(&self, change: Change, retain: bool, still: Option<LogId>) -> BoxFuture<'_, Changed>;
    /// Starts a transfer; it cannot be taken back.
    fn transfer_to(&self, node_id: u64) -> BoxFuture<'_, Result<(), Stopped>>;
    /// Starts a checkpoint of the state; `RaftMetrics::snapshot` tells when it is there.
    fn build_snapshot(&self) -> BoxFuture<'_, Result<(), Stopped>>;
    /// The newest snapshot on this node.
    fn snapshot(&self) -> BoxFuture<'_, Result<Option<SnapshotSummary>, RaftError<TypeConfig>>>;
    /// Lets entries up to this index go, as far as a snapshot covers them.
    fn purge(&self, up_to: u64) -> BoxFuture<'_, Result<(), Stopped>>;
    /// All figures.
    fn metrics(&self) -> MetricsWatch;
    /// Vote, role, leader and membership.
    fn leadership(&self) -> LeadershipWatch;
    /// Stops; open calls end with an error.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// The handle that everything holds.
pub type ConsensusRef = Arc<dyn Consensus>;

impl<M> Consensus for Raft<TypeConfig, M>
where
    M: RaftStateMachine<TypeConfig>,
    M::SnapshotData: SnapshotFacts,
{
    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<TypeConfig>, Stopped>> {
        Box::pin(self.stream_append(requests))
    }

    fn vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>>> {
        Box::pin(Raft::vote(self, request))
    }

    fn pre_vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>>> {
        Box::pin(Raft::pre_vote(self, request))
    }

    fn take_over(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<TypeConfig>, Stopped>> {
        Box::pin(self.handle_transfer_leader(request))
    }

    fn write(&self, batch: EncodedBatch) -> BoxFuture<'_, Result<Written, Stopped>> {
        Box::pin(async move {
            let (responder, written) = ProgressResponder::complete_only();
            self.client_write_ff(batch, Some(responder)).await?;
            Ok(written)
        })
    }

    fn read_index(&self) -> BoxFuture<'_, Result<LogId, RaftError<TypeConfig, LinearizableReadError<TypeConfig>>>> {
        Box::pin(async move {
            // Never a lease read: a voter that restarted quickly has forgotten the lease it granted.
            let linearizer = self.get_read_linearizer(ReadPolicy::ReadIndex).await?;
            Ok(*linearizer.read_log_id().log_id())
        })
    }

    fn initialize(
        &self,
        voters: BTreeMap<u64, Node>,
    ) -> BoxFuture<'_, Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>>> {
        Box::pin(Raft::initialize(self, voters))
    }

    fn change_membership(&self, change: Change, retain: bool, still: Option<LogId>) -> BoxFuture<'_, Changed> {
        let guard = Precondition::LastMembershipLogId { last_membership_log_id: still };
        let request = ChangeMembershipRequest::new(change, retain).with_preconditions([guard]);
        Box::pin(async move { Ok(self.change_membership_with_payload(request).await?.uniform) })
    }

    fn transfer_to(&self, node_id: u64) -> BoxFuture<'_, Result<(), Stopped>> {
        Box::pin(async move { self.trigger().transfer_leader(node_id).await })
    }

    fn build_snapshot(&self) -> BoxFuture<'_, Result<(), Stopped>> {
        Box::pin(async move { self.trigger().snapshot().await })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Option<SnapshotSummary>, RaftError<TypeConfig>>> {
        Box::pin(async move {
            let snapshot = self.get_snapshot().await?;
            Ok(snapshot.map(|s| SnapshotSummary {
                id: s.snapshot.id().to_owned(),
                last_applied: s.meta.last_log_id,
                size_bytes: s.snapshot.size_bytes(),
            }))
        })
    }

    fn purge(&self, up_to: u64) -> BoxFuture<'_, Result<(), Stopped>> {
        Box::pin(async move { self.trigger().purge_log(up_to).await })
    }

    fn metrics(&self) -> MetricsWatch {
        Raft::metrics(self)
    }

    fn leadership(&self) -> LeadershipWatch {
        self.server_metrics()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        // The only error is that the core task had panicked; its metrics say so already.
        Box::pin(async move { drop(Raft::shutdown(self).await) })
    }
}

/// A vote's term; the leader of a term is one node (Raft paper §5.2), the id orders two candidates of one term.
#[must_use]
pub fn term_of(vote: &Vote) -> u64 {
    vote.leader_id.term
}
