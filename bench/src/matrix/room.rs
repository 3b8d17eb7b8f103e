//! A room whose members are users of a homeserver: who sends, and who follows by long polls.

use super::API;
use super::http::HttpConnection;
use super::poll::LongPoll;
use super::user::MatrixUser;
use crate::load::members::DeliveryBoard;
use crate::load::post::PostCaller;
use crate::load::room::{RoomUnderLoad, WAITING};
use crate::load::tasks::TaskGroup;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Time that a poll waits, in milliseconds, as clients usually have it.
const WAIT_MS: u32 = 30_000;

/// A room, and its members, spread over the addresses of the homeserver.
#[derive(Debug)]
pub(crate) struct MatrixRoom {
    id: String,
    members: Vec<MatrixUser>,
}

impl MatrixRoom {
    /// Registers users, the first of whom creates a room that the others join.
    ///
    /// # Errors
    /// Fails if the homeserver refuses.
    pub(crate) async fn open(servers: &[SocketAddr], members: usize) -> anyhow::Result<Self> {
        let mut room = Self { id: String::new(), members: Vec::with_capacity(members) };
        for server in servers.iter().cycle().take(members) {
            let user = MatrixUser::register(*server).await?;
            if room.id.is_empty() {
                room.id = user.create_room("public_chat").await?;
            } else {
                user.join(&room.id).await?;
            }
            room.members.push(user);
        }
        Ok(room)
    }

    /// Connects senders, who take turns in being one of the members.
    ///
    /// # Errors
    /// Fails if nobody listens.
    pub(crate) async fn senders(&self, count: usize) -> anyhow::Result<Vec<MessageSender>> {
        let mut senders = Vec::with_capacity(count);
        for member in self.members.iter().cycle().take(count) {
            senders.push(MessageSender::new(member.connect().await?, &self.id));
        }
        Ok(senders)
    }

    /// Makes all members follow the room by long polls, and the first one ready to send.
    ///
    /// # Errors
    /// Fails if a member cannot sync.
    pub(crate) async fn follow(&self) -> anyhow::Result<RoomUnderLoad> {
        let board = DeliveryBoard::new(self.members.len())?;
        let mut tasks = TaskGroup::default();
        for (n, member) in self.members.iter().enumerate() {
            let poll = LongPoll::begin(member.connect().await?).await?;
            let board = board.clone();
            tasks.spawn(async move {
                if let Err(error) = record_deliveries(poll, n, &board).await {
                    board.fail("a member", &error);
                }
            });
        }
        let sender = self.senders(1).await?.pop().context("nobody is in the room")?;
        let (say, said) = mpsc::channel(WAITING);
        tasks.spawn(send_messages(sender, said, board.clone()));
        Ok(RoomUnderLoad { board, say, _tasks: tasks })
    }
}

async fn record_deliveries(mut poll: LongPoll, n: usize, board: &DeliveryBoard) -> anyhow::Result<()> {
    loop {
        poll.ask(WAIT_MS).await?;
        board.received_all(n, poll.answer().await?);
    }
}

async fn send_messages(mut sender: MessageSender, mut said: mpsc::Receiver<u64>, board: Arc<DeliveryBoard>) {
    while let Some(number) = said.recv().await {
        if let Err(error) = sender.post(number).await {
            return board.fail("the sender", &error);
        }
    }
}

/// A connection over which messages are sent to a room.
#[derive(Debug)]
pub(crate) struct MessageSender {
    connection: HttpConnection,
    room: String,
}

impl MessageSender {
    pub(super) fn new(connection: HttpConnection, room: &str) -> Self {
        Self { connection, room: room.to_owned() }
    }
}

impl PostCaller for MessageSender {
    async fn post(&mut self, number: u64) -> anyhow::Result<()> {
        let path = format!("{API}/rooms/{}/send/m.room.message/{number}", self.room);
        self.connection.call("PUT", &path, &crate::payload::message_json(number)).await?;
        Ok(())
    }
}
