//! openraft's network over gRPC and mutual TLS: appends, votes, transfers and snapshots to the other members.
//!
//! [`PeerSet`] knows the members and their addresses, a [`lanes::RaftPeer`] holds four connections, [`append`] pipelines
//! requests, and [`convert`] translates to `quorate.raft.v1`. The other end is `raft::peer`.

mod address;
mod append;
pub(crate) mod convert;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
pub(crate) mod lanes;
pub mod snapshot;

use self::{
    lanes::{ConnectionClass, RaftPeer},
    snapshot::{SendSnapshot, SendSnapshotError, SnapshotOf},
};
use super::{
    clock::{ClockSource, Timekeeper},
    hold::LogHolds,
    identity::NodeIdentity,
    observe::{PeerObserver, RaftObserver, VoteKind},
    propose::NoObserver,
    types::{NodeAddresses, TypeConfig, Vote},
    volume::VolumeReport,
};
use crate::tls::PeerDialer;
use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use openraft::{
    RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use std::{
    collections::HashMap,
    future::Future,
    iter,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::timeout;
use tonic::{Code, Response, Status};

type RpcError = RPCError<TypeConfig>;

/// Interval of retries after failed appends: a returned peer is to be found within a second, and an attempt costs one
/// packet if nobody listens.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// The other members, by node id. Cheap to clone.
#[derive(Clone)]
pub struct PeerSet {
    identity: NodeIdentity,
    dial: Arc<dyn PeerDialer>,
    // The members; those that left are removed.
    known: Arc<Mutex<HashMap<u64, Arc<RaftPeer>>>>,
    time: Timekeeper,
}

impl PeerSet {
    /// Creates an empty set of peers.
    #[must_use]
    pub fn new(identity: NodeIdentity, dial: impl PeerDialer, clock: ClockSource) -> Self {
        Self { identity, dial: Arc::new(dial), known: Arc::default(), time: Timekeeper::new(clock) }
    }

    /// Returns the peer with this id at this configured address (`host:port`).
    #[must_use]
    pub fn peer(&self, node_id: u64, address: &str) -> Arc<RaftPeer> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = known.entry(node_id).or_insert_with(|| Arc::new(RaftPeer::new(node_id, address, self.dial.clone())));
        peer.configure(address);
        peer.clone()
    }

    /// Forgets all peers except these and those in use; the connections of a forgotten peer close.
    pub(super) fn keep(&self, members: &[u64]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // openraft may hold a peer that is not a member yet: it must stay the same object, which learns the peer's
        // address.
        known.retain(|node_id, peer| members.contains(node_id) || Arc::strong_count(peer) > 1);
        drop(known);
        self.time.keep(members);
    }

    /// Records that a request of `node_id` came from `ip`, so that this address is dialled, too. Unknown nodes are
    /// ignored.
    pub fn seen(&self, node_id: u64, ip: IpAddr) {
        let peer = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&node_id).cloned();
        if let Some(peer) = peer {
            peer.learn(ip);
        }
    }

    /// Returns this node's knowledge of the time.
    #[must_use]
    pub fn time(&self) -> &Timekeeper {
        &self.time
    }

    /// Returns the state of a peer's volume, if the peer reported it within the last moments.
    #[must_use]
    pub fn volume(&self, node_id: u64) -> Option<VolumeReport> {
        let peer = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&node_id).cloned();
        peer?.volume()
    }

    /// Returns the highest format level that a peer knows, if the peer said so within the last moments.
    #[must_use]
    pub fn level(&self, node_id: u64) -> Option<u32> {
        let peer = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&node_id).cloned();
        peer?.level()
    }

    /// Returns the identity of this node.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }
}

/// Factory of openraft's clients. Connections are shared between them, because openraft creates a client for each vote.
pub struct NetworkFactory<T> {
    peers: PeerSet,
    sender: T,
    observer: Arc<dyn RaftObserver>,
    holds: LogHolds,
}

impl<T: SendSnapshot> NetworkFactory<T> {
    /// Creates a factory; `sender` knows what a snapshot is.
    pub fn new(peers: PeerSet, sender: T) -> Self {
        Self { peers, sender, observer: Arc::new(NoObserver), holds: LogHolds::default() }
    }

    /// Sets the record of the entries that members need while they install a snapshot.
    #[must_use]
    pub(crate) fn holding(self, holds: LogHolds) -> Self {
        Self { holds, ..self }
    }

    /// Sets the observer of the traffic.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn RaftObserver>) -> Self {
        Self { observer, ..self }
    }

    fn client(&self, target: u64, node: &NodeAddresses, lane: ConnectionClass) -> NetworkClient<T> {
        NetworkClient {
            peer: self.peers.peer(target, &node.peer_address),
            lane,
            identity: self.peers.identity.clone(),
            time: self.peers.time.clone(),
            sender: self.sender.clone(),
            observer: self.observer.peer(&node.name),
            holds: self.holds.clone(),
        }
    }
}

impl<T: SendSnapshot> RaftNetworkFactory<TypeConfig> for NetworkFactory<T> {
    type Network = NetworkClient<T>;

