//! Posts over one stream, with as many under way as at the start: each acknowledgement lets the next ones go.

use super::clock::LoadClock;
use super::latency::LatencyRecorder;
use anyhow::Context as _;
use std::collections::VecDeque;
use std::time::Instant;

/// Sending half of a stream, in the protocol of one system.
pub(crate) trait FrameSender: Send {
    /// Sends `count` new posts in one frame.
    fn send_frame(&mut self, count: usize) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Receiving half of a stream.
pub(crate) trait AnswerReceiver: Send {
    /// Waits for the next frame of answers, and returns the number of posts that it acknowledges. Fails if a post was
    /// refused.
    fn next_answers(&mut self) -> impl Future<Output = anyhow::Result<usize>> + Send;
}

/// Posts under way on one stream.
pub(crate) struct StreamFlight<S> {
    frames: S,
    /// Times at which the unacknowledged posts were sent, oldest first.
    sent: VecDeque<Instant>,
}

impl<S: FrameSender> StreamFlight<S> {
    /// Sends the first posts, as many as stay under way.
    pub(crate) async fn begin(frames: S, in_flight: usize) -> anyhow::Result<Self> {
        let mut flight = Self { frames, sent: VecDeque::new() };
        flight.send(in_flight).await?;
        Ok(flight)
    }

    /// Posts until the measurement ends.
    pub(crate) async fn run(
        mut self,
        mut answers: impl AnswerReceiver,
        clock: LoadClock,
    ) -> anyhow::Result<LatencyRecorder> {
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
        self.sent.extend(std::iter::repeat_n(Instant::now(), count));
        self.frames.send_frame(count).await
    }

    async fn take(
        &mut self,
        answers: &mut impl AnswerReceiver,
        recorder: &mut LatencyRecorder,
    ) -> anyhow::Result<usize> {
        let count = answers.next_answers().await?;
        for _ in 0..count {
            recorder.acknowledged(self.sent.pop_front().context("more answers than posts")?);
        }
        Ok(count)
    }
}
