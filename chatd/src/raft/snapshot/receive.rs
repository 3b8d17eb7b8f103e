//! Receives a snapshot and hands it to openraft for installation.

use super::incoming::IncomingSnapshot;
use super::manifest::CheckedManifest;
use super::shelf::{SnapshotData, SnapshotShelf};
use super::turn::{HeldTurn, TransferTurn};
use super::{RaftSnapshot, SnapshotError};
use crate::raft::network::convert::{vote_from_pb, vote_to_pb};
use crate::raft::network::snapshot::{ReceiveSnapshot, SnapshotResponses};
use crate::raft::observe::RaftObserver;
use crate::raft::propose::NoObserver;
use crate::raft::threading::{ThreadingModel, off_the_runtime};
use crate::raft::types::Vote;
use crate::raft::volume::{VolumeGauge, VolumeSizes};
use crate::store::StateStore;
use futures::future::BoxFuture;
use quorate_core::apply::KnownFormat;
use quorate_wire::raft::v1 as pb;
use quorate_wire::raft::v1::snapshot_request::Part;
use quorate_wire::raft::v1::snapshot_response::Part as Answer;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Interface to openraft that a receiver needs.
pub trait SnapshotInstaller: Send + Sync + 'static {
    /// Returns this node's current vote.
    fn vote(&self) -> Vote;
    /// Installs a complete snapshot in the name of the leader with this vote; returns this node's vote.
    fn install(&self, leader: Vote, snapshot: RaftSnapshot) -> BoxFuture<'_, Result<Vote, String>>;
}

/// Options for receiving snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveOptions {
    /// Time without any message after which a transfer is given up, so that another leader's can begin.
    pub stall: Duration,
    /// Threading model of the work on files.
    pub drive: ThreadingModel,
}

impl Default for ReceiveOptions {
    fn default() -> Self {
        Self { stall: Duration::from_secs(10), drive: ThreadingModel::Threads }
    }
}

/// Interval at which the sender is told that this pod is alive while a snapshot is installed.
const INSTALL_PROGRESS: Duration = Duration::from_secs(1);
/// Pause before a leader is told that there is no space for its snapshot.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(5);
/// Largest chunk, in bytes. Senders of ours use 256 KiB; a larger chunk than this is not from one of them.
const CHUNK_LIMIT: usize = 1 << 20;
/// Answers on their way to the sender, which reads them while it sends.
const ANSWERS_AHEAD: usize = 16;

/// Server side of `InstallSnapshot`. Receives one transfer at a time: the latest.
pub struct SnapshotReceiver<S> {
    store: S,
    shelf: SnapshotShelf,
    raft: Arc<dyn SnapshotInstaller>,
    options: ReceiveOptions,
    observer: Arc<dyn RaftObserver>,
    pub(super) turn: TransferTurn,
    volume: VolumeGauge,
    format: KnownFormat,
}

impl<S: StateStore> SnapshotReceiver<S> {
    /// Creates a receiver that stores snapshots on this shelf and installs them through `raft`.
    pub fn new(store: S, shelf: SnapshotShelf, raft: Arc<dyn SnapshotInstaller>, options: ReceiveOptions) -> Self {
        Self {
            store,
            shelf,
            raft,
            options,
            observer: Arc::new(NoObserver),
            turn: TransferTurn::default(),
            volume: VolumeGauge::default(),
            format: KnownFormat::CURRENT,
        }
    }

    /// Sets what this pod knows of formats; a snapshot that uses more is refused.
    #[must_use]
    pub fn knowing(self, format: KnownFormat) -> Self {
        Self { format, ..self }
    }

    /// Sets the gauge that shows whether there is space for a snapshot.
    #[must_use]
    pub fn on_volume(self, volume: VolumeGauge) -> Self {
        Self { volume, ..self }
    }

    /// Sets the observer of transfers.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn RaftObserver>) -> Self {
        Self { observer, ..self }
    }
}

