//! Sends a snapshot: the manifest, then the files that the receiver requests, then the end.

use super::manifest::CheckedManifest;
use super::shelf::SnapshotData;
use crate::raft::network::convert::{vote_from_pb, vote_to_pb};
use crate::raft::network::snapshot::{SendSnapshot, SendSnapshotError, SnapshotFacts, SnapshotOf};
use crate::raft::observe::PeerObserver;
use crate::raft::threading::{ThreadingModel, off_the_runtime};
use crate::raft::types::Vote;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use quorate_wire::raft::v1 as pb;
use quorate_wire::raft::v1::raft_client::RaftClient;
use quorate_wire::raft::v1::snapshot_request::Part;
use quorate_wire::raft::v1::snapshot_response::Part as Answer;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Options for sending snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    /// Largest rate, in bytes per second: a snapshot shares disk and network with the writes of the cluster.
    pub bytes_per_second: u64,
    /// Time without any answer after which a transfer is given up; openraft tries again.
    pub stall: Duration,
    /// Threading model of file reads.
    pub drive: ThreadingModel,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self { bytes_per_second: 64 << 20, stall: Duration::from_secs(10), drive: ThreadingModel::Threads }
    }
}

/// Bytes in one message: well below the limit of 4 MiB, large enough that the cost is in the bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Messages between the disk and the connection; flow control holds back the rest.
const CHUNKS_AHEAD: usize = 4;

/// Sender of snapshots to other pods.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotSender {
    options: SendOptions,
}

impl SnapshotSender {
    /// Creates a sender with these options.
    #[must_use]
    pub fn new(options: SendOptions) -> Self {
        Self { options }
    }
}

impl SnapshotFacts for SnapshotData {
    fn id(&self) -> &str {
        SnapshotData::id(self)
    }

    fn size_bytes(&self) -> u64 {
        SnapshotData::size_bytes(self)
    }
}

impl SendSnapshot for SnapshotSender {
    type Data = SnapshotData;

    async fn send(
        &self,
        client: RaftClient<Channel>,
        target: pb::Target,
        vote: Vote,
        snapshot: SnapshotOf<SnapshotData>,
        observer: &dyn PeerObserver,
        cancel: BoxFuture<'static, ()>,
    ) -> Result<Vote, SendSnapshotError> {
        // Held to the end, so that the files are kept.
        let snapshot = snapshot.snapshot;
        tokio::select! {
            () = cancel => Err(SendSnapshotError::Cancelled),
            result = transfer_snapshot(client, target, vote, &snapshot, observer, self.options) => result,
        }
    }
}

async fn transfer_snapshot(
    mut client: RaftClient<Channel>,
    target: pb::Target,
    vote: Vote,
    snapshot: &SnapshotData,
    observer: &dyn PeerObserver,
    options: SendOptions,
) -> Result<Vote, SendSnapshotError> {
    let (messages, queue) = mpsc::channel(CHUNKS_AHEAD);
    let manifest = snapshot.manifest();
    let target_id = target.node_id;
    let first =
        pb::SnapshotManifest { target: Some(target), vote: Some(vote_to_pb(&vote)), manifest: manifest.encoded() };
    // The queue is empty, so this does not wait.
    push_part(&messages, Part::Manifest(first)).await?;
    let call = client.install_snapshot(ReceiverStream::new(queue));
    let mut answers = in_time(options, call).await?.into_inner();
    let wanted = loop {
        match next_answer(&mut answers, options).await? {
            Answer::Wanted(wanted) => break wanted.files,
            // Either the receiver's vote is higher, or it has applied everything in the snapshot.
            Answer::Installed(vote) => return Ok(vote_from_pb(&vote)),
            // The receiver is checking which files it has already.
            Answer::ReceivedBytes(_) => {}
        }
    };
    let to = target_id;
    let began = Instant::now();
    tracing::info!(
        snapshot = snapshot.id(),
        to,
        files = wanted.len(),
        of = manifest.files().len(),
        "sending a snapshot"
    );
    let data = snapshot.data_dir();
    let mut progress = TransferProgress::begin(observer, manifest, &wanted);
    let pump = pump_files(messages, manifest, &data, &wanted, &mut progress, options);
    let installed = await_installed(&mut answers, options);
    tokio::pin!(pump, installed);
    // Answers continue after the last chunk; a final answer before it ends the transfer.
    let done = tokio::select! {
        sent = &mut pump => match sent {
            Ok(()) => installed.await,
            // The receiver closed the stream because it has answered, and the answer is more precise.
            Err(SendSnapshotError::Receiver(closed)) => installed.await.map_err(|error| more_precise(error, closed)),
            Err(error) => Err(error),
        },
        answered = &mut installed => answered,
    };
    if done.is_ok() {
        tracing::info!(snapshot = snapshot.id(), to, took = ?began.elapsed(), "sent a snapshot, and it was installed");
    }
    done
}

fn more_precise(error: SendSnapshotError, closed: Status) -> SendSnapshotError {
    match error {
        SendSnapshotError::Receiver(status) if status.code() == tonic::Code::DeadlineExceeded => {
            SendSnapshotError::Receiver(closed)
        }
        error => error,
    }
}