    async fn new_client(&mut self, target: u64, node: &NodeAddresses) -> NetworkClient<T> {
        self.client(target, node, ConnectionClass::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &NodeAddresses) -> NetworkClient<T> {
        self.client(target, node, ConnectionClass::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &NodeAddresses) -> NetworkClient<T> {
        self.client(target, node, ConnectionClass::Snapshot)
    }
}

/// One of openraft's clients of a peer.
pub struct NetworkClient<T> {
    peer: Arc<RaftPeer>,
    /// Connection class of appends; votes and transfers have their own.
    lane: ConnectionClass,
    identity: NodeIdentity,
    time: Timekeeper,
    sender: T,
    observer: Arc<dyn PeerObserver>,
    holds: LogHolds,
}

impl<T: SendSnapshot> NetworkClient<T> {
    /// Makes one request within the time that openraft allows.
    async fn call<R, F>(
        &self,
        action: RPCTypes,
        limit: Duration,
        call: impl FnOnce(lanes::PeerClient) -> F + Send,
    ) -> Result<R, RpcError>
    where
        F: Future<Output = Result<Response<R>, Status>> + Send,
    {
        let connection = self.peer.connect(ConnectionClass::Calls);
        let status = match timeout(limit, call(connection.client.clone())).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => status,
            // A timeout is no reason to drop the connection: votes have some 100 ms, less than a handshake may take.
            Err(_) => {
                let id = self.identity.node_id();
                let target = self.peer.node_id();
                return Err(RPCError::Timeout(Timeout { action, id, target, timeout: limit }));
            }
        };
        self.peer.failed(&connection, &status);
        Err(status_error(&status))
    }

    /// Asks the peer for its vote, or whether it would vote.
    async fn ask_for_vote(
        &self,
        kind: VoteKind,
        request: &VoteRequest<TypeConfig>,
        limit: Duration,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let message = convert::vote_request_to_pb(self.target(), request);
        let call = move |mut client: lanes::PeerClient| async move {
            match kind {
                VoteKind::Vote => client.vote(message).await,
                VoteKind::PreVote => client.pre_vote(message).await,
            }
        };
        let answer = self.call(RPCTypes::Vote, limit, call).await?;
        convert::vote_response_from_pb(&answer).map_err(|error| network_error(&error.to_string()))
    }

    fn target(&self) -> quorate_wire::raft::v1::Target {
        self.identity.target(self.peer.node_id())
    }
}

impl<T: SendSnapshot> RaftNetworkV2<TypeConfig> for NetworkClient<T> {
    type SnapshotData = T::Data;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let mut answers = self.stream_append(stream::iter([request]), option).await?;
        let answer = answers.next().await.unwrap_or_else(|| Err(network_error("no response to an append")))?;
        Ok(match answer {
            Ok(flushed) => AppendEntriesResponse::PartialSuccess(flushed),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        async move {
            let peer = self.peer.clone();
            let observer = self.observer.clone();
            let answers = append::stream_append(peer, self.lane, &self.identity, &self.time, observer, input).await?;
            Ok(answers.boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_for_vote(VoteKind::Vote, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_for_vote(VoteKind::PreVote, &request, option.hard_ttl()).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let message = convert::transfer_to_pb(self.target(), &request);
        let answer = self
            .call(RPCTypes::TransferLeader, option.hard_ttl(), |mut client| async move {
                client.transfer_leader(message).await
            })
            .await?;
        convert::transferred_from_pb(&answer).map_err(|error| network_error(&error.to_string()))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<T::Data>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let _held = snapshot.meta.last_log_id.map(|last| self.holds.hold(self.peer.node_id(), last.index));
        let connection = self.peer.connect(ConnectionClass::Snapshot);
        let client = connection.client.clone();
        let cancel = cancel.map(drop).boxed();
        let sent = self.sender.send(client, self.target(), vote, snapshot, &*self.observer, cancel).await;
        match sent {
            Ok(vote) => Ok(SnapshotResponse::new(vote)),
            Err(SendSnapshotError::Cancelled) => {
                Err(StreamingError::Closed(ReplicationClosed::new("the snapshot transfer was cancelled")))
            }
            Err(SendSnapshotError::Receiver(status)) => {
                self.peer.failed(&connection, &status);
                Err(status_error(&status).into())
            }
            // Not reported as a storage error of openraft's: that would stop this node, although only this transfer
            // failed.
            Err(error @ SendSnapshotError::Read(_)) => {
                tracing::error!(error = %error, source = ?std::error::Error::source(&error), "failed to send a snapshot");
                Err(StreamingError::Unreachable(Unreachable::from_string(error)))
            }
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(iter::repeat(RETRY_EVERY)))
    }
}

/// Converts a status to openraft's error. If no node is reachable, or another node answered, openraft waits for
/// [`RETRY_EVERY`]; after any other error it may retry at once.
fn status_error(status: &Status) -> RpcError {
    match status.code() {
        Code::Unavailable | Code::FailedPrecondition | Code::DeadlineExceeded => {
            RPCError::Unreachable(Unreachable::from_string(status))
        }
        _ => network_error(&status.to_string()),
    }
}

fn network_error(reason: &str) -> RpcError {
    RPCError::Network(NetworkError::from_string(reason))
}
