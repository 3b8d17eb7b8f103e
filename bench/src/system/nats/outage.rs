//! Outage of NATS: the server that leads the stream is killed under writers.

use super::client::{NatsClient, check_ack};
use super::{NODES, NatsCluster, NatsNode, STREAM, SUBJECT, stream_info};
use crate::load::failover::{self, FailoverWriter, LeaderOutage, WRITERS};
use crate::process;
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use std::collections::BTreeSet;

/// Number of messages that are read at once.
const AT_ONCE: usize = 64;

impl NatsCluster {
    pub(crate) async fn outage(&mut self) -> anyhow::Result<LeaderOutage> {
        let writers = (0..WRITERS).map(|_| NatsWriter::new(&self.nodes)).collect();
        let leader = self.leader().await?;
        let before = last_sequence(&self.client).await?;
        let server = self.servers.get_mut(leader).context("no such node")?;
        let (gap, acknowledged) = failover::run_failover(writers, || server.kill()).await?;
        self.servers.get_mut(leader).context("no such node")?.restart()?;
        let nodes = self.nodes.clone();
        process::poll_until("all servers have rejoined", &mut self.servers, || async { all_current(&nodes).await })
            .await?;
        // The connection may have been to the server that was killed.
        self.client = self.nodes.first().context("no node")?.connect().await?;
        let stored = self.stored(before).await?;
        Ok(LeaderOutage::judge(gap, &acknowledged, &stored))
    }

    /// Returns the numbers of all messages after the sequence number `behind`.
    async fn stored(&self, behind: u64) -> anyhow::Result<BTreeSet<u64>> {
        let last = last_sequence(&self.client).await?;
        let messages: Vec<_> = futures::stream::iter(behind + 1..=last)
            .map(|sequence| self.client.message(STREAM, sequence))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(messages.into_iter().flatten().filter_map(|payload| crate::payload::find_number(&payload)).collect())
    }
}

/// Returns the last sequence number of the stream.
async fn last_sequence(client: &NatsClient) -> anyhow::Result<u64> {
    stream_info(client).await?.pointer("/state/last_seq").and_then(Value::as_u64).context("the stream has no last_seq")
}

async fn all_current(nodes: &[NatsNode]) -> anyhow::Result<()> {
    for node in nodes {
        let info = stream_info(&node.connect().await?).await?;
        let replicas = info.pointer("/cluster/replicas").and_then(Value::as_array).context("no replicas")?;
        let current = |replica: &Value| {
            let is = |key: &str| replica.get(key).and_then(Value::as_bool).unwrap_or_default();
            is("current") && !is("offline")
        };
        ensure!(replicas.len() + 1 == NODES && replicas.iter().all(current), "a replica is not up to date");
    }
    Ok(())
}

/// A connection to each server, which is made anew when it has failed.
struct NatsWriter {
    nodes: Vec<NatsNode>,
    clients: Vec<Option<NatsClient>>,
}

impl NatsWriter {
    fn new(nodes: &[NatsNode]) -> Self {
        Self { nodes: nodes.to_vec(), clients: vec![None; nodes.len()] }
    }
}

impl FailoverWriter for NatsWriter {
    async fn write(&mut self, server: usize, number: u64) -> anyhow::Result<()> {
        let slot = self.clients.get_mut(server).context("no such node")?;
        let client = match slot.take() {
            Some(client) => client,
            None => self.nodes.get(server).context("no such node")?.connect().await?,
        };
        // The id makes a repetition harmless.
        let id = format!("Nats-Msg-Id: {number}\r\n");
        let answer = client.send(SUBJECT, &id, crate::payload::message_text(number).as_bytes()).await?;
        let reply = answer.await.context("the connection failed")?;
        *slot = Some(client);
        check_ack(reply)
    }
}
