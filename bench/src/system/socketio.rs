//! Three Node.js processes with socket.io and its Redis adapter: the usual way to build a chat that is not durable.

use crate::load::idle::Idle;
use crate::load::members::Board;
use crate::load::room::{Room, WAITING};
use crate::load::tasks::Tasks;
use crate::places::Places;
use crate::process::{self, Server, Spec};
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

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct SocketIo {
    pub(crate) servers: Vec<Server>,
    nodes: Vec<SocketAddr>,
    _dir: TempDir,
}

impl SocketIo {
    /// Starts Redis and the Node.js processes, and returns when they answer.
    ///
    /// # Errors
    /// Fails if Node.js, the modules or Redis are missing, or do not come up.
    pub(crate) async fn start(places: &Places) -> anyhow::Result<Self> {
        let modules = places.peers.join("socketio/node_modules");
        ensure!(modules.is_dir(), "{} is missing: run deploy/deps/install bench", modules.display());
        let dir = places.fresh("socketio")?;
        let [redis, a, b, c] = process::free_ports()?;
        let nodes = vec![a, b, c];
        let mut servers = vec![
            Spec::new("redis", "redis-server", dir.path())
                .args(["--bind", "127.0.0.1", "--port", &redis.port().to_string(), "--save", "", "--appendonly", "no"])
                .arg("--dir")
                .arg(dir.path())
                .start()?,
        ];
        for (n, node) in nodes.iter().enumerate() {
            let ports = [node.port().to_string(), redis.port().to_string()];
            let script = places.scripts.join("socketio/server.js");
            let spec = Spec::new(&format!("node-{n}"), "node", dir.path()).arg(script).args(ports);
            servers.push(spec.env("NODE_PATH", &modules).env("NODE_ENV", "production").start()?);
        }
        let found = nodes.clone();
        process::until("socket.io answers", &mut servers, || async {
            for node in &found {
                connect(*node).await?;
            }
            anyhow::Ok(())
        })
        .await?;
        Ok(Self { servers, nodes, _dir: dir })
    }

    fn node(&self, n: usize) -> anyhow::Result<SocketAddr> {
        self.nodes.get(n % NODES).copied().context("no such node")
    }

    pub(crate) async fn room(&self, board: Arc<Board>) -> anyhow::Result<Room> {
        let room = format!("room-{}", crate::payload::next());
        let mut tasks = Tasks::default();
        for n in 0..board.members() {
            let mut socket = connect(self.node(n)?).await?;
            join(&mut socket, &room).await?;
            tasks.spawn(follow(socket, n, board.clone()));
        }
        let (say, said) = mpsc::channel(WAITING);
        tasks.spawn(send(connect(self.node(0)?).await?, room, said, board.clone()));
        Ok(Room { board, say, _tasks: tasks })
    }

    pub(crate) async fn idle(&self, count: usize) -> anyhow::Result<Idle> {
        let held = futures::stream::iter(0..count)
            .map(|n| async move { anyhow::Ok(Box::new(connect(self.node(n)?).await?) as Box<dyn Any + Send>) })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(Idle::new(held))
    }
}

/// Opens a WebSocket, and goes through the greetings of Engine.IO (protocol 4) and Socket.IO (protocol 5).
async fn connect(node: SocketAddr) -> anyhow::Result<Socket> {
    let url = format!("ws://{node}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) = connect_async_with_config(url, None, true).await.context("cannot connect")?;
    expect(&mut socket, "0").await?;
    socket.send(Message::text("40")).await?;
    expect(&mut socket, "40").await?;
    Ok(socket)
}

async fn join(socket: &mut Socket, room: &str) -> anyhow::Result<()> {
    socket.send(Message::text(format!(r#"421["join","{room}"]"#))).await?;
    expect(socket, "431").await
}

/// Reads up to a packet that begins with `begin`.
async fn expect(socket: &mut Socket, begin: &str) -> anyhow::Result<()> {
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
async fn pong(socket: &mut Socket, text: &str) -> anyhow::Result<()> {
    if text == "2" {
        socket.send(Message::text("3")).await?;
    }
    Ok(())
}

async fn follow(mut socket: Socket, n: usize, board: Arc<Board>) {
    let followed = async {
        while let Some(message) = socket.next().await {
            if let Message::Text(text) = message? {
                board.received(n, text.as_bytes());
                pong(&mut socket, &text).await?;
            }
        }
        anyhow::Ok(())
    };
    match followed.await {
        Ok(()) => board.fail("a member", &"the connection ended"),
        Err(error) => board.fail("a member", &error),
    }
}

async fn send(mut socket: Socket, room: String, mut said: mpsc::Receiver<u64>, board: Arc<Board>) {
    let sent = async {
        loop {
            tokio::select! {
                number = said.recv() => {
                    let Some(number) = number else { return anyhow::Ok(()) };
                    let text = crate::payload::text(number);
                    socket.send(Message::text(format!(r#"42["post","{room}","{text}"]"#))).await?;
                }
                message = socket.next() => {
                    if let Message::Text(text) = message.context("the connection ended")?? {
                        pong(&mut socket, &text).await?;
                    }
                }
            }
        }
    };
    if let Err(error) = sent.await {
        board.fail("the sender", &error);
    }
}
