//! Three Node.js processes with socket.io and its Redis adapter: the usual way to build a chat that is not durable.

use crate::load::idle::IdleConnections;
use crate::load::members::DeliveryBoard;
use crate::load::room::{RoomUnderLoad, WAITING};
use crate::load::tasks::TaskGroup;
use crate::places::BenchPaths;
use crate::process::{self, ProcessSpec, ServerProcess};
use anyhow::{Context as _, bail, ensure};
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

const NODES: usize = 3;
/// Number of connections that are opened at once.
const AT_ONCE: usize = 32;

type ClientSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct SocketIo {
    pub(crate) servers: Vec<ServerProcess>,
    nodes: Vec<SocketAddr>,
    _dir: TempDir,
}

impl SocketIo {
    /// Starts Redis and the Node.js processes, and returns when they answer.
    ///
    /// # Errors
    /// Fails if Node.js, the modules or Redis are missing, or do not come up.
    pub(crate) async fn start(places: &BenchPaths) -> anyhow::Result<Self> {
        let modules = places.peers.join("socketio/node_modules");
        ensure!(modules.is_dir(), "{} is missing: run deploy/deps/install bench", modules.display());
        let dir = places.fresh("socketio")?;
        let [redis, a, b, c] = process::free_ports()?;
        let nodes = vec![a, b, c];
        let mut servers = vec![
            ProcessSpec::new("redis", "redis-server", dir.path())
                .args(["--bind", "127.0.0.1", "--port", &redis.port().to_string(), "--save", "", "--appendonly", "no"])
                .arg("--dir")
                .arg(dir.path())
                .start()?,
        ];
        for (n, node) in nodes.iter().enumerate() {
            let ports = [node.port().to_string(), redis.port().to_string()];
            let script = places.scripts.join("socketio/server.js");
            let spec = ProcessSpec::new(&format!("node-{n}"), "node", dir.path()).arg(script).args(ports);
            servers.push(spec.env("NODE_PATH", &modules).env("NODE_ENV", "production").start()?);
        }
        let found = nodes.clone();
        process::poll_until("socket.io answers", &mut servers, || async {
            for node in &found {
                connect_socket(*node).await?;
            }
            anyhow::Ok(())
        })
        .await?;
        Ok(Self { servers, nodes, _dir: dir })
    }

    fn node(&self, n: usize) -> anyhow::Result<SocketAddr> {
        self.nodes.get(n % NODES).copied().context("no such node")
    }

    pub(crate) async fn room(&self, board: Arc<DeliveryBoard>) -> anyhow::Result<RoomUnderLoad> {
        let room = format!("room-{}", crate::payload::next_number());
        let mut tasks = TaskGroup::default();
        for n in 0..board.members() {
            let mut socket = connect_socket(self.node(n)?).await?;
            join_room(&mut socket, &room).await?;
            tasks.spawn(record_deliveries(socket, n, board.clone()));
        }
        let (say, said) = mpsc::channel(WAITING);
        tasks.spawn(send_messages(connect_socket(self.node(0)?).await?, room, said, board.clone()));
        Ok(RoomUnderLoad { board, say, _tasks: tasks })
    }

    pub(crate) async fn idle(&self, count: usize) -> anyhow::Result<IdleConnections> {
        let held = futures::stream::iter(0..count)
            .map(|n| async move { anyhow::Ok(Box::new(connect_socket(self.node(n)?).await?) as Box<dyn Any + Send>) })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(IdleConnections::new(held))
    }
}

/// Opens a WebSocket, and goes through the greetings of Engine.IO (protocol 4) and Socket.IO (protocol 5).
async fn connect_socket(node: SocketAddr) -> anyhow::Result<ClientSocket> {
    let url = format!("ws://{node}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) = connect_async_with_config(url, None, true).await.context("cannot connect")?;
    expect_packet(&mut socket, "0").await?;
    socket.send(Message::text("40")).await?;
    expect_packet(&mut socket, "40").await?;
    Ok(socket)
}

async fn join_room(socket: &mut ClientSocket, room: &str) -> anyhow::Result<()> {
    socket.send(Message::text(format!(r#"421["join","{room}"]"#))).await?;
    expect_packet(socket, "431").await
}

/// Reads up to a packet that begins with `begin`.
async fn expect_packet(socket: &mut ClientSocket, begin: &str) -> anyhow::Result<()> {
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) if text.starts_with(begin) => return Ok(()),
            Message::Close(_) => break,
            _ => {}
        }
    }
    bail!("the connection closed before a packet {begin:?} was received")
}

/// Answers the ping that the server sends from time to time.
async fn answer_ping(socket: &mut ClientSocket, text: &str) -> anyhow::Result<()> {
    if text == "2" {
        socket.send(Message::text("3")).await?;
    }
    Ok(())
}

async fn record_deliveries(mut socket: ClientSocket, n: usize, board: Arc<DeliveryBoard>) {
    let followed = async {
        while let Some(message) = socket.next().await {
            if let Message::Text(text) = message? {
                board.received(n, text.as_bytes());
                answer_ping(&mut socket, &text).await?;
            }
        }
        anyhow::Ok(())
    };
    match followed.await {
        Ok(()) => board.fail("a member", &"the connection ended"),
        Err(error) => board.fail("a member", &error),
    }
}

async fn send_messages(
    mut socket: ClientSocket,
    room: String,
    mut said: mpsc::Receiver<u64>,
    board: Arc<DeliveryBoard>,
) {
    let sent = async {
        loop {
            tokio::select! {
                number = said.recv() => {
                    let Some(number) = number else { return anyhow::Ok(()) };
                    let text = crate::payload::message_text(number);
                    socket.send(Message::text(format!(r#"42["post","{room}","{text}"]"#))).await?;
                }
                message = socket.next() => {
                    if let Message::Text(text) = message.context("the connection ended")?? {
                        answer_ping(&mut socket, &text).await?;
                    }
                }
            }
        }
    };
    if let Err(error) = sent.await {
        board.fail("the sender", &error);
    }
}
