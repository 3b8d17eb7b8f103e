//! Snapshots between pods: what the transport asks of whoever sends and receives them.

use crate::raft::observe::PeerObserver;
use crate::raft::types::{TypeConfig, Vote};
use futures::{future::BoxFuture, stream::BoxStream};
use quorate_wire::raft::v1::{self as pb, raft_client::RaftClient};
use std::future::Future;
use tonic::{Status, Streaming, transport::Channel};

/// A snapshot as openraft hands it over.
pub type SnapshotOf<D> = openraft::type_config::alias::SnapshotOf<TypeConfig, D>;

/// What people are told about a snapshot.
pub trait SnapshotFacts: Send + 'static {
    /// Its name on this pod.
    fn id(&self) -> &str;
    /// Bytes on disk.
    fn size_bytes(&self) -> u64;
}

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SendSnapshotError {
    /// The leader changed its mind (or is none any more).
    #[error("the transfer was cancelled")]
    Cancelled,
    /// The files of the snapshot cannot be read here.
    #[error("cannot read the snapshot")]
    Read(#[source] std::io::Error),
    /// The receiver refused, went away or made no progress.
    #[error("the receiver did not take the snapshot: {0}")]
    Receiver(Status),
}

/// The sending side.
pub trait SendSnapshot: Clone + Send + Sync + 'static {
    /// What the state machine calls a snapshot.
    type Data: SnapshotFacts;

    /// Sends all of it and waits until it is installed; returns the receiver's vote.
    ///
    /// `client` has a connection of its own, so that appends and heartbeats never wait behind files.
    fn send(
        &self,
        client: RaftClient<Channel>,
        target: pb::Target,
        vote: Vote,
        snapshot: SnapshotOf<Self::Data>,
        observer: &dyn PeerObserver,
        cancel: BoxFuture<'static, ()>,
    ) -> impl Future<Output = Result<Vote, SendSnapshotError>> + Send;
}

/// Answers of a receiver.
pub type SnapshotResponses = BoxStream<'static, Result<pb::SnapshotResponse, Status>>;

/// The receiving side. The target of the manifest has been checked: it is this node.
#[tonic::async_trait]
pub trait ReceiveSnapshot: Send + Sync + 'static {
    /// Receives, installs, answers with the vote.
    async fn receive(
        &self,
        manifest: pb::SnapshotManifest,
        rest: Streaming<pb::SnapshotRequest>,
    ) -> Result<SnapshotResponses, Status>;
}
