//! The server of `quorate.raft.v1` (port 7401): what other members ask of this one.
//!
//! Every request names its target; what is meant for another node or cluster is refused before anything else happens
//! (`raft::identity`). Appends and forwards are pipelined both ways.

mod append;
mod forward;
mod rights;
pub mod serve;

use self::forward::Forwarding;
use super::{
    clock::{put_time, told_stamp},
    cluster::Cluster,
    codec::CodecError,
    consensus::ConsensusRef,
    contact::Contact,
    identity::Identity,
    network::{
        Peers, convert,
        lanes::MESSAGE_LIMIT,
        snapshot::{ReceiveSnapshot, SnapshotResponses},
    },
    observe::{Ballot, RaftObserver},
    propose::Proposer,
    read_index::Reads,
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

/// Everything that peers can reach.
#[derive(Clone)]
pub struct PeerDoor {
    /// Raft itself.
    pub consensus: ConsensusRef,
    /// Where the others are: learns from who calls.
    pub peers: Peers,
    /// Stamped by each append.
    pub contact: Contact,
    /// Whether this node hears a leader.
    pub cluster: Cluster,
    /// For forwarded writes.
    pub proposer: Proposer,
    /// For read indexes.
    pub reads: Reads,
    /// For snapshots.
    pub snapshots: Arc<dyn ReceiveSnapshot>,
    /// Fires before Raft stops: leaders are told to try again later, instead of meeting a Raft that is gone.
    pub closed: CancellationToken,
    /// For the metrics.
    pub observer: Arc<dyn RaftObserver>,
    /// Told to leaders.
    pub volume: VolumeGauge,
}

impl PeerDoor {
    /// As a service to serve.
    #[must_use]
    pub fn into_service(self) -> RaftServer<Self> {
        RaftServer::new(self).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT)
    }

    fn identity(&self) -> &Identity {
        self.peers.identity()
    }

    /// The target of a request that may make this node a member.
    async fn member(&self, target: Option<&pb::Target>, ip: Option<IpAddr>) -> Result<(), Status> {
        let from = self.identity().check_or_adopt(target).await?;
        self.seen(from, ip);
        Ok(())
    }

    /// The target of any other request.
    fn known(&self, target: Option<&pb::Target>, ip: Option<IpAddr>) -> Result<(), Status> {
        let from = self.identity().check(target)?;
        self.seen(from, ip);
        Ok(())
    }

    fn seen(&self, from: u64, ip: Option<IpAddr>) {
        if let Some(ip) = ip.filter(|_| from != 0) {
            self.peers.seen(from, ip);
        }
    }
}

const STOPPING: &str = "this node is stopping";

fn ip<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|address| address.ip())
}

fn malformed(error: &CodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// openraft has stopped: the process is about to end, the peer tries again.
fn stopped(error: &impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this node's Raft has stopped: {error}"))
}

#[tonic::async_trait]
impl Raft for PeerDoor {
    type AppendStream = BoxStream<'static, Result<pb::AppendResponse, Status>>;
    type InstallSnapshotStream = SnapshotResponses;
    type ForwardStream = BoxStream<'static, Result<pb::ForwardResponse, Status>>;

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        let (from, request) = (ip(&request), request.into_inner());
        self.member(request.target.as_ref(), from).await?;
        let request = convert::vote_request_from_pb(&request).map_err(|error| malformed(&error))?;
        let answer = self.consensus.vote(request).await.map_err(|error| stopped(&error))?;
        self.observer.voted(Ballot::Vote, answer.vote_granted);
        Ok(Response::new(convert::vote_response_to_pb(&answer)))
    }

    async fn pre_vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        let (from, request) = (ip(&request), request.into_inner());
        self.member(request.target.as_ref(), from).await?;
        let request = convert::vote_request_from_pb(&request).map_err(|error| malformed(&error))?;
        let answer = self.consensus.pre_vote(request).await.map_err(|error| stopped(&error))?;
        self.observer.voted(Ballot::PreVote, answer.vote_granted);
        Ok(Response::new(convert::vote_response_to_pb(&answer)))
    }

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        if self.closed.is_cancelled() {
            return Err(Status::unavailable(STOPPING));
        }
        let (from, stamp) = (ip(&request), told_stamp(request.metadata()));
        let mut response = Response::new(append::serve(self.clone(), from, stamp, request.into_inner()));
        put_time(response.metadata_mut(), self.peers.time().clock_ms());
        // Digits and signs only: it is always a value.
        if let Ok(report) = self.volume.own().encode().parse() {
            response.metadata_mut().insert(VOLUME_KEY, report);
        }
        Ok(response)
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let (from, request) = (ip(&request), request.into_inner());
        self.known(request.target.as_ref(), from)?;
        let request = convert::transfer_from_pb(&request).map_err(|error| malformed(&error))?;
        let answer = self.consensus.take_over(request).await.map_err(|error| stopped(&error))?;
        Ok(Response::new(convert::transferred_to_pb(&answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotRequest>>,
    ) -> Result<Response<Self::InstallSnapshotStream>, Status> {
        let from = ip(&request);
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|message| message.part);
        let Some(Part::Manifest(manifest)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its manifest"));
        };
        self.member(manifest.target.as_ref(), from).await?;
        Ok(Response::new(self.snapshots.receive(manifest, incoming).await?))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexResponse>, Status> {
        let (from, request) = (ip(&request), request.into_inner());
        self.known(request.target.as_ref(), from)?;
        let index = self.reads.confirm().await?;
        Ok(Response::new(pb::ReadIndexResponse { read_index: Some(convert::log_id_to_pb(&index)) }))
    }

    async fn forward(
        &self,
        request: Request<Streaming<pb::ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        Ok(Response::new(Forwarding::serve(self.clone(), request.into_inner())))
    }

    async fn announce(&self, request: Request<pb::AnnounceRequest>) -> Result<Response<pb::AnnounceResponse>, Status> {
        let (from, request) = (ip(&request), request.into_inner());
        self.known(request.target.as_ref(), from)?;
        // Present, not merely voted for: the caller's readiness goes by it.
        Ok(Response::new(pb::AnnounceResponse { leader_node_id: self.cluster.status().leader.unwrap_or(0) }))
    }
}