#[tonic::async_trait]
impl<S: StateStore> ReceiveSnapshot for SnapshotReceiver<S> {
    async fn receive(
        &self,
        manifest: pb::SnapshotManifest,
        rest: Streaming<pb::SnapshotRequest>,
    ) -> Result<SnapshotResponses, Status> {
        let leader = manifest.vote.as_ref().map(vote_from_pb);
        let leader = leader.ok_or_else(|| Status::invalid_argument("the manifest has no vote"))?;
        let cluster = manifest.target.map(|target| target.cluster_id).unwrap_or_default();
        let manifest = CheckedManifest::parse(manifest.manifest).map_err(|error| status_of(&error))?;
        if !manifest.is_of(&cluster) {
            let text = format!("the snapshot belongs to cluster {}, but this node to {cluster}", manifest.cluster_id());
            return Err(Status::failed_precondition(text));
        }
        if manifest.format_level() > self.format.level {
            let needed = manifest.format_level();
            let known = self.format.level;
            let text =
                format!("the snapshot uses format level {needed}, and this pod knows levels up to {known}: upgrade it");
            return Err(Status::failed_precondition(text));
        }
        let own = self.raft.vote();
        if own > leader {
            // The sender is told before it sends any file; openraft checks again at the installation.
            let told = Ok(response_of(Answer::Installed(vote_to_pb(&own))));
            return Ok(Box::pin(tokio_stream::once(told)));
        }
        // Before the incoming directory is touched: preparing it removes the files of all other transfers.
        let turn = self.turn.take(leader).await?;
        let (answers, queue) = mpsc::channel(ANSWERS_AHEAD);
        let transfer = IncomingTransfer {
            store: self.store.clone(),
            shelf: self.shelf.clone(),
            raft: self.raft.clone(),
            options: self.options,
            observer: self.observer.clone(),
            volume: self.volume.clone(),
            answers,
            rest,
            turn,
        };
        tokio::spawn(transfer.run(leader, manifest));
        Ok(Box::pin(ReceiverStream::new(queue)))
    }
}

struct IncomingTransfer<S> {
    store: S,
    shelf: SnapshotShelf,
    raft: Arc<dyn SnapshotInstaller>,
    options: ReceiveOptions,
    observer: Arc<dyn RaftObserver>,
    volume: VolumeGauge,
    answers: mpsc::Sender<Result<pb::SnapshotResponse, Status>>,
    rest: Streaming<pb::SnapshotRequest>,
    turn: HeldTurn,
}

fn response_of(part: Answer) -> pb::SnapshotResponse {
    pb::SnapshotResponse { part: Some(part) }
}

fn status_of(error: &SnapshotError) -> Status {
    let text = error.to_string();
    match error {
        SnapshotError::Manifest { .. } | SnapshotError::Codec(_) | SnapshotError::Protocol { .. } => {
            Status::invalid_argument(text)
        }
        SnapshotError::Damaged { .. } => Status::data_loss(text),
        SnapshotError::Store(error) => {
            // The first line does not contain the cause, such as "no space left".
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Status::internal(text + &cause)
        }
    }
}

/// Runs work on the disk outside the async runtime.
async fn run_blocking<T: Send + 'static>(
    drive: ThreadingModel,
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, Status> {
    let done = off_the_runtime(drive, work).await;
    done.unwrap_or_else(|error| Err(SnapshotError::Store(error))).map_err(|error| status_of(&error))
}

impl<S: StateStore> IncomingTransfer<S> {
    async fn run(mut self, leader: Vote, manifest: CheckedManifest) {
        let id = manifest.id().to_owned();
        let last = match self.transfer(leader, manifest).await {
            Ok(vote) => Ok(response_of(Answer::Installed(vote_to_pb(&vote)))),
            Err(error) => {
                tracing::warn!(snapshot = id, %error, "failed to receive a snapshot");
                Err(error)
            }
        };
        // The turn is released first: a sender that does not listen must not keep it.
        let Self { answers, turn, .. } = self;
        drop(turn);
        // If the sender is gone, there is nobody to tell.
        let _ = answers.send(last).await;
    }

    async fn transfer(&mut self, leader: Vote, manifest: CheckedManifest) -> Result<Vote, Status> {
        let shelf = self.shelf.clone();
        let id = manifest.id().to_owned();
        let incoming = run_blocking(self.options.drive, move || IncomingSnapshot::open(&shelf, manifest)).await?;
        let wanted_bytes = incoming.wanted_bytes();
        let reread_bytes = incoming.reread();
        tracing::info!(snapshot = id, wanted_bytes, reread_bytes, "receiving a snapshot");
        self.fits(wanted_bytes).await?;
        self.answer(Answer::Wanted(pb::WantedFiles { files: incoming.wanted() })).await?;
        let (incoming, received) = self.files(incoming).await?;
        let store = self.store.clone();
        let checking = run_blocking(self.options.drive, move || check_snapshot(&store, incoming.finish()?));
        let snapshot = self.meanwhile(received, checking).await?;
        self.install(leader, snapshot, received).await
    }

