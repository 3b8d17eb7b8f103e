//! A crowd: long polls of `/sync`, each over a connection of its own, of users who are all in one room; and a writer in
//! another room.

use super::client::{BenchUser, message_request};
use super::{NODES, QuorateCluster, QuorateNode};
use crate::load::crowd::CrowdBoard;
use crate::load::tasks::TaskGroup;
use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use quorate_wire::chat::v1::create_room_request::Preset;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Number of users of the crowd, who share the polls: a password hash for each poll would take minutes.
const USERS: usize = 100;
/// Number of connections that are opened at once.
const AT_ONCE: usize = 32;
/// Time that a poll waits, in milliseconds: longer than a measurement.
const WAIT_MS: u32 = 60_000;
/// Messages per second in the other room.
const ELSEWHERE: f64 = 100.0;
/// Longest time for one message to reach the crowd.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between the end of a round and the beginning of the next, so that all polls are parked.
const PAUSE: Duration = Duration::from_secs(1);

/// A crowd of parked polls.
pub(crate) struct PollCrowd {
    pub(crate) board: Arc<CrowdBoard>,
    room: String,
    user: BenchUser,
    leader: usize,
    _tasks: TaskGroup,
    /// Sender that ends the writer when it is dropped.
    _elsewhere: oneshot::Sender<()>,
}

impl QuorateCluster {
    /// Opens `polls` long polls, spread over all nodes.
    ///
    /// # Errors
    /// Fails if a request is refused.
    pub(crate) async fn crowd(&self, polls: usize) -> anyhow::Result<PollCrowd> {
        let room = self.user.create_room(0, Preset::Public, "crowd").await?;
        let users = self.members(USERS.min(polls), &room).await?;
        let board = Arc::new(CrowdBoard::new(polls)?);
        let mut tasks = TaskGroup::default();
        let opened: Vec<_> = futures::stream::iter(0..polls)
            .map(|n| {
                let user = users.get(n % users.len().max(1));
                async move { self.poll(n, user.context("there is no user")?).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for mut poll in opened {
            let board = board.clone();
            tasks.spawn(async move {
                if let Err(error) = poll.follow(&board).await {
                    board.fail("a poll", &error);
                }
            });
        }
        let leader = self.leader().await?;
        let writer = OtherRoomWriter { nodes: self.nodes.clone(), leader, board: board.clone() };
        let elsewhere = writer.start()?;
        Ok(PollCrowd { board, room, user: self.user.clone(), leader, _tasks: tasks, _elsewhere: elsewhere })
    }

    async fn poll(&self, n: usize, user: &BenchUser) -> anyhow::Result<LongPoll> {
        let node = self.nodes.get(n / USERS % NODES).context("no such node")?;
        let stream = TcpStream::connect(node.http).await.context("cannot connect to the Matrix API")?;
        let mut poll = LongPoll {
            stream: BufStream::with_capacity(4096, 512, stream),
            address: node.http,
            bearer: user.bearer.clone(),
            since: String::new(),
            body: Vec::new(),
        };
        poll.ask(0).await?;
        poll.answer().await?;
        Ok(poll)
    }
}

impl PollCrowd {
    /// Sends one message to the crowd, and returns when everybody has it.
    ///
    /// # Errors
    /// Fails if not everybody has received it in time.
    pub(crate) async fn round(&self) -> anyhow::Result<()> {
        self.until(CrowdBoard::all_ask).await.context("not all polls were renewed")?;
        tokio::time::sleep(PAUSE).await;
        let number = crate::payload::next_number();
        self.board.begin(number, Instant::now());
        let mut client = self.user.client(self.leader)?;
        client
            .send(self.user.asks(message_request(&self.room, number)))
            .await
            .context("cannot send the message to the crowd")?;
        let reached = self.until(CrowdBoard::all_received).await;
        reached.with_context(|| format!("only {} polls received the message", self.board.received()))
    }

    async fn until(&self, holds: impl Fn(&CrowdBoard) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.board) {
            self.board.check()?;
            ensure!(Instant::now() < deadline, "timed out after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Writer in another room, on a thread and over connections of its own: what the polls cost the load generator must not
/// be mistaken for what the server makes the writer wait.
struct OtherRoomWriter {
    nodes: Vec<QuorateNode>,
    leader: usize,
    board: Arc<CrowdBoard>,
}

impl OtherRoomWriter {
    fn start(self) -> anyhow::Result<oneshot::Sender<()>> {
        let (ends, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
        let writes = move || {
            let failure = runtime.block_on(async {
                tokio::select! {
                    written = self.write() => written.err(),
                    _ = ended => None,
                }
            });
            if let Some(error) = failure {
                self.board.fail("the writer in the other room", &error);
            }
        };
        std::thread::Builder::new().name("elsewhere".into()).spawn(writes).context("cannot start a thread")?;
        Ok(ends)
    }

    async fn write(&self) -> anyhow::Result<()> {
        let user = BenchUser::register(&self.nodes, self.leader, "elsewhere").await?;
        let room = user.create_room(self.leader, Preset::Private, "elsewhere").await?;
        let mut client = user.client(self.leader)?;
        let every = Duration::from_secs_f64(1.0 / ELSEWHERE);
        let mut due = Instant::now();
        loop {
            tokio::time::sleep_until(due.into()).await;
            client.send(user.asks(message_request(&room, crate::payload::next_number()))).await?;
            self.board.acknowledged(due);
            due += every;
        }
    }
}

struct LongPoll {
    stream: BufStream<TcpStream>,
    address: SocketAddr,
    bearer: String,
    since: String,
    body: Vec<u8>,
}

impl LongPoll {
    async fn follow(&mut self, board: &CrowdBoard) -> anyhow::Result<()> {
        loop {
            self.ask(WAIT_MS).await?;
            board.asked();
            self.answer().await?;
            board.answered(&self.body);
        }
    }

    async fn ask(&mut self, timeout: u32) -> anyhow::Result<()> {
        let Self { address, bearer, since, .. } = self;
        let since = if since.is_empty() { String::new() } else { format!("&since={since}") };
        let request = format!(
            "GET /_matrix/client/v3/sync?timeout={timeout}{since} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: {bearer}\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads an answer, and the token from which the next poll goes on.
    async fn answer(&mut self) -> anyhow::Result<()> {
        let mut line = String::new();
        let mut status = String::new();
        let mut length = 0;
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line).await? > 0, "the connection was closed");
            let head = line.trim_end();
            if head.is_empty() {
                break;
            }
            if status.is_empty() {
                status = head.to_owned();
            }
            if let Some((name, value)) = head.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().context("invalid Content-Length")?;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).await?;
        if !status.contains(" 200 ") {
            bail!("{status}: {}", String::from_utf8_lossy(&self.body));
        }
        let text = String::from_utf8_lossy(&self.body);
        let (_, behind) = text.split_once(r#""next_batch":""#).context("/sync response without next_batch")?;
        self.since = behind.split('"').next().unwrap_or_default().to_owned();
        Ok(())
    }
}
