//! Context of one command: the rows, its position in the log, and its caller.

use super::hints::ChangeHints;
use crate::auth::AuthDenial;
use crate::entry_events::EventRuns;
use crate::id::{self, ORDINALS_PER_COMMAND, Position, RoomNumber};
use crate::proto::log::{self, Reason, Rejected, TimeTrust, outcome};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::room_version::RoomVersion;
use crate::rows;
use crate::table::{self, ReadError, Table, TableRead, TableWrite, key};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Reason why a command goes no further.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The command is refused, which is an answer like any other.
    Rejected(Rejected),
    /// The state cannot be read, so that apply itself stops.
    Read(ReadError),
}

/// Result of one step of a command.
pub(super) type ApplyResult<T> = Result<T, CommandError>;

impl From<ReadError> for CommandError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<AuthDenial> for CommandError {
    fn from(denied: AuthDenial) -> Self {
        Self::Rejected(Rejected { reason: denied.reason.into(), message: denied.message })
    }
}

/// Refuses the command with this reason and message.
pub(super) fn refuse<T>(reason: Reason, message: impl Into<String>) -> ApplyResult<T> {
    Err(CommandError::Rejected(Rejected { reason: reason.into(), message: message.into() }))
}

/// Answer to an accepted command.
#[derive(Debug)]
pub(super) enum CommandAnswer {
    /// Answer of the command itself, and the event it is about if that is not the command's first.
    New(outcome::Kind, Option<Position>),
    /// Answer given when the command was applied before.
    Again(log::Outcome),
}

impl CommandAnswer {
    pub(super) fn done() -> Self {
        Self::New(outcome::Kind::Done(log::Done {}), None)
    }

    /// Returns an answer that was given before, as the rows themselves tell; `at` is its position.
    pub(super) fn again(kind: outcome::Kind, at: Position) -> Self {
        Self::Again(log::Outcome { position: Some(position_to_proto(at)), duplicate: true, kind: Some(kind) })
    }

    pub(super) fn into_outcome(self, first: Position) -> log::Outcome {
        match self {
            Self::New(kind, at) => log::Outcome {
                position: Some(position_to_proto(at.unwrap_or(first))),
                duplicate: false,
                kind: Some(kind),
            },
            Self::Again(outcome) => log::Outcome { duplicate: true, ..outcome },
        }
    }
}

/// Converts a position to the message that carries it.
pub(super) fn position_to_proto(position: Position) -> log::Position {
    log::Position { incarnation: position.incarnation, index: position.index, ordinal: position.ordinal }
}

/// Rows of rooms, shared by the commands of one entry. Most entries contain many messages to few rooms, and the row
/// with its power levels is the most expensive one to decode. The cache holds what the rows hold; it is cleared
/// whenever one of them is written or undone.
#[derive(Default)]
pub(super) struct RoomCache(RefCell<BTreeMap<RoomNumber, Rc<store::Room>>>);

impl RoomCache {
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    fn row(&self, rows: &dyn TableRead, number: RoomNumber) -> Result<Option<Rc<store::Room>>, ReadError> {
        if let Some(known) = self.0.borrow().get(&number) {
            return Ok(Some(Rc::clone(known)));
        }
        let row = rows::room_row(rows, number)?.map(Rc::new);
        if let Some(row) = &row {
            self.0.borrow_mut().insert(number, Rc::clone(row));
        }
        Ok(row)
    }
}

/// State that the commands of one entry share.
#[derive(Default)]
pub(super) struct EntryScope {
    rooms: RoomCache,
    /// Events that the entry has created so far. Their row is written once, after the last command.
    events: RefCell<EventRuns>,
}

impl EntryScope {
    /// Forgets what a refused command did, whose first position is given.
    pub(super) fn take_back(&self, first: Position, rooms_changed: bool) {
        self.events.borrow_mut().truncate(first.ordinal);
        if rooms_changed {
            self.rooms.clear();
        }
    }

