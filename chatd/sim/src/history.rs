//! Record of what was done and promised, as clients and leaders saw it: the evidence by which the invariants judge.

use crate::world::SimTime;
use crate::world::net::HostId;
use openraft::EntryPayload;
use openraft::raft::AppendEntriesRequest;
use quorate_chatd::raft::types::{EncodedBatch, LogId, TypeConfig};
use quorate_core::id::Position;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// Term and node id of a leader, or of a vote: openraft orders two candidates of one term by their ids.
pub type TermAndNode = (u64, u64);

/// A message or a piece of state that a client wanted to send, known by a key that its content carries.
#[derive(Clone, Debug)]
pub struct ClientSend {
    /// Index of the room in [`HistoryRecord::rooms`].
    pub room: usize,
    /// Time at which the first attempt began.
    pub invoked: SimTime,
    /// Time of the first answer. If `None`, the outcome is unknown: the event may be there or not.
    pub acknowledged: Option<SimTime>,
    /// Positions that the answers gave; more than one if it was sent again.
    pub answers: Vec<Position>,
    /// Number of times that it was sent.
    pub attempts: u32,
}

/// A read of the newest events of a room.
#[derive(Clone, Debug)]
pub struct ReadOf {
    /// User who reads; the answer shows what this user may see.
    pub user: &'static str,
    /// Index of the room in [`HistoryRecord::rooms`].
    pub room: usize,
    /// Time at which the read began.
    pub invoked: SimTime,
    /// Time at which the answer came.
    pub answered: SimTime,
    /// `true` if the answer promised to show all that was acknowledged before the read began.
    pub linearizable: bool,
    /// Positions of the newest events, newest first.
    pub newest: Vec<Position>,
}

/// State of a room at one of its events, as a client was shown it once.
#[derive(Clone, Debug)]
pub struct StateAt {
    /// Index of the room in [`HistoryRecord::rooms`].
    pub room: usize,
    /// Position of the event after which the state holds.
    pub at: Position,
    /// Type, state key and position of each event of the state.
    pub state: Vec<(String, String, Position)>,
}

/// Events that one subscriber was given over all its connections.
#[derive(Clone, Debug)]
pub struct SubscriberHistory {
    /// User who subscribes to the events.
    pub user: &'static str,
    /// Position after which the subscription began.
    pub from: Position,
    /// Position up to which everything was given.
    pub cursor: Position,
    /// Positions of the events, in the order in which they came.
    pub seen: Vec<Position>,
    /// Number of connections that were made.
    pub connections: u32,
}

/// A change of leadership: a pod began to lead, or leads no more.
#[derive(Clone, Debug)]
pub struct LeadershipChange {
    /// Time at which the pod learned of it.
    pub at: SimTime,
    /// Machine that runs the pod.
    pub host: HostId,
    /// Term that the pod leads, or `None` if it leads no more.
    pub term: Option<u64>,
}

/// A log entry as it came to a follower.
#[derive(Clone, Debug)]
pub struct AppendedEntry {
    /// Id of the entry before it, or `None` if it is the first.
    pub before: Option<LogId>,
    /// Commands of the entry, or `None` if it has none.
    pub batch: Option<EncodedBatch>,
}

/// Everything that is recorded during a simulation.
#[derive(Debug, Default)]
pub struct HistoryRecord {
    /// Process lives in which a node claimed to lead, by term and node id.
    pub leaders: BTreeMap<TermAndNode, BTreeSet<u64>>,
    /// Every entry that a leader sent to anybody, and so every one that can be committed.
    pub appended: BTreeMap<LogId, AppendedEntry>,
    /// Changes of leadership, in order of time.
    pub turns: Vec<LeadershipChange>,
    /// Messages and state that clients wanted to send, by key.
    pub sends: BTreeMap<String, ClientSend>,
    /// Keys of the messages that went over streams, by user, in the order in which the user gave them.
    pub streamed: BTreeMap<&'static str, Vec<String>>,
    /// Reads, in order of their answers.
    pub reads: Vec<ReadOf>,
    /// States that clients were shown, in order of the answers.
    pub states: Vec<StateAt>,
    /// Events given to subscribers, by user.
    pub followed: BTreeMap<&'static str, SubscriberHistory>,
    /// Ids of the rooms, in the order in which they were created.
    pub rooms: Vec<String>,
    /// Answers that no client should get.
    pub surprises: Vec<String>,
    /// Number of clients that have not finished.
    pub working: usize,
    /// Number of membership changes that succeeded.
    pub member_changes: u32,
    /// Number of leadership transfers that succeeded.
    pub transfers: u32,
    /// Number of snapshots taken on request.
    pub snapshots: u32,
}

/// A handle to the record; clones refer to the same one.
#[derive(Clone, Debug, Default)]
pub struct SharedHistory(Arc<Mutex<HistoryRecord>>);

impl SharedHistory {
    /// Locks the record.
    ///
    /// # Panics
    /// Panics if a holder of the lock has panicked.
    pub fn lock(&self) -> MutexGuard<'_, HistoryRecord> {
        self.0.lock().unwrap()
    }

    /// Records that a node claims to lead, in this life of its process.
    pub(crate) fn led(&self, ballot: TermAndNode, life: u64) {
        self.lock().leaders.entry(ballot).or_default().insert(life);
    }

    /// Records the entries that a request brings to a follower.
    pub(crate) fn appended(&self, request: &AppendEntriesRequest<TypeConfig>) {
        let mut record = self.lock();
        let mut before = request.prev_log_id;
        for entry in &request.entries {
            let batch = match &entry.payload {
                EntryPayload::Normal(batch) => Some(batch.clone()),
                _ => None,
            };
            record.appended.entry(entry.log_id).or_insert(AppendedEntry { before, batch });
            before = Some(entry.log_id);
        }
    }

    /// Records that a pod began to lead, or leads no more.
    pub(crate) fn turned(&self, turn: LeadershipChange) {
        self.lock().turns.push(turn);
    }
}
