//! Posts over one stream, or by unary calls.

use super::Quorate;
use super::client::{User, connect, message};
use crate::load::clock::Clock;
use crate::load::latency::Recorder;
use crate::load::post::{CONNECTIONS, Caller, Posting, unary};
use anyhow::{Context as _, bail};
use quorate_wire::chat::v1::chat_client::ChatClient;
use quorate_wire::chat::v1::{PostRequest, PostResponse, post_result};
use std::collections::VecDeque;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

impl Quorate {
    pub(crate) async fn post(&self, posting: Posting, clock: Clock) -> anyhow::Result<Recorder> {
        match posting {
            Posting::Stream { in_flight } => self.stream(in_flight, clock).await,
            Posting::Unary { callers } => unary(self.callers(callers).await?, clock).await,
        }
    }

    async fn callers(&self, count: usize) -> anyhow::Result<Vec<UnaryCaller>> {
        let node = self.nodes.get(self.leader().await?).context("no such node")?;
        let mut doors = Vec::new();
        for _ in 0..count.min(CONNECTIONS) {
            doors.push(connect(node.grpc).await?);
        }
        let caller = |door: &ChatClient<Channel>| UnaryCaller {
            user: self.user.clone(),
            room: self.room.clone(),
            door: door.clone(),
        };
        Ok(doors.iter().cycle().take(count).map(caller).collect())
    }

    /// Posts over one stream, in frames as a program would fill them: with everything that may be sent at that moment.
    async fn stream(&self, in_flight: usize, clock: Clock) -> anyhow::Result<Recorder> {
        let node = self.nodes.get(self.leader().await?).context("no such node")?;
        let (frames, outgoing) = mpsc::channel(2);
        let mut door = connect(node.grpc).await?;
        let mut flight = Flight { room: self.room.clone(), frames, sent: VecDeque::new() };
        flight.send(in_flight).await?;
        let answers = door.post(self.user.asks(ReceiverStream::new(outgoing))).await?.into_inner();
        // Runs in a task: the main thread would be woken for each answer by another.
        tokio::spawn(flight.run(answers, clock)).await?
    }
}

struct Flight {
    room: String,
    frames: mpsc::Sender<PostRequest>,
    /// Times at which the unacknowledged posts were sent, oldest first.
    sent: VecDeque<Instant>,
}

impl Flight {
    async fn run(mut self, mut answers: Streaming<PostResponse>, clock: Clock) -> anyhow::Result<Recorder> {
        let mut recorder = Recorder::new(clock)?;
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
        let events = (0..count).map(|_| message(&self.room, crate::payload::next())).collect();
        let now = Instant::now();
        self.sent.extend(std::iter::repeat_n(now, count));
        self.frames.send(PostRequest { events }).await.context("the stream ended")
    }

    /// Takes a frame of answers, and returns the number of posts that were acknowledged.
    async fn take(&mut self, answers: &mut Streaming<PostResponse>, recorder: &mut Recorder) -> anyhow::Result<usize> {
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
    user: User,
    room: String,
    door: ChatClient<Channel>,
}

impl Caller for UnaryCaller {
    async fn post(&mut self, number: u64) -> anyhow::Result<()> {
        self.door.send(self.user.asks(message(&self.room, number))).await?;
        Ok(())
    }
}
