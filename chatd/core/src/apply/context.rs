//! What one command works with: the rows, its place in the order, its caller.

use super::Touched;
use super::sequence::Turn;
use super::time::Stamp;
use crate::auth::Denied;
use crate::id::{self, ORDINALS_PER_COMMAND, Position, RoomNumber};
use crate::proto::log::{self, Reason, Rejected, outcome};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, Read, ReadError, Table, Write, key};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Why a command went no further.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is refused: an answer like any other.
    Rejected(Rejected),
    /// The state cannot be read: apply itself stops.
    Read(ReadError),
}

/// The result of a step of a command.
pub(super) type Applies<T> = Result<T, Refusal>;

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Rejected(Rejected { reason: denied.reason.into(), message: denied.message })
    }
}

/// Refuses the command.
pub(super) fn refuse<T>(reason: Reason, message: impl Into<String>) -> Applies<T> {
    Err(Refusal::Rejected(Rejected { reason: reason.into(), message: message.into() }))
}

/// What an accepted command answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// The command's own answer, and the event it is about if that is not its first.
    New(outcome::Kind, Option<Position>),
    /// Applied before: the answer of then.
    Again(log::Outcome),
}

impl Answer {
    pub(super) fn done() -> Self {
        Self::New(outcome::Kind::Done(log::Done {}), None)
    }

    /// The same answer was given before, as told by the rows themselves; `at` is where.
    pub(super) fn again(kind: outcome::Kind, at: Position) -> Self {
        Self::Again(log::Outcome { position: Some(wire(at)), duplicate: true, kind: Some(kind) })
    }

    pub(super) fn into_outcome(self, first: Position) -> log::Outcome {
        match self {
            Self::New(kind, at) => {
                log::Outcome { position: Some(wire(at.unwrap_or(first))), duplicate: false, kind: Some(kind) }
            }
            Self::Again(outcome) => log::Outcome { duplicate: true, ..outcome },
        }
    }
}

/// A position as messages carry it.
pub(super) fn wire(position: Position) -> log::Position {
    log::Position { incarnation: position.incarnation, index: position.index, ordinal: position.ordinal }
}

/// Room rows that the commands of one entry share: most entries hold many messages to few rooms, and the row with its
/// power levels is the dearest to decode. Holds what the rows hold; emptied whenever one is written or taken back.
#[derive(Default)]
pub(super) struct RoomCache(RefCell<BTreeMap<RoomNumber, Rc<store::Room>>>);

impl RoomCache {
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    fn row(&self, rows: &dyn Read, number: RoomNumber) -> Result<Option<Rc<store::Room>>, ReadError> {
        if let Some(known) = self.0.borrow().get(&number) {
            return Ok(Some(Rc::clone(known)));
        }
        let row = rows::room(rows, number)?.map(Rc::new);
        if let Some(row) = &row {
            self.0.borrow_mut().insert(number, Rc::clone(row));
        }
        Ok(row)
    }
}

/// A room in hand; [`Context::save_room`] writes its row back.
pub(super) struct Room {
    pub(super) number: RoomNumber,
    pub(super) id: String,
    pub(super) row: Rc<store::Room>,
    changed: bool,
}

/// All zero, until a new room's first `m.room.power_levels` (which only its creator sends).
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
};

impl Room {
    /// One that is being made.
    pub(super) fn new(number: RoomNumber, id: String, row: store::Room) -> Self {
        Self { number, id, row: Rc::new(row), changed: true }
    }

    /// The row, to be changed and saved.
    pub(super) fn row_mut(&mut self) -> &mut store::Room {
        self.changed = true;
        Rc::make_mut(&mut self.row)
    }

    pub(super) fn levels(&self) -> &store::Levels {
        self.row.levels.as_ref().unwrap_or(&NO_LEVELS)
    }
}