async fn in_time<T>(
    options: SendOptions,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, SendSnapshotError> {
    let stalled = |_| Err(Status::deadline_exceeded(format!("no progress for {:?}", options.stall)));
    timeout(options.stall, work).await.unwrap_or_else(stalled).map_err(SendSnapshotError::Receiver)
}

fn unexpected_answer(what: &str) -> SendSnapshotError {
    SendSnapshotError::Receiver(Status::internal(format!("the receiver broke the protocol: {what}")))
}

async fn push_part(messages: &mpsc::Sender<pb::SnapshotRequest>, part: Part) -> Result<(), SendSnapshotError> {
    let message = pb::SnapshotRequest { part: Some(part) };
    messages.send(message).await.map_err(|_| SendSnapshotError::Receiver(Status::aborted("the stream was closed")))
}

/// Returns the next answer, within the stall timeout.
async fn next_answer(
    answers: &mut Streaming<pb::SnapshotResponse>,
    options: SendOptions,
) -> Result<Answer, SendSnapshotError> {
    let message = in_time(options, answers.message()).await?;
    message.and_then(|message| message.part).ok_or_else(|| unexpected_answer("it ended without a response"))
}

/// Reads progress reports until the snapshot is installed.
async fn await_installed(
    answers: &mut Streaming<pb::SnapshotResponse>,
    options: SendOptions,
) -> Result<Vote, SendSnapshotError> {
    loop {
        match next_answer(answers, options).await? {
            Answer::ReceivedBytes(_) => {}
            Answer::Installed(vote) => return Ok(vote_from_pb(&vote)),
            Answer::Wanted(_) => return Err(unexpected_answer("a second list of files")),
        }
    }
}

async fn pump_files(
    messages: mpsc::Sender<pb::SnapshotRequest>,
    manifest: &CheckedManifest,
    data: &Path,
    wanted: &[String],
    progress: &mut TransferProgress<'_>,
    options: SendOptions,
) -> Result<(), SendSnapshotError> {
    let mut pace = TransferPace::new(options.bytes_per_second);
    for name in wanted {
        let size = manifest.file(name).ok_or_else(|| unexpected_answer("it wants a file that is not listed"))?.size;
        let mut file = open_file(options.drive, data.join(name)).await?;
        let mut offset = 0;
        while offset < size {
            let bytes;
            (file, bytes) = read_chunk(options.drive, file, size - offset).await?;
            let len = bytes.len() as u64;
            let crc32 = crc32fast::hash(&bytes);
            push_part(&messages, Part::Chunk(pb::SnapshotChunk { file: name.clone(), offset, data: bytes, crc32 }))
                .await?;
            offset += len;
            progress.sent(len);
            pace.spend(len).await;
        }
    }
    push_part(&messages, Part::End(pb::SnapshotEnd {})).await
}

async fn open_file(drive: ThreadingModel, path: PathBuf) -> Result<File, SendSnapshotError> {
    read_blocking(drive, move || File::open(path)).await
}

/// Reads the next chunk. The file is moved to the thread that reads, and returned.
async fn read_chunk(drive: ThreadingModel, mut file: File, left: u64) -> Result<(File, Bytes), SendSnapshotError> {
    let len = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
    read_blocking(drive, move || {
        let mut bytes = BytesMut::zeroed(len);
        file.read_exact(&mut bytes)?;
        Ok((file, bytes.freeze()))
    })
    .await
}

async fn read_blocking<T: Send + 'static>(
    drive: ThreadingModel,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SendSnapshotError> {
    let done = off_the_runtime(drive, work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(SendSnapshotError::Read)
}

/// Progress of a transfer, reported until it is dropped.
struct TransferProgress<'a> {
    observer: &'a dyn PeerObserver,
    sent: u64,
    of: u64,
}

impl<'a> TransferProgress<'a> {
    fn begin(observer: &'a dyn PeerObserver, manifest: &CheckedManifest, wanted: &[String]) -> Self {
        let sizes = wanted.iter().filter_map(|name| manifest.file(name)).map(|file| file.size);
        let of = sizes.fold(0, u64::saturating_add);
        observer.snapshot_sending(0, 0, of);
        Self { observer, sent: 0, of }
    }

    fn sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
        self.observer.snapshot_sending(bytes, self.sent, self.of);
    }
}

impl Drop for TransferProgress<'_> {
    fn drop(&mut self) {
        self.observer.snapshot_ended();
    }
}

/// Limiter of the average rate since the transfer began.
struct TransferPace {
    began: Instant,
    bytes_per_second: u64,
    spent: u64,
}

impl TransferPace {
    fn new(bytes_per_second: u64) -> Self {
        Self { began: Instant::now(), bytes_per_second: bytes_per_second.max(1), spent: 0 }
    }

    async fn spend(&mut self, bytes: u64) {
        self.spent += bytes;
        // The microseconds for 2^64 bytes do not fit in 64 bits.
        let micros = u128::from(self.spent) * 1_000_000 / u128::from(self.bytes_per_second);
        sleep_until(self.began + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))).await;
    }
}
