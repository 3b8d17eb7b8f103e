//! Server process of the bare machine.

use crate::wire::bare::bare_client::BareClient;
use crate::wire::bare::bare_server::{Bare, BareServer};
use crate::wire::bare::{Appended, Batch, Nothing, Payload};
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// Maximum number of batches in flight to a follower or back to a client.
const UNDER_WAY: usize = 16;
/// Maximum number of messages that a subscriber leaves unread before its publisher has to wait.
const SUBSCRIBER: usize = 1024;
/// Maximum number of frames that are written with one sync.
const TOGETHER: usize = 64;

type AnswerStream<T> = ReceiverStream<Result<T, Status>>;
type SubscriberSenders = Vec<mpsc::Sender<Result<Payload, Status>>>;

/// Serves until the process is killed.
///
/// # Errors
/// Fails if the address is taken, or if the file cannot be created.
pub(crate) async fn serve_bare(listen: SocketAddr, file: &Path, followers: Vec<SocketAddr>) -> anyhow::Result<()> {
    let file = File::create(file).with_context(|| format!("cannot create {}", file.display()))?;
    let service = BareService { file: Arc::new(Mutex::new(file)), followers, subscribers: Arc::default() };
    Server::builder().tcp_nodelay(true).add_service(BareServer::new(service)).serve(listen).await?;
    Ok(())
}

struct BareService {
    file: Arc<Mutex<File>>,
    followers: Vec<SocketAddr>,
    subscribers: Arc<Mutex<SubscriberSenders>>,
}

#[tonic::async_trait]
impl Bare for BareService {
    type AppendStream = AnswerStream<Appended>;
    type SubscribeStream = AnswerStream<Payload>;

    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn append(&self, request: Request<Streaming<Batch>>) -> Result<Response<Self::AppendStream>, Status> {
        let mut followers = Vec::new();
        for address in &self.followers {
            followers.push(
                FollowerLink::connect(*address).await.map_err(|error| Status::unavailable(format!("{error:#}")))?,
            );
        }
        let log = ReplicatedLog { file: self.file.clone(), followers, appended: 0 };
        let (answer, answers) = mpsc::channel(UNDER_WAY);
        tokio::spawn(log.run(request.into_inner(), answer));
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn subscribe(&self, _: Request<Nothing>) -> Result<Response<Self::SubscribeStream>, Status> {
        let (sender, messages) = mpsc::channel(SUBSCRIBER);
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn publish(&self, request: Request<Streaming<Payload>>) -> Result<Response<Nothing>, Status> {
        let mut payloads = request.into_inner();
        while let Some(payload) = payloads.message().await? {
            let subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for subscriber in &subscribers {
                // A subscriber that has gone is removed below.
                let _ = subscriber.send(Ok(payload.clone())).await;
            }
            if subscribers.iter().any(mpsc::Sender::is_closed) {
                self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).retain(|sender| !sender.is_closed());
            }
        }
        Ok(Response::new(Nothing {}))
    }
}

/// One stream of appends: batches that have arrived together are written, synced and sent to the followers together.
struct ReplicatedLog {
    file: Arc<Mutex<File>>,
    followers: Vec<FollowerLink>,
    appended: u64,
}

impl ReplicatedLog {
    async fn run(mut self, batches: Streaming<Batch>, answer: mpsc::Sender<Result<Appended, Status>>) {
        let mut batches = batches.ready_chunks(TOGETHER);
        while let Some(frames) = batches.next().await {
            let entries = frames.into_iter().filter_map(Result::ok).flat_map(|batch| batch.entries).collect();
            let appended = self.append(entries).await.map_err(|error| Status::internal(format!("{error:#}")));
            let failed = appended.is_err();
            if answer.send(appended).await.is_err() || failed {
                return;
            }
        }
    }

    async fn append(&mut self, entries: Vec<bytes::Bytes>) -> anyhow::Result<Appended> {
        let count = entries.len();
        self.appended += count as u64;
        for follower in &self.followers {
            follower.batches.send(Batch { entries: entries.clone() }).await.context("lost a follower")?;
        }
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || write_and_sync(&file, &entries)).await??;
        self.majority().await?;
        Ok(Appended { count: u32::try_from(count)? })
    }

    /// Waits until two of three have synced: this process has, so one follower is enough.
    async fn majority(&mut self) -> anyhow::Result<()> {
        let target = self.appended;
        if self.followers.is_empty() {
            return Ok(());
        }
        let mut waiting = FuturesUnordered::new();
        for follower in &mut self.followers {
            waiting.push(follower.synced(target));
        }
        waiting.next().await.context("there is no follower")?
    }
}

fn write_and_sync(file: &Mutex<File>, entries: &[bytes::Bytes]) -> std::io::Result<()> {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(&entries.concat())?;
    file.sync_data()
}

struct FollowerLink {
    batches: mpsc::Sender<Batch>,
    /// Number of entries of this stream that the follower has synced.
    synced: watch::Receiver<u64>,
}

impl FollowerLink {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let (batches, outgoing) = mpsc::channel(UNDER_WAY);
        let (report, synced) = watch::channel(0_u64);
        tokio::spawn(async move {
            let answers = BareClient::new(channel).append(ReceiverStream::new(outgoing)).await;
            let Ok(mut answers) = answers.map(Response::into_inner) else { return };
            while let Ok(Some(appended)) = answers.message().await {
                report.send_modify(|synced| *synced += u64::from(appended.count));
            }
        });
        Ok(Self { batches, synced })
    }

    /// Waits until the follower has synced `target` entries.
    async fn synced(&mut self, target: u64) -> anyhow::Result<()> {
        self.synced.wait_for(|synced| *synced >= target).await.map(drop).context("lost a follower")
    }
}
