//! Posts: publications to the stream, each acknowledged when a majority has synced it.

use super::client::{Client, Reply, acknowledged};
use super::{Nats, SUBJECT};
use crate::load::clock::Clock;
use crate::load::latency::Recorder;
use crate::load::post::{CONNECTIONS, Caller, Posting, unary};
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::time::Instant;
use tokio::sync::oneshot;

impl Nats {
    pub(crate) async fn post(&self, posting: Posting, clock: Clock) -> anyhow::Result<Recorder> {
        let node = self.nodes.get(self.leader().await?).context("no such node")?;
        match posting {
            Posting::Stream { in_flight } => tokio::spawn(pipelined(node.connect().await?, in_flight, clock)).await?,
            Posting::Unary { callers } => {
                let mut clients = Vec::new();
                for _ in 0..callers.min(CONNECTIONS) {
                    clients.push(node.connect().await?);
                }
                let caller = |client: &Client| UnaryCaller(client.clone());
                unary(clients.iter().cycle().take(callers).map(caller).collect(), clock).await
            }
        }
    }
}

async fn pipelined(client: Client, in_flight: usize, clock: Clock) -> anyhow::Result<Recorder> {
    let mut recorder = Recorder::new(clock)?;
    let mut flying = FuturesUnordered::new();
    loop {
        while flying.len() < in_flight && !clock.ended() {
            let sent = Instant::now();
            let answer = publish(&client, SUBJECT, crate::payload::next()).await?;
            flying.push(async move { answer.await.map(|reply| (sent, reply)) });
        }
        let Some(answer) = flying.next().await else { return Ok(recorder) };
        let (sent, reply) = answer.context("the connection failed")?;
        acknowledged(reply)?;
        recorder.acknowledged(sent);
    }
}

pub(super) async fn publish(client: &Client, subject: &str, number: u64) -> anyhow::Result<oneshot::Receiver<Reply>> {
    client.send(subject, "", crate::payload::text(number).as_bytes()).await
}

struct UnaryCaller(Client);

impl Caller for UnaryCaller {
    async fn post(&mut self, number: u64) -> anyhow::Result<()> {
        acknowledged(publish(&self.0, SUBJECT, number).await?.await.context("the connection failed")?)
    }
}