    /// Writes the index of the entry's events.
    pub(super) fn write_index(&self, rows: &mut dyn TableWrite, entry: Position) {
        let events = self.events.borrow();
        if !events.is_empty() {
            rows.put(Table::EventRoom, key::entry_key(entry), events.encode());
        }
    }
}

/// Room that a command works on; [`ApplyContext::save_room`] writes its row back.
pub(super) struct RoomHandle {
    pub(super) number: RoomNumber,
    pub(super) id: String,
    pub(super) row: Rc<store::Room>,
    changed: bool,
}

/// Power levels of a new room before its first `m.room.power_levels` (which only its creator sends): all zero.
static NO_LEVELS: store::Levels = store::Levels {
    ban: 0,
    kick: 0,
    redact: 0,
    invite: 0,
    events_default: 0,
    state_default: 0,
    users_default: 0,
    users: Vec::new(),
    events: Vec::new(),
    creators: Vec::new(),
};

impl RoomHandle {
    /// Creates a room that has no row yet.
    pub(super) fn new(number: RoomNumber, id: String, row: store::Room) -> Self {
        Self { number, id, row: Rc::new(row), changed: true }
    }

    /// Returns the row for modification; it is written by [`ApplyContext::save_room`].
    pub(super) fn row_mut(&mut self) -> &mut store::Room {
        self.changed = true;
        Rc::make_mut(&mut self.row)
    }

    pub(super) fn version(&self) -> RoomVersion {
        RoomVersion::of_row(&self.row)
    }

    pub(super) fn levels(&self) -> &store::Levels {
        self.row.levels.as_ref().unwrap_or(&NO_LEVELS)
    }
}

/// Time with which the leader stamped an entry, and its trust in that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryStamp {
    pub(super) time_ms: u64,
    pub(super) trust: TimeTrust,
}

impl EntryStamp {
    pub(super) fn of(batch: &log::Batch) -> Self {
        Self { time_ms: batch.time_ms, trust: batch.time_trust() }
    }
}

/// Turn of a command: the changes that pass the turn on to the next command, whatever becomes of this one.
pub(super) struct SequenceTurn {
    pub(super) row: (Vec<u8>, store::Sequence),
    pub(super) replaces: Option<Vec<u8>>,
}

/// State of one command while it is applied.
pub(super) struct ApplyContext<'a> {
    pub(super) rows: &'a mut dyn TableWrite,
    pub(super) server_name: &'a str,
    pub(super) time_ms: u64,
    /// Stamp of the command's entry; `time_ms` is the log's time that resulted from it.
    pub(super) stamp: EntryStamp,
    /// Localpart of the caller; empty for commands without one.
    pub(super) user: &'a str,
    pub(super) device_id: &'a str,
    pub(super) transaction_id: &'a str,
    pub(super) first: Position,
    pub(super) touched: ChangeHints,
    /// `true` if the command closed the session that it came by.
    pub(super) ended_own_session: bool,
    /// Limits on what accounts may have, from the pod that received the command.
    pub(super) quotas: log::Quotas,
    /// Turn of the command in its sequence, passed on even if the command is refused.
    pub(super) turn: Option<SequenceTurn>,
    entry: &'a EntryScope,
    cluster: &'a store::Cluster,
    new_cluster: Option<store::Cluster>,
    events: u32,
}

impl<'a> ApplyContext<'a> {
    pub(super) fn new(
        rows: &'a mut dyn TableWrite,
        entry: &'a EntryScope,
        cluster: &'a store::Cluster,
        stamp: EntryStamp,
        first: Position,
        envelope: &'a log::Envelope,
    ) -> Self {
        Self {
            rows,
            server_name: &cluster.server_name,
            time_ms: cluster.time_ms,
            stamp,
            user: &envelope.user,
            device_id: &envelope.device_id,
            transaction_id: &envelope.transaction_id,
            first,
            touched: ChangeHints::default(),
            ended_own_session: false,
            quotas: envelope.quotas.unwrap_or_default(),
            turn: None,
            entry,
            cluster,
            new_cluster: None,
            events: 0,
        }
    }

