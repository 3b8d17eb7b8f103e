//! A room in NATS: a subject of the stream with a push consumer for each member, over a connection of its own.

use super::client::{NatsClient, check_ack, open_connection};
use super::wire::{NatsFrameReader, ServerFrame};
use super::{NODES, NatsCluster, STREAM};
use crate::load::idle::IdleConnections;
use crate::load::members::DeliveryBoard;
use crate::load::room::{RoomUnderLoad, WAITING};
use crate::load::tasks::TaskGroup;
use anyhow::{Context as _, bail};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

/// Number of connections that are opened at once.
const AT_ONCE: usize = 32;
/// Maximum number of unacknowledged publications: beyond the highest rate times a bad latency.
const UNACKNOWLEDGED: usize = 4096;

impl NatsCluster {
    pub(crate) async fn room(&self, board: Arc<DeliveryBoard>) -> anyhow::Result<RoomUnderLoad> {
        let subject = format!("{STREAM}.room-{}", crate::payload::next_number());
        let mut tasks = TaskGroup::default();
        for n in 0..board.members() {
            let (reader, writer) = self.member(n, &subject).await?;
            tasks.spawn(record_deliveries(reader, writer, n, board.clone()));
        }
        let (say, said) = mpsc::channel(WAITING);
        let client = self.nodes.first().context("no node")?.connect().await?;
        tasks.spawn(send_messages(client, subject, said, board.clone()));
        Ok(RoomUnderLoad { board, say, _tasks: tasks })
    }

    fn address(&self, n: usize) -> anyhow::Result<SocketAddr> {
        Ok(self.nodes.get(n % NODES).context("no such node")?.client)
    }

    /// Connects a member with the settings of an ordered consumer: nothing is acknowledged, and its state is in memory.
    async fn member(&self, n: usize, subject: &str) -> anyhow::Result<(NatsFrameReader, OwnedWriteHalf)> {
        let name = format!("member-{}", crate::payload::next_number());
        let deliver = format!("deliver.{name}");
        let (reader, mut writer) = open_connection(self.address(n)?).await?;
        writer.write_all(format!("SUB {deliver} 1\r\n").as_bytes()).await?;
        let config = json!({
            "name": name, "deliver_subject": deliver, "deliver_policy": "new", "filter_subject": subject,
            "ack_policy": "none", "max_deliver": 1, "mem_storage": true, "num_replicas": 1,
            "inactive_threshold": 300_000_000_000_u64,
        });
        let request = json!({ "stream_name": STREAM, "config": config, "action": "create" });
        self.client.api(&format!("CONSUMER.CREATE.{STREAM}.{name}.{subject}"), &request).await?;
        Ok((reader, writer))
    }

    pub(crate) async fn idle(&self, count: usize) -> anyhow::Result<IdleConnections> {
        let held = futures::stream::iter(0..count)
            .map(|n| async move {
                let (mut reader, mut writer) = open_connection(self.address(n)?).await?;
                writer.write_all(b"SUB idle 1\r\nPING\r\n").await?;
                while reader.next().await? != ServerFrame::Pong {}
                anyhow::Ok(Box::new((reader, writer)) as Box<dyn Any + Send>)
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(IdleConnections::new(held))
    }
}

async fn record_deliveries(
    mut reader: NatsFrameReader,
    mut writer: OwnedWriteHalf,
    n: usize,
    board: Arc<DeliveryBoard>,
) {
    let followed = async {
        loop {
            match reader.next().await? {
                ServerFrame::Message { payload, .. } => board.received(n, &payload),
                ServerFrame::Ping => writer.write_all(b"PONG\r\n").await?,
                ServerFrame::Error(text) => bail!("{text}"),
                ServerFrame::Pong | ServerFrame::Other => {}
            }
        }
    };
    let ended: anyhow::Result<()> = followed.await;
    if let Err(error) = ended {
        board.fail("a member", &error);
    }
}

async fn send_messages(client: NatsClient, subject: String, mut said: mpsc::Receiver<u64>, board: Arc<DeliveryBoard>) {
    let mut flying = FuturesUnordered::new();
    let sent = async {
        loop {
            tokio::select! {
                number = said.recv(), if flying.len() < UNACKNOWLEDGED => {
                    let Some(number) = number else { return anyhow::Ok(()) };
                    flying.push(super::post::publish_message(&client, &subject, number).await?);
                }
                Some(reply) = flying.next() => check_ack(reply.context("the connection failed")?)?,
            }
        }
    };
    if let Err(error) = sent.await {
        board.fail("the sender", &error);
    }
}
