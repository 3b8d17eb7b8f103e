//! Record of a run: what was asked, promised and seen. The checker looks at nothing else.

use crate::position::EventPosition;
use serde::Serialize;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// Identifier of a message across writers and readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MessageId {
    /// Number of the writer that sent the message.
    pub writer: u32,
    /// Number of the message among those of its writer, from 0.
    pub seq: u32,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.writer, self.seq)
    }
}

/// Outcome of a message, as far as its writer was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageOutcome {
    /// The cluster promised that the message is there.
    Acknowledged {
        /// Time at which the writer learned it, in microseconds since the start of the run, by the monotonic clock.
        at_us: u64,
        /// Position of the message, as acknowledged.
        position: EventPosition,
        /// Event id of the message, as acknowledged.
        event_id: Box<str>,
    },
    /// The cluster promised that the message is not there.
    Refused,
    /// The cluster promised nothing: the message may be there once, or not.
    Unknown,
}

/// One message that a writer issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedMessage {
    /// Identifier of the message.
    pub id: MessageId,
    /// Index of the room in the run.
    pub room: u16,
    /// Time at which its first attempt began, in microseconds since the start of the run, by the monotonic clock.
    pub invoked_us: u64,
    /// Outcome of the message.
    pub fate: MessageOutcome,
}

/// One message as a reader or a scan met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenMessage {
    /// Identifier of the message, from its content.
    pub id: MessageId,
    /// Index of the room that the message was in.
    pub room: u16,
    /// Position at which the message stood.
    pub position: EventPosition,
    /// Key of the event id; see [`event_key`].
    pub event: u64,
}

/// Messages that one reader, or one scan of one server, met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Name of the observer: "reader 0", "history of a:7400".
    pub name: String,
    /// Messages in the order in which they were met.
    pub seen: Vec<SeenMessage>,
}

/// One linearizable read of a room's newest messages, as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRead {
    /// Address of the server that answered.
    pub server: Arc<str>,
    /// Index of the room in the run.
    pub room: u16,
    /// Time at which the read began, in microseconds since the start of the run, by the monotonic clock.
    pub invoked_us: u64,
    /// Time at which its answer was there, by the same clock.
    pub ended_us: u64,
    /// Messages in the answer, as the server ordered them, oldest first.
    pub page: Vec<SeenMessage>,
    /// `true` if the answer reached back to the room's first event.
    pub whole: bool,
}

/// Record of a whole run.
#[derive(Debug, Clone, Default)]
pub struct RunHistory {
    /// Every message that was issued.
    pub messages: Vec<IssuedMessage>,
    /// Observations of every reader and scan.
    pub observations: Vec<Observation>,
    /// Writers whose messages went over one stream in the order of their numbers and were never put back by a refusal:
    /// for them, that order is promised.
    pub in_order: BTreeSet<u32>,
    /// Every linearizable read that was answered.
    pub reads: Vec<RecordedRead>,
}

/// Returns a number that stands for an event id, so that an observation needs no text (FNV-1a, 64 bits). Two ids of one
/// run that share a number are less likely than a wrong bit in memory.
#[must_use]
pub fn event_key(event_id: &str) -> u64 {
    event_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
