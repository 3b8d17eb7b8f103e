//! What was asked, promised and seen: all that the checker looks at.

use crate::position::Position;
use serde::Serialize;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// Names a message across writers and readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MessageId {
    /// Which writer sent it.
    pub writer: u32,
    /// Its number among that writer's, from 0.
    pub seq: u32,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.writer, self.seq)
    }
}

/// What became of a message, as far as its writer was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The cluster promised that it is there.
    Acknowledged {
        /// When the writer learned it: microseconds since the start of the run, by the monotonic clock.
        at_us: u64,
        /// Where it is.
        position: Position,
        /// Its name.
        event_id: Box<str>,
    },
    /// The cluster promised that it is not there.
    Refused,
    /// No promise: it may be there once, or not.
    Unknown,
}

/// One message that a writer issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// Index of the room.
    pub room: u16,
    /// When its first attempt began: microseconds since the start of the run, by the monotonic clock.
    pub invoked_us: u64,
    /// What became of it.
    pub fate: Fate,
}

/// One message as a reader or a scan met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its name, from its content.
    pub id: MessageId,
    /// Index of the room that it was in.
    pub room: u16,
    /// Where it stood.
    pub position: Position,
    /// [`event_key`] of its event id.
    pub event: u64,
}

/// All that one reader, or one scan of one server, met: in the order in which it met it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Who: "reader 0", "history of a:7400".
    pub name: String,
    /// What.
    pub seen: Vec<Seen>,
}

/// One linearizable read of a room's newest messages, as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which server answered.
    pub server: Arc<str>,
    /// Index of the room.
    pub room: u16,
    /// When it began: microseconds since the start of the run, by the monotonic clock.
    pub invoked_us: u64,
    /// When its answer was there, by the same clock.
    pub ended_us: u64,
    /// The messages in it, as the server ordered them, oldest first.
    pub page: Vec<Seen>,
    /// Whether it reached back to the room's first event.
    pub whole: bool,
}

/// A whole run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Every message issued.
    pub messages: Vec<Message>,
    /// Every reader and scan.
    pub observations: Vec<Observation>,
    /// Writers whose messages went over one stream, in the order of their numbers, and were never put back by a refusal:
    /// that order is promised.
    pub in_order: BTreeSet<u32>,
    /// Every linearizable read that was answered.
    pub reads: Vec<Read>,
}

/// A number that stands for an event id, so that an observation costs no text (FNV-1a, 64 bits): two ids of one run
/// that share a number are less likely than a wrong bit in memory.
#[must_use]
pub fn event_key(event_id: &str) -> u64 {
    event_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
