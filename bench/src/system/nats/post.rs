//! Posts: publications to the stream, each acknowledged when a majority has synced it.

use super::client::{NatsClient, NatsReply, check_ack};
use super::{NatsCluster, SUBJECT};
use crate::load::clock::LoadClock;
use crate::load::latency::LatencyRecorder;
use crate::load::post::{CONNECTIONS, PostCaller, PostMode, run_callers};
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::time::Instant;
use tokio::sync::oneshot;

impl NatsCluster {
    pub(crate) async fn post(&self, posting: PostMode, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
        let node = self.nodes.get(self.leader().await?).context("no such node")?;
        match posting {
            PostMode::Stream { in_flight } => {
                tokio::spawn(post_pipelined(node.connect().await?, in_flight, clock)).await?
            }
            PostMode::Unary { callers } => {
                let mut clients = Vec::new();
                for _ in 0..callers.min(CONNECTIONS) {
                    clients.push(node.connect().await?);
                }
                let caller = |client: &NatsClient| UnaryCaller(client.clone());
                run_callers(clients.iter().cycle().take(callers).map(caller).collect(), clock).await
            }
        }
    }
}

async fn post_pipelined(client: NatsClient, in_flight: usize, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
    let mut recorder = LatencyRecorder::new(clock)?;
    let mut flying = FuturesUnordered::new();
    loop {
        while flying.len() < in_flight && !clock.ended() {
            let sent = Instant::now();
            let answer = publish_message(&client, SUBJECT, crate::payload::next_number()).await?;
            flying.push(async move { answer.await.map(|reply| (sent, reply)) });
        }
        let Some(answer) = flying.next().await else { return Ok(recorder) };
        let (sent, reply) = answer.context("the connection failed")?;
        check_ack(reply)?;
        recorder.acknowledged(sent);
    }
}

pub(super) async fn publish_message(
    client: &NatsClient,
    subject: &str,
    number: u64,
) -> anyhow::Result<oneshot::Receiver<NatsReply>> {
    client.send(subject, "", crate::payload::message_text(number).as_bytes()).await
}

struct UnaryCaller(NatsClient);

impl PostCaller for UnaryCaller {
    async fn post(&mut self, number: u64) -> anyhow::Result<()> {
        check_ack(publish_message(&self.0, SUBJECT, number).await?.await.context("the connection failed")?)
    }
}
