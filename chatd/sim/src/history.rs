//! What was done and promised, as clients and leaders saw it: what the invariants judge by.

use crate::world::Time;
use crate::world::net::HostId;
use openraft::EntryPayload;
use openraft::raft::AppendEntriesRequest;
use quorate_chatd::raft::types::{EncodedBatch, LogId, TypeConfig};
use quorate_core::id::Position;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// Term and node of a leader, or of a vote: openraft orders two candidates of one term by their ids.
pub type Ballot = (u64, u64);

/// A message or a piece of state that a client wanted to send, by a key that stands in it.
#[derive(Clone, Debug)]
pub struct Send {
    /// Which room.
    pub room: usize,
    /// When the first attempt began.
    pub invoked: Time,
    /// When the first answer came; `None`: it may be there or not.
    pub acknowledged: Option<Time>,
    /// Where it stands, by each answer; more than one when it was sent again.
    pub answers: Vec<Position>,
    /// How often it was sent.
    pub attempts: u32,
}

/// A read of the newest events of a room.
#[derive(Clone, Debug)]
pub struct ReadOf {
    /// Whose: it shows what its user may see.
    pub user: &'static str,
    /// Which room.
    pub room: usize,
    /// When it began.
    pub invoked: Time,
    /// When the answer came.
    pub answered: Time,
    /// It promised to see all that was acknowledged before.
    pub linearizable: bool,
    /// The newest events, newest first.
    pub newest: Vec<Position>,
}

/// The state of a room at one of its events, as somebody was shown it once.
#[derive(Clone, Debug)]
pub struct StateAt {
    /// Which room.
    pub room: usize,
    /// After which event.
    pub at: Position,
    /// Type, state key and event of each.
    pub state: Vec<(String, String, Position)>,
}

/// What one subscriber was given, over all its connections.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Who.
    pub user: &'static str,
    /// Where it began.
    pub from: Position,
    /// Everything up to here was given.
    pub cursor: Position,
    /// The events, in the order in which they came.
    pub seen: Vec<Position>,
    /// How often it connected.
    pub connections: u32,
}

/// A pod began to lead, or leads no more.
#[derive(Clone, Debug)]
pub struct Turn {
    /// When it knew.
    pub at: Time,
    /// On which machine.
    pub host: HostId,
    /// The term that it leads.
    pub term: Option<u64>,
}

/// An entry, as it came to a follower.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The one before it.
    pub before: Option<LogId>,
    /// Its commands, if it has any.
    pub batch: Option<EncodedBatch>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Record {
    /// Who said that it led, by term and node: in which lives of its process.
    pub leaders: BTreeMap<Ballot, BTreeSet<u64>>,
    /// Every entry that a leader sent to anybody, and so every one that can be committed.
    pub appended: BTreeMap<LogId, Appended>,
    /// In order of time.
    pub turns: Vec<Turn>,
    /// By key.
    pub sends: BTreeMap<String, Send>,
    /// By user: the keys of what went over streams, in the order in which it was given.
    pub streamed: BTreeMap<&'static str, Vec<String>>,
    /// In order of the answers.
    pub reads: Vec<ReadOf>,
    /// In order of the answers.
    pub states: Vec<StateAt>,
    /// By user.
    pub followed: BTreeMap<&'static str, Followed>,
    /// The ids of the rooms.
    pub rooms: Vec<String>,
    /// Answers that no client should get.
    pub surprises: Vec<String>,
    /// Clients that have not finished.
    pub working: usize,
    /// Changes of the membership that succeeded.
    pub member_changes: u32,
    /// Hand-overs that succeeded.
    pub transfers: u32,
    /// Snapshots taken on request.
    pub snapshots: u32,
}

/// A handle to the record.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Record>>);

impl History {
    /// The record.
    ///
    /// # Panics
    /// When somebody panicked who held it.
    pub fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap()
    }

    /// This node says that it leads.
    pub(crate) fn led(&self, ballot: Ballot, life: u64) {
        self.lock().leaders.entry(ballot).or_default().insert(life);
    }

    /// These entries came to a follower.
    pub(crate) fn appended(&self, request: &AppendEntriesRequest<TypeConfig>) {
        let (mut record, mut before) = (self.lock(), request.prev_log_id);
        for entry in &request.entries {
            let batch = match &entry.payload {
                EntryPayload::Normal(batch) => Some(batch.clone()),
                _ => None,
            };
            record.appended.entry(entry.log_id).or_insert(Appended { before, batch });
            before = Some(entry.log_id);
        }
    }

    /// This pod leads this term from now on, or none.
    pub(crate) fn turned(&self, turn: Turn) {
        self.lock().turns.push(turn);
    }
}
