//! Posts over one stream, or by unary calls.

use super::QuorateCluster;
use super::client::{BenchUser, connect_grpc, message_request};
use crate::load::clock::LoadClock;
use crate::load::flight::{AnswerReceiver, FrameSender, StreamFlight};
use crate::load::latency::LatencyRecorder;
use crate::load::post::{CONNECTIONS, PostCaller, PostMode, run_callers};
use anyhow::{Context as _, bail};
use quorate_wire::chat::v1::chat_client::ChatClient;
use quorate_wire::chat::v1::{PostRequest, PostResponse, post_result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

impl QuorateCluster {
    pub(crate) async fn post(&self, posting: PostMode, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
        match posting {
            PostMode::Stream { in_flight } => self.stream(in_flight, clock).await,
            PostMode::Unary { callers } => run_callers(self.callers(callers).await?, clock).await,
        }
    }

    async fn callers(&self, count: usize) -> anyhow::Result<Vec<UnaryCaller>> {
        let node = self.nodes.get(self.leader().await?).context("no such node")?;
        let mut clients = Vec::new();
        for _ in 0..count.min(CONNECTIONS) {
            clients.push(connect_grpc(node.grpc).await?);
        }
        let caller = |client: &ChatClient<Channel>| UnaryCaller {
            user: self.user.clone(),
            room: self.room.clone(),
            client: client.clone(),
        };
        Ok(clients.iter().cycle().take(count).map(caller).collect())
    }

    /// Posts over one stream, in frames as a program would fill them: with everything that may be sent at that moment.
    async fn stream(&self, in_flight: usize, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
        let node = self.nodes.get(self.leader().await?).context("no such node")?;
        let (frames, outgoing) = mpsc::channel(2);
        let mut client = connect_grpc(node.grpc).await?;
        let flight = StreamFlight::begin(PostFrames { room: self.room.clone(), frames }, in_flight).await?;
        let answers = client.post(self.user.asks(ReceiverStream::new(outgoing))).await?.into_inner();
        // Runs in a task: the main thread would be woken for each answer by another.
        tokio::spawn(flight.run(PostAnswers(answers), clock)).await?
    }
}

struct PostFrames {
    room: String,
    frames: mpsc::Sender<PostRequest>,
}

impl FrameSender for PostFrames {
    async fn send_frame(&mut self, count: usize) -> anyhow::Result<()> {
        let events = (0..count).map(|_| message_request(&self.room, crate::payload::next_number())).collect();
        self.frames.send(PostRequest { events }).await.context("the stream ended")
    }
}

struct PostAnswers(Streaming<PostResponse>);

impl AnswerReceiver for PostAnswers {
    async fn next_answers(&mut self) -> anyhow::Result<usize> {
        let frame = self.0.message().await?.context("the stream ended")?;
        for answer in &frame.results {
            match &answer.result {
                Some(post_result::Result::Accepted(_)) => {}
                other => bail!("a post was refused: {other:?}"),
            }
        }
        Ok(frame.results.len())
    }
}

struct UnaryCaller {
    user: BenchUser,
    room: String,
    client: ChatClient<Channel>,
}

impl PostCaller for UnaryCaller {
    async fn post(&mut self, number: u64) -> anyhow::Result<()> {
        self.client.send(self.user.asks(message_request(&self.room, number))).await?;
        Ok(())
    }
}
