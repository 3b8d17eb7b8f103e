//! A user alone in a number of rooms: what a sync costs, of all of them, and of the one that has a new message.

use super::poll::LongPoll;
use super::room::MessageSender;
use super::user::MatrixUser;
use crate::load::post::PostCaller as _;
use crate::payload;
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Number of rooms that are created at once.
const AT_ONCE: usize = 8;
/// Number of rooms that get messages in turn: as many, however many there are beside them.
const BUSY_ROOMS: usize = 10;
/// Time that a sync may wait for the message that was sent before it, in milliseconds: the homeserver that has
/// acknowledged it need not be the one that is asked.
const WAIT_MS: u32 = 10_000;

/// A user who has created rooms.
#[derive(Debug)]
pub(crate) struct RoomOwner {
    user: MatrixUser,
    rooms: Vec<String>,
}

/// A sync that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimedSync {
    /// A first sync, up to its last room.
    First,
    /// The sync behind a message to one of a few rooms, each time to another.
    AfterMessage,
}

impl RoomOwner {
    /// Registers a user, and creates the rooms.
    ///
    /// # Errors
    /// Fails if the homeserver refuses.
    pub(crate) async fn create(server: SocketAddr, rooms: usize) -> anyhow::Result<Self> {
        let user = MatrixUser::register(server).await?;
        let owner = &user;
        let rooms: Vec<_> = futures::stream::iter(0..rooms)
            .map(|_| owner.create_room("private_chat"))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self { user, rooms })
    }

    /// Connects the user, and makes a first sync that has all rooms.
    ///
    /// # Errors
    /// Fails if a room is missing.
    pub(crate) async fn sync(&self) -> anyhow::Result<OwnerSync> {
        let mut poll = LongPoll::new(self.user.connect().await?);
        let mut parts = 0;
        let mut told = 0;
        while told < self.rooms.len() {
            poll.ask(0).await?;
            let rooms = count_rooms(poll.answer().await?)?;
            ensure!(rooms > 0, "a first sync has {told} of {} rooms", self.rooms.len());
            told += rooms;
            parts += 1;
        }
        let mut senders = Vec::with_capacity(BUSY_ROOMS);
        for room in self.rooms.iter().take(BUSY_ROOMS) {
            senders.push(MessageSender::new(self.user.connect().await?, room));
        }
        Ok(OwnerSync { poll, parts, senders, turn: 0 })
    }
}

/// A connected [`RoomOwner`].
#[derive(Debug)]
pub(crate) struct OwnerSync {
    poll: LongPoll,
    /// Number of answers of which a first sync consists: a homeserver may tell many rooms in parts.
    parts: usize,
    senders: Vec<MessageSender>,
    turn: usize,
}

impl OwnerSync {
    /// Syncs once, and returns how long that took.
    ///
    /// # Errors
    /// Fails if the homeserver refuses.
    pub(crate) async fn timed(&mut self, sync: TimedSync) -> anyhow::Result<Duration> {
        match sync {
            TimedSync::First => self.first().await,
            TimedSync::AfterMessage => self.after_message().await,
        }
    }

    async fn first(&mut self) -> anyhow::Result<Duration> {
        self.poll.forget();
        let begun = Instant::now();
        for _ in 0..self.parts {
            self.poll.ask(0).await?;
            self.poll.answer().await?;
        }
        Ok(begun.elapsed())
    }

    async fn after_message(&mut self) -> anyhow::Result<Duration> {
        let turn = self.turn % self.senders.len().max(1);
        let number = payload::next_number();
        self.senders.get_mut(turn).context("there is no room")?.post(number).await?;
        self.turn += 1;
        let begun = Instant::now();
        loop {
            self.poll.ask(WAIT_MS).await?;
            if payload::find_numbers(self.poll.answer().await?).any(|found| found == number) {
                return Ok(begun.elapsed());
            }
        }
    }
}

/// Returns the number of joined rooms in the answer to a sync.
fn count_rooms(body: &[u8]) -> anyhow::Result<usize> {
    let answer: Value = serde_json::from_slice(body).context("the answer is not JSON")?;
    Ok(answer.pointer("/rooms/join").and_then(Value::as_object).map_or(0, serde_json::Map::len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_rooms_are_counted_and_none_are_zero() {
        let body = br#"{"next_batch":"s","rooms":{"join":{"!a":{},"!b":{}},"leave":{"!c":{}}}}"#;
        assert_eq!(count_rooms(body).unwrap(), 2);
        assert_eq!(count_rooms(br#"{"next_batch":"s"}"#).unwrap(), 0);
        assert!(count_rooms(b"<html>").is_err());
    }
}