/// One command at work.
pub(super) struct Context<'a> {
    pub(super) rows: &'a mut dyn Write,
    pub(super) server_name: &'a str,
    pub(super) time_ms: u64,
    /// Of its entry; `time_ms` is what came of it.
    pub(super) stamp: Stamp,
    /// Localpart of the caller; empty for commands without one.
    pub(super) user: &'a str,
    pub(super) device_id: &'a str,
    pub(super) transaction_id: &'a str,
    pub(super) first: Position,
    pub(super) touched: Touched,
    /// The command closed the session it came by.
    pub(super) ended_own_session: bool,
    /// What accounts may have, by the command's door.
    pub(super) quotas: log::Quotas,
    /// Its place in a sequence, to be passed on even when it is refused.
    pub(super) turn: Option<Turn>,
    rooms: &'a RoomCache,
    cluster: &'a store::Cluster,
    new_cluster: Option<store::Cluster>,
    events: u32,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        rows: &'a mut dyn Write,
        rooms: &'a RoomCache,
        cluster: &'a store::Cluster,
        stamp: Stamp,
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
            touched: Touched::default(),
            ended_own_session: false,
            quotas: envelope.quotas.unwrap_or_default(),
            turn: None,
            rooms,
            cluster,
            new_cluster: None,
            events: 0,
        }
    }

    /// What the accepted command leaves beside its rows.
    pub(super) fn finish(self) -> (Touched, Option<store::Cluster>) {
        (self.touched, self.new_cluster)
    }

    pub(super) fn cluster(&self) -> &store::Cluster {
        self.new_cluster.as_ref().unwrap_or(self.cluster)
    }

    /// The cluster's row, to be changed.
    pub(super) fn cluster_mut(&mut self) -> &mut store::Cluster {
        let cluster = self.cluster;
        self.new_cluster.get_or_insert_with(|| cluster.clone())
    }

    /// The position of the command's next event.
    pub(super) fn next_position(&mut self) -> Applies<Position> {
        if self.events >= ORDINALS_PER_COMMAND {
            return refuse(Reason::TooLarge, "the command makes too many events: split it");
        }
        let position = Position { ordinal: self.first.ordinal + self.events, ..self.first };
        self.events += 1;
        Ok(position)
    }

    /// The caller's device, if its session is alive at the entry's time.
    pub(super) fn session(&self) -> Applies<store::Device> {
        let row = table::fetch(&self.rows, Table::Device, &key::device(self.user, self.device_id))?;
        match row.filter(|_| !self.user.is_empty() && !self.device_id.is_empty()) {
            Some(device) if is_alive(&device, self.time_ms) => Ok(device),
            Some(_) => refuse(Reason::SessionExpired, "the session was not used for too long: log in again"),
            None => refuse(Reason::SessionEnded, "the session was closed: log in again"),
        }
    }

    /// The caller's row in a room where it is joined.
    pub(super) fn joined(&self, room: &Room) -> Applies<store::Membership> {
        let row = rows::membership(&self.rows, room.number, self.user)?;
        match row.kind() {
            Kind::Join => Ok(row),
            _ => refuse(Reason::NotMember, "you are not in this room; join it first"),
        }
    }

    /// The caller's full user id.
    pub(super) fn user_id(&self) -> String {
        id::user_id(self.user, self.server_name)
    }

    pub(super) fn room_by_id(&self, room_id: &str) -> Applies<Room> {
        let Some(created_at) = id::parse_room_id(room_id, self.server_name) else { return no_such_room() };
        let Some(number) = rows::room_number(&self.rows, created_at)? else { return no_such_room() };
        self.room(number, room_id.to_owned())
    }

    pub(super) fn room_by_ref(&self, reference: Option<&log::RoomRef>) -> Applies<Room> {
        match reference.and_then(|reference| reference.by.as_ref()) {
            Some(log::room_ref::By::RoomId(room_id)) => self.room_by_id(room_id),
            Some(log::room_ref::By::Alias(alias)) => self.room_by_alias(alias),
            None => refuse(Reason::Invalid, "name the room by id or alias"),
        }
    }

    fn room_by_alias(&self, alias: &str) -> Applies<Room> {
        let local = id::alias_localpart(alias, self.server_name).unwrap_or_default();
        let row = table::fetch::<store::Alias>(&self.rows, Table::Alias, &key::alias(local))?;
        let Some(row) = row.filter(|_| !local.is_empty()) else {
            return refuse(Reason::AliasNotFound, format!("no room here has the alias {alias}"));
        };
        self.room_by_number(RoomNumber(row.room))
    }

    pub(super) fn room_by_number(&self, number: RoomNumber) -> Applies<Room> {
        let mut room = self.room(number, String::new())?;
        let created_at = table::position(Table::Room, &room.row.created_at)?.unwrap_or_default();
        room.id = id::room_id(created_at, self.server_name);
        Ok(room)
    }

    fn room(&self, number: RoomNumber, id: String) -> Applies<Room> {
        match self.rooms.row(&self.rows, number)? {
            Some(row) => Ok(Room { number, id, row, changed: false }),
            None => Err(ReadError::Damaged { table: Table::Room, what: format!("room {number} has no row") }.into()),
        }
    }

    /// Writes the room's row if anything in it changed.
    pub(super) fn save_room(&mut self, room: &Room) {
        if room.changed {
            self.rows.put(Table::Room, key::room(room.number), table::encode(&*room.row));
            self.rooms.clear();
        }
    }
}

fn no_such_room<T>() -> Applies<T> {
    refuse(Reason::RoomNotFound, "there is no such room")
}

/// Is the device's session alive at this time?
pub(super) fn is_alive(device: &store::Device, time_ms: u64) -> bool {
    device.expires_ms == 0 || device.expires_ms > time_ms
}
