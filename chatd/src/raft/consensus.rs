//! A facade over openraft that does not name the state machine, so that everything built on it (proposals, reads,
//! membership, the APIs) is written once, compiled once, and can be tested with any state machine.

use super::{
    network::snapshot::SnapshotFacts,
    types::{EncodedBatch, LogId, NodeAddresses, TypeConfig, Vote},
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

/// Error of a node that has stopped: openraft was shut down, or a write to storage failed.
pub type RaftStopped = Fatal<TypeConfig>;
/// Metrics of a node, as a watch.
pub type MetricsWatch = WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>;
/// Vote, role, leader and membership only, as a watch: they seldom change, so a waiting task is seldom woken.
pub type LeadershipWatch = WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>;
/// One change of the membership.
pub type MembershipChange = ChangeMembers<u64, NodeAddresses>;
/// Applied membership entry, or the reason why there is none.
pub type MembershipChangeResult =
    Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;
/// Receiver that resolves once the entry is applied; its sender is dropped if openraft stops.
pub type WriteReceiver = OneshotReceiverOf<TypeConfig, ClientWriteResult<TypeConfig>>;

/// Summary of a snapshot, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Name of the snapshot on this pod.
    pub id: String,
    /// Last log id that the snapshot covers.
    pub last_applied: Option<LogId>,
    /// Size on disk, in bytes.
    pub size_bytes: u64,
}

/// One running Raft node. Errors are openraft's, and are handled within this module's folder.
pub trait Consensus: Send + Sync + 'static {
    /// Appends a leader's requests in order, and yields the answers in the same order. The stream ends after the answer
    /// to the last request, or after the first conflict or higher vote.
    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<TypeConfig>, RaftStopped>>;
    /// Answers a candidate that asks for this node's vote.
    fn vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>>>;
    /// Answers whether this node would vote for a candidate, without any effect.
    fn pre_vote(
        &self,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<VoteResponse<TypeConfig>, RaftError<TypeConfig>>>;
    /// Takes over leadership on the request of the current leader.
    fn take_over(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<TypeConfig>, RaftStopped>>;
    /// Appends one entry, if this node leads. Returns once openraft has taken it, in the order of the calls.
    fn write(&self, batch: EncodedBatch) -> BoxFuture<'_, Result<WriteReceiver, RaftStopped>>;
    /// Confirms leadership with a quorum and returns the index that a read has to wait for (Raft dissertation §6.4).
    fn read_index(&self) -> BoxFuture<'_, Result<LogId, RaftError<TypeConfig, LinearizableReadError<TypeConfig>>>>;
    /// Writes the first membership of a new cluster into an empty log.
    fn initialize(
        &self,
        voters: BTreeMap<u64, NodeAddresses>,
    ) -> BoxFuture<'_, Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>>>;
    /// Makes one change of membership, through a joint configuration if voters change. The change is refused unless
    /// `still`, the membership entry that the caller based it on, is the latest one.
    fn change_membership(
        &self,
        change: MembershipChange,
        retain: bool,
        still: Option<LogId>,
    ) -> BoxFuture<'_, MembershipChangeResult>;
    /// Starts a leadership transfer, which cannot be cancelled.
    fn transfer_to(&self, node_id: u64) -> BoxFuture<'_, Result<(), RaftStopped>>;
    /// Starts a checkpoint of the state; `RaftMetrics::snapshot` shows when it is finished.
    fn build_snapshot(&self) -> BoxFuture<'_, Result<(), RaftStopped>>;
    /// Returns the newest snapshot on this node.
    fn snapshot(&self) -> BoxFuture<'_, Result<Option<SnapshotSummary>, RaftError<TypeConfig>>>;
    /// Purges log entries up to this index, as far as a snapshot covers them.
    fn purge(&self, up_to: u64) -> BoxFuture<'_, Result<(), RaftStopped>>;
    /// Returns a watch on all metrics.
    fn metrics(&self) -> MetricsWatch;
    /// Returns a watch on vote, role, leader and membership.
    fn leadership(&self) -> LeadershipWatch;
    /// Stops the node; open calls end with an error.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// Shared handle to a running Raft node.
pub type ConsensusRef = Arc<dyn Consensus>;

impl<M> Consensus for Raft<TypeConfig, M>
where
    M: RaftStateMachine<TypeConfig>,
    M::SnapshotData: SnapshotFacts,
{
    fn append(
        &self,
        requests: BoxStream<'static, AppendEntriesRequest<TypeConfig>>,
    ) -> BoxStream<'static, Result<StreamAppendResult<TypeConfig>, RaftStopped>> {
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
    ) -> BoxFuture<'_, Result<TransferLeaderResponse<TypeConfig>, RaftStopped>> {
        Box::pin(self.handle_transfer_leader(request))
    }

    fn write(&self, batch: EncodedBatch) -> BoxFuture<'_, Result<WriteReceiver, RaftStopped>> {
        Box::pin(async move {
            let (responder, written) = ProgressResponder::complete_only();
            self.client_write_ff(batch, Some(responder)).await?;
            Ok(written)
        })
    }

    fn read_index(&self) -> BoxFuture<'_, Result<LogId, RaftError<TypeConfig, LinearizableReadError<TypeConfig>>>> {
        Box::pin(async move {
            // Never a lease read: a voter that restarted quickly has forgotten the lease that it granted.
            let linearizer = self.get_read_linearizer(ReadPolicy::ReadIndex).await?;
            Ok(*linearizer.read_log_id().log_id())
        })
    }

    fn initialize(
        &self,
        voters: BTreeMap<u64, NodeAddresses>,
    ) -> BoxFuture<'_, Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>>> {
        Box::pin(Raft::initialize(self, voters))
    }

    fn change_membership(
        &self,
        change: MembershipChange,
        retain: bool,
        still: Option<LogId>,
    ) -> BoxFuture<'_, MembershipChangeResult> {
        let guard = Precondition::LastMembershipLogId { last_membership_log_id: still };
        let request = ChangeMembershipRequest::new(change, retain).with_preconditions([guard]);
        Box::pin(async move { Ok(self.change_membership_with_payload(request).await?.uniform) })
    }

    fn transfer_to(&self, node_id: u64) -> BoxFuture<'_, Result<(), RaftStopped>> {
        Box::pin(async move { self.trigger().transfer_leader(node_id).await })
    }

    fn build_snapshot(&self) -> BoxFuture<'_, Result<(), RaftStopped>> {
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

    fn purge(&self, up_to: u64) -> BoxFuture<'_, Result<(), RaftStopped>> {
        Box::pin(async move { self.trigger().purge_log(up_to).await })
    }

    fn metrics(&self) -> MetricsWatch {
        Raft::metrics(self)
    }

    fn leadership(&self) -> LeadershipWatch {
        self.server_metrics()
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        // The only possible error is a panic of the core task, which the metrics report already.
        Box::pin(async move { drop(Raft::shutdown(self).await) })
    }
}

/// Returns the term of a vote. A term has at most one leader (Raft paper §5.2); the node id orders two candidates of
/// the same term.
#[must_use]
pub fn term_of(vote: &Vote) -> u64 {
    vote.leader_id.term
}