    /// Returns what an accepted command leaves behind in addition to its rows: hints, and the cluster's row if it
    /// changed.
    pub(super) fn finish(self) -> (ChangeHints, Option<store::Cluster>) {
        (self.touched, self.new_cluster)
    }

    /// Takes a step as another user, without a session: the events are that user's own.
    pub(super) fn as_user<T>(
        &mut self,
        user: &str,
        step: impl FnOnce(&mut ApplyContext<'_>) -> ApplyResult<T>,
    ) -> ApplyResult<T> {
        self.as_device(user, "", step)
    }

    /// Takes a step for a device, whether or not it has a session.
    pub(super) fn as_device<T>(
        &mut self,
        user: &str,
        device_id: &str,
        step: impl FnOnce(&mut ApplyContext<'_>) -> ApplyResult<T>,
    ) -> ApplyResult<T> {
        let mut inner = ApplyContext {
            rows: &mut *self.rows,
            server_name: self.server_name,
            time_ms: self.time_ms,
            stamp: self.stamp,
            user,
            device_id,
            transaction_id: "",
            first: self.first,
            touched: std::mem::take(&mut self.touched),
            ended_own_session: false,
            quotas: self.quotas,
            turn: None,
            entry: self.entry,
            cluster: self.cluster,
            new_cluster: self.new_cluster.take(),
            events: self.events,
        };
        let done = step(&mut inner);
        let ApplyContext { touched, new_cluster, events, .. } = inner;
        self.touched = touched;
        self.new_cluster = new_cluster;
        self.events = events;
        done
    }

    pub(super) fn cluster(&self) -> &store::Cluster {
        self.new_cluster.as_ref().unwrap_or(self.cluster)
    }

    /// Returns the cluster's row for modification.
    pub(super) fn cluster_mut(&mut self) -> &mut store::Cluster {
        let cluster = self.cluster;
        self.new_cluster.get_or_insert_with(|| cluster.clone())
    }

    /// Returns the position of the command's next event.
    pub(super) fn next_position(&mut self) -> ApplyResult<Position> {
        // Positions beyond these belong to the next command of the entry.
        if self.events >= ORDINALS_PER_COMMAND {
            return refuse(Reason::TooLarge, "the command makes too many events: split it");
        }
        let position = Position { ordinal: self.first.ordinal + self.events, ..self.first };
        self.events += 1;
        Ok(position)
    }

    /// Records the room of a new event.
    pub(super) fn index_event(&mut self, at: Position, room: RoomNumber) {
        self.entry.events.borrow_mut().push(at.ordinal, room);
    }

    /// Returns the room that contains the event at this position.
    pub(super) fn room_of_event(&self, at: Position) -> Result<Option<RoomNumber>, ReadError> {
        if self.is_in_this_entry(at) {
            return Ok(self.entry.events.borrow().room_of(at.ordinal));
        }
        rows::room_of_event(&self.rows, at)
    }

    /// Removes events, in order of their positions, from the index. To be called when nothing can refuse the command any
    /// more: a refusal does not bring back what was removed from this entry.
    pub(super) fn unindex_events(&mut self, removed: &[Position]) -> Result<(), ReadError> {
        for of_entry in removed.chunk_by(|a, b| (a.incarnation, a.index) == (b.incarnation, b.index)) {
            let Some(first) = of_entry.first() else { continue };
            let ordinals: Vec<u32> = of_entry.iter().map(|at| at.ordinal).collect();
            if self.is_in_this_entry(*first) {
                let left = self.entry.events.borrow().without(&ordinals);
                *self.entry.events.borrow_mut() = left;
                continue;
            }
            let left = EventRuns::fetch(&self.rows, *first)?.without(&ordinals);
            if left.is_empty() {
                self.rows.delete(Table::EventRoom, key::entry_key(*first));
            } else {
                self.rows.put(Table::EventRoom, key::entry_key(*first), left.encode());
            }
        }
        Ok(())
    }

    fn is_in_this_entry(&self, at: Position) -> bool {
        (at.incarnation, at.index) == (self.first.incarnation, self.first.index)
    }

    /// Returns the caller's device if its session is alive at the entry's time.
    pub(super) fn session(&self) -> ApplyResult<store::Device> {
        let key = key::device_key(self.user, self.device_id);
        let row = table::fetch_row::<store::Device>(&self.rows, Table::Device, &key)?;
        // A dehydrated device has none: what comes in its name is of a session that had its id before.
        let row = row.filter(|device| !device.token_hash.is_empty());
        match row.filter(|_| !self.user.is_empty() && !self.device_id.is_empty()) {
            Some(device) if is_alive(&device, self.time_ms) => Ok(device),
            Some(_) => refuse(Reason::SessionExpired, "the session expired after too long without use: log in again"),
            None => refuse(Reason::SessionEnded, "the session was closed: log in again"),
        }
    }

    /// Returns the caller's membership in a room that it has joined.
    pub(super) fn joined(&self, room: &RoomHandle) -> ApplyResult<store::Membership> {
        let row = rows::membership_row(&self.rows, room.number, self.user)?;
        match row.kind() {
            Kind::Join => Ok(row),
            _ => refuse(Reason::NotMember, "you are not in this room; join it first"),
        }
    }

    /// Returns the caller's full user id.
    pub(super) fn user_id(&self) -> String {
        id::user_id(self.user, self.server_name)
    }

    pub(super) fn room_by_id(&self, room_id: &str) -> ApplyResult<RoomHandle> {
        let Some(created_at) = rows::position_in_room_id(room_id, self.server_name) else { return no_such_room() };
        let Some(number) = rows::room_number(&self.rows, created_at)? else { return no_such_room() };
        let room = self.room(number, room_id.to_owned())?;
        if rows::has_id(&room.row, room_id) { Ok(room) } else { no_such_room() }
    }

    pub(super) fn room_by_ref(&self, reference: Option<&log::RoomRef>) -> ApplyResult<RoomHandle> {
        match reference.and_then(|reference| reference.by.as_ref()) {
            Some(log::room_ref::By::RoomId(room_id)) => self.room_by_id(room_id),
            Some(log::room_ref::By::Alias(alias)) => self.room_by_alias(alias),
            None => refuse(Reason::Invalid, "name the room by id or alias"),
        }
    }

    fn room_by_alias(&self, alias: &str) -> ApplyResult<RoomHandle> {
        let local = id::alias_localpart(alias, self.server_name).unwrap_or_default();
        let row = table::fetch_row::<store::Alias>(&self.rows, Table::Alias, &key::alias_key(local))?;
        let Some(row) = row.filter(|_| !local.is_empty()) else {
            return refuse(Reason::AliasNotFound, format!("no room on this server has the alias {alias}"));
        };
        self.room_by_number(RoomNumber(row.room))
    }

    pub(super) fn room_by_number(&self, number: RoomNumber) -> ApplyResult<RoomHandle> {
        let mut room = self.room(number, String::new())?;
        room.id = rows::room_id_of(&room.row, self.server_name)?;
        Ok(room)
    }

    fn room(&self, number: RoomNumber, id: String) -> ApplyResult<RoomHandle> {
        match self.entry.rooms.row(&self.rows, number)? {
            Some(row) => Ok(RoomHandle { number, id, row, changed: false }),
            None => Err(ReadError::Damaged { table: Table::Room, what: format!("room {number} has no row") }.into()),
        }
    }

    /// Writes the room's row if anything in it changed.
    pub(super) fn save_room(&mut self, room: &RoomHandle) {
        if room.changed {
            self.rows.put(Table::Room, key::room_key(room.number), table::encode_value(&*room.row));
            self.entry.rooms.clear();
        }
    }
}

fn no_such_room<T>() -> ApplyResult<T> {
    refuse(Reason::RoomNotFound, "there is no such room")
}

/// Returns `true` if the device's session is alive at this time.
pub(super) fn is_alive(device: &store::Device, time_ms: u64) -> bool {
    device.expires_ms == 0 || device.expires_ms > time_ms
}
