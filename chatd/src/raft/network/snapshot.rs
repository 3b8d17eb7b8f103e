//! Interfaces between the transport and the code that sends and receives snapshots.

use crate::raft::observe::PeerObserver;
use crate::raft::types::{TypeConfig, Vote};
use futures::{future::BoxFuture, stream::BoxStream};
use quorate_wire::raft::v1::{self as pb, raft_client::RaftClient};
use std::future::Future;
use tonic::{Status, Streaming, transport::Channel};

/// Snapshot as openraft hands it over.
pub type SnapshotOf<D> = openraft::type_config::alias::SnapshotOf<TypeConfig, D>;

/// Description of a snapshot, for display.
pub trait SnapshotFacts: Send + 'static {
    /// Returns the name of the snapshot on this pod.
    fn id(&self) -> &str;
    /// Returns the size on disk, in bytes.
    fn size_bytes(&self) -> u64;
}

/// Reason why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SendSnapshotError {
    /// The leader cancelled the transfer, or leads no longer.
    #[error("the transfer was cancelled")]
    Cancelled,
    /// The files of the snapshot cannot be read on this pod.
    #[error("cannot read the snapshot")]
    Read(#[source] std::io::Error),
    /// The receiver refused, disconnected or made no progress.
    #[error("the receiver did not accept the snapshot: {0}")]
    Receiver(Status),
}

/// Sender of snapshots to other members.
pub trait SendSnapshot: Clone + Send + Sync + 'static {
    /// Snapshot type of the state machine.
    type Data: SnapshotFacts;

    /// Sends the whole snapshot and waits until it is installed; returns the receiver's vote.
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

/// Receiver of snapshots from other members. The target of the manifest has been checked: it is this node.
#[tonic::async_trait]
pub trait ReceiveSnapshot: Send + Sync + 'static {
    /// Receives and installs a snapshot; the last answer is this node's vote.
    async fn receive(
        &self,
        manifest: pb::SnapshotManifest,
        rest: Streaming<pb::SnapshotRequest>,
    ) -> Result<SnapshotResponses, Status>;
}
