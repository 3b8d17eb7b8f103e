//! The bare machine: what hardware and tonic allow without a system, in three processes of this program.
//!
//! A stream and one caller measure a log that is replicated and synced, and nothing else; many callers measure an echo,
//! and rooms a fan-out from memory.

pub(crate) mod serve;

use crate::load::clock::LoadClock;
use crate::load::flight::{AnswerReceiver, FrameSender, StreamFlight};
use crate::load::idle::IdleConnections;
use crate::load::latency::LatencyRecorder;
use crate::load::members::DeliveryBoard;
use crate::load::post::{CONNECTIONS, PostCaller, PostMode, run_callers};
use crate::load::room::{RoomUnderLoad, WAITING};
use crate::load::tasks::TaskGroup;
use crate::places::BenchPaths;
use crate::process::{self, ProcessSpec, ServerProcess};
use crate::wire::bare::bare_client::BareClient;
use crate::wire::bare::{Appended, Batch, Nothing, Payload};
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

const NODES: usize = 3;
/// Number of connections that are opened at once.
const AT_ONCE: usize = 32;

pub(crate) struct BareMachine {
    pub(crate) servers: Vec<ServerProcess>,
    nodes: Vec<SocketAddr>,
    _dir: TempDir,
}

impl BareMachine {
    /// Starts the processes, and returns when they answer.
    ///
    /// # Errors
    /// Fails if this program cannot be started again.
    pub(crate) async fn start(places: &BenchPaths) -> anyhow::Result<Self> {
        let dir = places.fresh("bare")?;
        let nodes = process::free_ports::<NODES>()?.to_vec();
        let program = std::env::current_exe().context("cannot determine the path of this program")?;
        let mut servers = Vec::new();
        for (n, node) in nodes.iter().enumerate() {
            let name = format!("bare-{n}");
            let spec =
                ProcessSpec::new(&name, &program, dir.path()).args(["bare", "--listen", &node.to_string(), "--file"]);
            let spec = spec.arg(dir.path().join(format!("{name}.data")));
            let followers = if n == 0 { nodes.get(1..).unwrap_or_default() } else { &[] };
            let followers = followers.iter().flat_map(|node| ["--follower".to_owned(), node.to_string()]);
            servers.push(spec.args(followers).start()?);
        }
        let found = nodes.clone();
        process::poll_until("the bare processes answer", &mut servers, || async {
            for node in &found {
                connect_node(*node).await?.echo(Payload::default()).await?;
            }
            anyhow::Ok(())
        })
        .await?;
        Ok(Self { servers, nodes, _dir: dir })
    }

    async fn node(&self, n: usize) -> anyhow::Result<BareClient<Channel>> {
        connect_node(*self.nodes.get(n % NODES).context("no such node")?).await
    }

    pub(crate) async fn post(&self, posting: PostMode, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
        match posting {
            PostMode::Stream { in_flight } => self.append(in_flight, clock).await,
            // The limit of one durable post is the log, not the echo.
            PostMode::Unary { callers: 1 } => self.append(1, clock).await,
            PostMode::Unary { callers } => {
                let mut clients = Vec::new();
                for _ in 0..callers.min(CONNECTIONS) {
                    clients.push(self.node(0).await?);
                }
                run_callers(
                    clients.iter().cycle().take(callers).map(|client| EchoCaller(client.clone())).collect(),
                    clock,
                )
                .await
            }
        }
    }

    async fn append(&self, in_flight: usize, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
        let (batches, outgoing) = mpsc::channel(2);
        let flight = StreamFlight::begin(AppendBatches(batches), in_flight).await?;
        let answers = self.node(0).await?.append(ReceiverStream::new(outgoing)).await?.into_inner();
        tokio::spawn(flight.run(AppendAnswers(answers), clock)).await?
    }

    pub(crate) async fn room(&self, board: Arc<DeliveryBoard>) -> anyhow::Result<RoomUnderLoad> {
        let mut tasks = TaskGroup::default();
        for n in 0..board.members() {
            let stream = self.node(n).await?.subscribe(Nothing {}).await?.into_inner();
            tasks.spawn(record_deliveries(stream, n, board.clone()));
        }
        let (say, mut said) = mpsc::channel::<u64>(WAITING);
        let mut publishers = Vec::new();
        for n in 0..NODES {
            let (payloads, outgoing) = mpsc::channel::<Payload>(WAITING);
            let mut client = self.node(n).await?;
            let failed = board.clone();
            tasks.spawn(async move {
                if let Err(status) = client.publish(ReceiverStream::new(outgoing)).await {
                    failed.fail("the sender", &status);
                }
            });
            publishers.push(payloads);
        }
        tasks.spawn(async move {
            while let Some(number) = said.recv().await {
                let payload = Payload { data: crate::payload::message_text(number).into() };
                for publisher in &publishers {
                    // An end of the stream is reported by its own task.
                    let _ = publisher.send(payload.clone()).await;
                }
            }
        });
        Ok(RoomUnderLoad { board, say, _tasks: tasks })
    }

    pub(crate) async fn idle(&self, count: usize) -> anyhow::Result<IdleConnections> {
        let held = futures::stream::iter(0..count)
            .map(|n| async move {
                let mut client = self.node(n).await?;
                let stream = client.subscribe(Nothing {}).await?.into_inner();
                anyhow::Ok(Box::new((client, stream)) as Box<dyn Any + Send>)
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(IdleConnections::new(held))
    }
}

async fn connect_node(node: SocketAddr) -> anyhow::Result<BareClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{node}"))?;
    Ok(BareClient::new(endpoint.connect().await.with_context(|| format!("cannot connect to {node}"))?))
}

async fn record_deliveries(mut stream: Streaming<Payload>, n: usize, board: Arc<DeliveryBoard>) {
    loop {
        match stream.message().await {
            Ok(Some(payload)) => board.received(n, &payload.data),
            Ok(None) => return board.fail("a member", &"the stream ended"),
            Err(status) => return board.fail("a member", &status),
        }
    }
}

struct AppendBatches(mpsc::Sender<Batch>);

impl FrameSender for AppendBatches {
    async fn send_frame(&mut self, count: usize) -> anyhow::Result<()> {
        let entries = (0..count).map(|_| crate::payload::message_text(crate::payload::next_number()).into()).collect();
        self.0.send(Batch { entries }).await.context("the stream ended")
    }
}

struct AppendAnswers(Streaming<Appended>);

impl AnswerReceiver for AppendAnswers {
    async fn next_answers(&mut self) -> anyhow::Result<usize> {
        Ok(self.0.message().await?.context("the stream ended")?.count as usize)
    }
}

struct EchoCaller(BareClient<Channel>);

impl PostCaller for EchoCaller {
    async fn post(&mut self, number: u64) -> anyhow::Result<()> {
        let data = bytes::Bytes::from(crate::payload::message_text(number));
        let answer = self.0.echo(Payload { data: data.clone() }).await?.into_inner();
        ensure!(answer.data == data, "the echo differs from the request");
        Ok(())
    }
}