    /// Checks that the snapshot fits on the volume. A transfer that would fill it is not begun: all other writes there
    /// would fail, and stop the process.
    async fn fits(&self, wanted_bytes: u64) -> Result<(), Status> {
        let space = self.volume.space();
        let needed = wanted_bytes.saturating_add(VolumeSizes::to_start(space.total));
        if space.total == 0 || space.free >= needed {
            return Ok(());
        }
        // The answer is delayed: the leader asks again as soon as it has it, and space does not appear within moments.
        let pause = tokio::time::sleep(NO_SPACE_PAUSE.min(self.options.stall / 2));
        let _ = self.turn.unless_superseded(pause).await;
        Err(Status::unavailable(format!(
            "the snapshot needs {needed} bytes on this pod's volume, which has {} left; enlarge the volume",
            space.free
        )))
    }

    async fn answer(&self, part: Answer) -> Result<(), Status> {
        let sent = self.turn.unless_superseded(self.answers.send(Ok(response_of(part)))).await?;
        sent.map_err(|_| Status::cancelled("the sender is gone"))
    }

    /// Does a long piece of work, and regularly tells the sender that this pod is alive. A sender that has
    /// disconnected, or does not listen, does not hold it up.
    async fn meanwhile<T>(&self, received: u64, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut progress = interval(INSTALL_PROGRESS);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = progress.tick() => drop(self.answers.try_send(Ok(response_of(Answer::ReceivedBytes(received))))),
            }
        }
    }

    async fn files(&mut self, mut incoming: IncomingSnapshot) -> Result<(IncomingSnapshot, u64), Status> {
        loop {
            let stalled = || Status::deadline_exceeded(format!("nothing was received for {:?}", self.options.stall));
            let next = self.turn.unless_superseded(timeout(self.options.stall, self.rest.message())).await?;
            let message = next.map_err(|_| stalled())??;
            let part = message.and_then(|message| message.part);
            let chunk = match part.ok_or_else(|| Status::aborted("the stream ended before the snapshot did"))? {
                Part::Chunk(chunk) => chunk,
                Part::End(_) => {
                    let received = incoming.received();
                    return Ok((incoming, received));
                }
                Part::Manifest(_) => return Err(Status::invalid_argument("a second manifest")),
            };
            if chunk.data.len() > CHUNK_LIMIT || crc32fast::hash(&chunk.data) != chunk.crc32 {
                return Err(Status::data_loss(format!("a chunk of {} was damaged in transit", chunk.file)));
            }
            let bytes = chunk.data.len() as u64;
            incoming = run_blocking(self.options.drive, move || {
                incoming.write(&chunk.file, chunk.offset, &chunk.data)?;
                Ok(incoming)
            })
            .await?;
            self.observer.snapshot_received(bytes);
            self.answer(Answer::ReceivedBytes(incoming.received())).await?;
        }
    }

    async fn install(&self, leader: Vote, snapshot: SnapshotData, received: u64) -> Result<Vote, Status> {
        let id = snapshot.id().to_owned();
        let snapshot = snapshot.into_snapshot().map_err(|error| status_of(&error))?;
        let installed = self.meanwhile(received, self.raft.install(leader, snapshot)).await;
        let vote = installed.map_err(Status::internal)?;
        // openraft ignores a snapshot that contains nothing new; its files are then still in the incoming directory.
        let shelf = self.shelf.clone();
        let covered = self.store.applied().log_id;
        run_blocking(self.options.drive, move || Ok(shelf.discard_incoming(covered)?)).await?;
        tracing::info!(snapshot = id, received, "received and installed a snapshot");
        Ok(vote)
    }
}

/// Makes the last check before openraft discards log entries for the snapshot: the files are a valid state, and it is
/// the one that the manifest promises.
pub(super) fn check_snapshot<S: StateStore>(store: &S, snapshot: SnapshotData) -> Result<SnapshotData, SnapshotError> {
    let contents = store.inspect(&snapshot.data_dir())?;
    if snapshot.manifest().promises(&contents) {
        Ok(snapshot)
    } else {
        Err(SnapshotError::manifest(format!("the contents of {snapshot:?} do not match its manifest")))
    }
}
