//! Posts over one stream, or by unary calls.

use super::QuorateCluster;
use super::client::{BenchUser, connect_grpc, message_request};
use crate::load::clock::LoadClock;
use crate::load::latency::LatencyRecorder;
use crate::load::post::{CONNECTIONS, PostCaller, PostMode, run_callers};
use anyhow::{Context as _, bail};
use quorate_wire::chat::v1::chat_client::ChatClient;
use quorate_wire::chat::v1::{PostRequest, PostResponse, post_result};
use std::collections::VecDeque;
use std::time::Instant;
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
        let mut flight = PostFlight { room: self.room.clone(), frames, sent: VecDeque::new() };
        flight.send(in_flight).await?;
        let answers = client.post(self.user.asks(ReceiverStream::new(outgoing))).await?.into_inner();
        // Runs in a task: the main thread would be woken for each answer by another.
        tokio::spawn(flight.run(answers, clock)).await?
    }
}

struct PostFlight {
    room: String,
    frames: mpsc::Sender<PostRequest>,
    /// Times at which the unacknowledged posts were sent, oldest first.
    sent: VecDeque<Instant>,
}

impl PostFlight {
    async fn run(mut self, mut answers: Streaming<PostResponse>, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
        let mut recorder = LatencyRecorder::new(clock)?;
        while !clock.ended() {
            let count = self.take(&mut answers, &mut recorder).await?;
            self.send(count).await?;
        }
        // Posts under way are waited for, so that the next measurement begins with an idle cluster.
        while !self.sent.is_empty() {
            self.take(&mut answers, &mut recorder).await?;
        }
        Ok(recorder)
    }

    async fn send(&mut self, count: usize) -> anyhow::Result<()> {
        let events = (0..count).map(|_| message_request(&self.room, crate::payload::next_number())).collect();
        let now = Instant::now();
        self.sent.extend(std::iter::repeat_n(now, count));
        self.frames.send(PostRequest { events }).await.context("the stream ended")
    }

    /// Takes a frame of answers, and returns the number of posts that were acknowledged.
    async fn take(
        &mut self,
        answers: &mut Streaming<PostResponse>,
        recorder: &mut LatencyRecorder,
    ) -> anyhow::Result<usize> {
        let frame = answers.message().await?.context("the stream ended")?;
        for answer in &frame.results {
            match &answer.result {
                Some(post_result::Result::Accepted(_)) => {}
                other => bail!("a post was refused: {other:?}"),
            }
            recorder.acknowledged(self.sent.pop_front().context("more answers than posts")?);
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
