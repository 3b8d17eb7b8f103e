//! Server of `quorate.raft.v1` (port 7401), which the other members call.
//!
//! Every request names its target; a request for another node or cluster is refused before anything else happens
//! (`raft::identity`). Appends and forwards are pipelined in both directions.

mod append;
mod forward;
pub mod gossip;
mod rights;
pub mod serve;

use self::forward::ForwardSession;
use self::gossip::{GossipFrames, GossipSlot};
use super::{
    clock::{put_time, told_stamp},
    cluster::ClusterMonitor,
    codec::CodecError,
    consensus::ConsensusRef,
    contact::LastContact,
    identity::NodeIdentity,
    level::LEVEL_KEY,
    network::{
        PeerSet, convert,
        lanes::MESSAGE_LIMIT,
        snapshot::{ReceiveSnapshot, SnapshotResponses},
    },
    observe::{RaftObserver, VoteKind},
    propose::Proposer,
    read_index::ReadGate,
    volume::{VOLUME_KEY, VolumeGauge},
};
use futures::stream::BoxStream;
use quorate_wire::raft::v1::{
    self as pb,
    raft_server::{Raft, RaftServer},
    snapshot_request::Part,
};
use std::{net::IpAddr, sync::Arc};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Peer service: everything that other members can call.
#[derive(Clone)]
pub struct PeerListener {
    /// Handle to the Raft node.
    pub consensus: ConsensusRef,
    /// The other members; their addresses are learned from their calls.
    pub peers: PeerSet,
    /// Time of the last contact with the leader, updated by each append.
    pub contact: LastContact,
    /// Status of the cluster, which says whether this node hears a leader.
    pub cluster: ClusterMonitor,
    /// Proposer of forwarded writes.
    pub proposer: Proposer,
    /// Source of read indexes.
    pub reads: ReadGate,
    /// Receiver of incoming snapshots.
    pub snapshots: Arc<dyn ReceiveSnapshot>,
    /// Token that fires before Raft stops: leaders are then told to try again later, instead of calling a stopped Raft.
    pub closed: CancellationToken,
    /// Observer for the metrics.
    pub observer: Arc<dyn RaftObserver>,
    /// Gauge of this pod's volume, which is reported to leaders.
    pub volume: VolumeGauge,
    /// Source of typing and presence, for peers that ask.
    pub gossip: GossipSlot,
}

impl PeerListener {
    /// Converts the handler into a gRPC service.
    #[must_use]
    pub fn into_service(self) -> RaftServer<Self> {
        RaftServer::new(self).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT)
    }

    fn identity(&self) -> &NodeIdentity {
        self.peers.identity()
    }

    /// Checks the target of a request that may make this node a member.
    async fn member(&self, target: Option<&pb::Target>, ip: Option<IpAddr>) -> Result<(), Status> {
        let from = self.identity().check_or_adopt(target).await?;
        self.seen(from, ip);
        Ok(())
    }

    /// Checks the target of any other request.
    fn known(&self, target: Option<&pb::Target>, ip: Option<IpAddr>) -> Result<(), Status> {
        let from = self.identity().check(target)?;
        self.seen(from, ip);
        Ok(())
    }

    /// Answers a candidate, and reports the answer to the observer.
    async fn answer_candidate(
        &self,
        kind: VoteKind,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteResponse>, Status> {
        let from = remote_ip(&request);
        let request = request.into_inner();
        self.member(request.target.as_ref(), from).await?;
        let request = convert::vote_request_from_pb(&request).map_err(|error| malformed_status(&error))?;
        let answer = match kind {
            VoteKind::Vote => self.consensus.vote(request),
            VoteKind::PreVote => self.consensus.pre_vote(request),
        };
        let answer = answer.await.map_err(|error| stopped_status(&error))?;
        self.observer.voted(kind, answer.vote_granted);
        Ok(Response::new(convert::vote_response_to_pb(&answer)))
    }

    fn seen(&self, from: u64, ip: Option<IpAddr>) {
        if let Some(ip) = ip.filter(|_| from != 0) {
            self.peers.seen(from, ip);
        }
    }
}

const STOPPING: &str = "this node is stopping";

fn remote_ip<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|address| address.ip())
}

fn malformed_status(error: &CodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Returns the status for a stopped openraft: the process is about to end, and the peer should try again.
fn stopped_status(error: &impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this node's Raft has stopped: {error}"))
}

#[tonic::async_trait]
impl Raft for PeerListener {
    type AppendStream = BoxStream<'static, Result<pb::AppendResponse, Status>>;
    type InstallSnapshotStream = SnapshotResponses;
    type ForwardStream = BoxStream<'static, Result<pb::ForwardResponse, Status>>;
    type GossipStream = GossipFrames;

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        self.answer_candidate(VoteKind::Vote, request).await
    }

    async fn pre_vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        self.answer_candidate(VoteKind::PreVote, request).await
    }

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        if self.closed.is_cancelled() {
            return Err(Status::unavailable(STOPPING));
        }
        let from = remote_ip(&request);
        let stamp = told_stamp(request.metadata());
        let mut response = Response::new(append::serve_appends(self.clone(), from, stamp, request.into_inner()));
        put_time(response.metadata_mut(), self.peers.time().clock_ms());
        // The report consists of digits and signs, so it is always a valid metadata value.
        if let Ok(report) = self.volume.own().encode().parse() {
            response.metadata_mut().insert(VOLUME_KEY, report);
        }
        response.metadata_mut().insert(LEVEL_KEY, self.proposer.format().level.into());
        Ok(response)
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let from = remote_ip(&request);
        let request = request.into_inner();
        self.known(request.target.as_ref(), from)?;
        let request = convert::transfer_from_pb(&request).map_err(|error| malformed_status(&error))?;
        let answer = self.consensus.take_over(request).await.map_err(|error| stopped_status(&error))?;
        Ok(Response::new(convert::transferred_to_pb(&answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotRequest>>,
    ) -> Result<Response<Self::InstallSnapshotStream>, Status> {
        let from = remote_ip(&request);
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|message| message.part);
        let Some(Part::Manifest(manifest)) = first else {
            return Err(Status::invalid_argument("a snapshot must begin with its manifest"));
        };
        self.member(manifest.target.as_ref(), from).await?;
        Ok(Response::new(self.snapshots.receive(manifest, incoming).await?))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexResponse>, Status> {
        let from = remote_ip(&request);
        let request = request.into_inner();
        self.known(request.target.as_ref(), from)?;
        let index = self.reads.confirm().await?;
        Ok(Response::new(pb::ReadIndexResponse { read_index: Some(convert::log_id_to_pb(&index)) }))
    }

    async fn forward(
        &self,
        request: Request<Streaming<pb::ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        Ok(Response::new(ForwardSession::serve(self.clone(), request.into_inner())))
    }

    async fn announce(&self, request: Request<pb::AnnounceRequest>) -> Result<Response<pb::AnnounceResponse>, Status> {
        let from = remote_ip(&request);
        let request = request.into_inner();
        self.known(request.target.as_ref(), from)?;
        // The leader that is present, not merely the one voted for: the readiness of the caller depends on it.
        Ok(Response::new(pb::AnnounceResponse { leader_node_id: self.cluster.status().leader.unwrap_or(0) }))
    }

    async fn gossip(&self, request: Request<pb::GossipRequest>) -> Result<Response<Self::GossipStream>, Status> {
        let from = remote_ip(&request);
        self.known(request.into_inner().target.as_ref(), from)?;
        Ok(Response::new(self.gossip.frames()?))
    }
}
