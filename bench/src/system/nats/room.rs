//! A room in NATS: a subject of the stream with a push consumer for each member, over a connection of its own.

use super::client::{Client, acknowledged, open};
use super::wire::{Frame, Reader};
use super::{NODES, Nats, STREAM};
use crate::load::idle::Idle;
use crate::load::members::Board;
use crate::load::room::{Room, WAITING};
use crate::load::tasks::Tasks;
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

impl Nats {
    pub(crate) async fn room(&self, board: Arc<Board>) -> anyhow::Result<Room> {
        let subject = format!("{STREAM}.room-{}", crate::payload::next());
        let mut tasks = Tasks::default();
        for n in 0..board.members() {
            let (reader, writer) = self.member(n, &subject).await?;
            tasks.spawn(follow(reader, writer, n, board.clone()));
        }
        let (say, said) = mpsc::channel(WAITING);
        let client = self.nodes.first().context("no node")?.connect().await?;
        tasks.spawn(send(client, subject, said, board.clone()));
        Ok(Room { board, say, _tasks: tasks })
    }

    fn address(&self, n: usize) -> anyhow::Result<SocketAddr> {
        Ok(self.nodes.get(n % NODES).context("no such node")?.client)
    }

    /// Connects a member with the settings of an ordered consumer: nothing is acknowledged, and its state is in memory.
    async fn member(&self, n: usize, subject: &str) -> anyhow::Result<(Reader, OwnedWriteHalf)> {
        let name = format!("member-{}", crate::payload::next());
        let deliver = format!("deliver.{name}");
        let (reader, mut writer) = open(self.address(n)?).await?;
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

    pub(crate) async fn idle(&self, count: usize) -> anyhow::Result<Idle> {
        let held = futures::stream::iter(0..count)
            .map(|n| async move {
                let (mut reader, mut writer) = open(self.address(n)?).await?;
                writer.write_all(b"SUB idle 1\r\nPING\r\n").await?;
                while reader.next().await? != Frame::Pong {}
                anyhow::Ok(Box::new((reader, writer)) as Box<dyn Any + Send>)
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(Idle::new(held))
    }
}

async fn follow(mut reader: Reader, mut writer: OwnedWriteHalf, n: usize, board: Arc<Board>) {
    let followed = async {
        loop {
            match reader.next().await? {
                Frame::Message { payload, .. } => board.received(n, &payload),
                Frame::Ping => writer.write_all(b"PONG\r\n").await?,
                Frame::Error(text) => bail!("{text}"),
                Frame::Pong | Frame::Other => {}
            }
        }
    };
    let ended: anyhow::Result<()> = followed.await;
    if let Err(error) = ended {
        board.fail("a member", &error);
    }
}

async fn send(client: Client, subject: String, mut said: mpsc::Receiver<u64>, board: Arc<Board>) {
    let mut flying = FuturesUnordered::new();
    let sent = async {
        loop {
            tokio::select! {
                number = said.recv(), if flying.len() < UNACKNOWLEDGED => {
                    let Some(number) = number else { return anyhow::Ok(()) };
                    flying.push(super::post::publish(&client, &subject, number).await?);
                }
                Some(reply) = flying.next() => acknowledged(reply.context("the connection failed")?)?,
            }
        }
    };
    if let Err(error) = sent.await {
        board.fail("the sender", &error);
    }
}
