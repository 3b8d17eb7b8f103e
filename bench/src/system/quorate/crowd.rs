//! A crowd: long polls of `/sync`, each over a connection of its own, of users who are all in one room; and a writer in
//! another room.

use super::client::{BenchUser, message_request};
use super::{NODES, QuorateCluster, QuorateNode};
use crate::load::crowd::CrowdBoard;
use crate::load::tasks::TaskGroup;
use crate::matrix::http::HttpConnection;
use crate::matrix::poll::LongPoll;
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use quorate_wire::chat::v1::create_room_request::Preset;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    nodes: Vec<QuorateNode>,
    leader: usize,
    /// Sender of the messages.
    user: BenchUser,
    room: String,
    /// Users of the polls.
    users: Vec<BenchUser>,
    tasks: TaskGroup,
}

impl QuorateCluster {
    /// Gathers the users of a crowd of `polls` long polls in a room; none of the polls is open yet.
    ///
    /// # Errors
    /// Fails if a request is refused.
    pub(crate) async fn crowd(&self, polls: usize) -> anyhow::Result<PollCrowd> {
        let room = self.user.create_room(0, Preset::Public, "crowd").await?;
        let users = self.members(USERS.min(polls), &room).await?;
        Ok(PollCrowd {
            board: Arc::new(CrowdBoard::new(polls)?),
            nodes: self.nodes.clone(),
            leader: self.leader().await?,
            user: self.user.clone(),
            room,
            users,
            tasks: TaskGroup::default(),
        })
    }
}

impl PollCrowd {
    /// Opens polls by their numbers, spread over all nodes, and returns when they wait; those before them are open.
    ///
    /// # Errors
    /// Fails if a request is refused.
    pub(crate) async fn park(&mut self, polls: Range<usize>) -> anyhow::Result<()> {
        let open = polls.end as u64;
        let crowd = &*self;
        let begun: Vec<_> =
            futures::stream::iter(polls).map(|n| crowd.begin(n)).buffer_unordered(AT_ONCE).try_collect().await?;
        for poll in begun {
            let board = self.board.clone();
            self.tasks.spawn(async move {
                if let Err(error) = follow(poll, &board).await {
                    board.fail("a poll", &error);
                }
            });
        }
        self.until(|board| board.asking() >= open).await.context("not all polls were sent")
    }

    async fn begin(&self, n: usize) -> anyhow::Result<LongPoll> {
        let node = self.nodes.get(n / USERS % NODES).context("no such node")?;
        let user = self.users.get(n % self.users.len().max(1)).context("there is no user")?;
        LongPoll::begin(HttpConnection::open(node.http, &user.bearer).await?).await
    }

    /// Waits until every poll is parked.
    ///
    /// # Errors
    /// Fails if a poll has failed, or was not renewed in time.
    pub(crate) async fn all_parked(&self) -> anyhow::Result<()> {
        self.until(CrowdBoard::all_ask).await.context("not all polls were renewed")?;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    /// Starts a writer in another room, who writes until what is returned is dropped.
    ///
    /// # Errors
    /// Fails if no thread can be started.
    pub(crate) fn write_elsewhere(&self) -> anyhow::Result<oneshot::Sender<()>> {
        OtherRoomWriter { nodes: self.nodes.clone(), leader: self.leader, board: self.board.clone() }.start()
    }

    /// Sends one message to the crowd, and returns when everybody has it.
    ///
    /// # Errors
    /// Fails if not everybody has received it in time.
    pub(crate) async fn round(&self) -> anyhow::Result<()> {
        self.all_parked().await?;
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
        let name = format!("elsewhere-{}", crate::payload::next_number());
        let user = BenchUser::register(&self.nodes, self.leader, &name).await?;
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

async fn follow(mut poll: LongPoll, board: &CrowdBoard) -> anyhow::Result<()> {
    loop {
        poll.ask(WAIT_MS).await?;
        board.asked();
        board.answered(poll.answer().await?);
    }
}
