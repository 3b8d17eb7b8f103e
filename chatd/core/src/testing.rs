//! A small world for tests: a state in memory, its clock, and shorthands for commands.

use crate::apply::{self, AppliedCommand};
use crate::id::{self, Position, RoomNumber};
use crate::invariant;
use crate::proto::log::command::Kind;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, Batch, Command, Envelope, Outcome, Reason, outcome, room_ref};
use crate::query::StateView;
use crate::table::MemTable;
use bytes::Bytes;

pub(crate) mod keys;

pub(crate) const SERVER: &str = "a.org";

pub(crate) struct World {
    pub(crate) rows: MemTable,
    pub(crate) index: u64,
    pub(crate) time_ms: u64,
    transactions: u64,
}

/// Returns a world in which the cluster is initialised and these users are registered, each with device "D".
pub(crate) fn world(users: &[&str]) -> World {
    let mut world = World { rows: MemTable::default(), index: 0, time_ms: 1_000, transactions: 0 };
    let bootstrap = log::Bootstrap { cluster_id: "c".into(), server_name: SERVER.into() };
    world.accepted(Envelope { command: command(Kind::Bootstrap(bootstrap)), ..Envelope::default() });
    for user in users {
        world.accepted(register(user, "D"));
    }
    world
}

pub(crate) fn command(kind: Kind) -> Option<Command> {
    Some(Command { kind: Some(kind) })
}

pub(crate) fn session(user: &str, device: &str, lifetime_ms: u64) -> log::NewSession {
    let mut token_hash = format!("{user}/{device}").into_bytes();
    token_hash.resize(32, b'.');
    log::NewSession {
        device_id: device.into(),
        display_name: String::new(),
        token_hash: token_hash.into(),
        lifetime_ms,
        ..log::NewSession::default()
    }
}

pub(crate) fn register(user: &str, device: &str) -> Envelope {
    let register = log::Register {
        localpart: user.into(),
        password_hash: format!("$argon2id${user}"),
        session: Some(session(user, device, 0)),
        ..log::Register::default()
    };
    Envelope { command: command(Kind::Register(register)), ..Envelope::default() }
}

pub(crate) fn room_ref(room: &str) -> Option<log::RoomRef> {
    let by = if room.starts_with('#') { room_ref::By::Alias(room.into()) } else { room_ref::By::RoomId(room.into()) };
    Some(log::RoomRef { by: Some(by) })
}

pub(crate) fn text(body: &str) -> Bytes {
    format!(r#"{{"body":"{body}","msgtype":"m.text"}}"#).into()
}

impl World {
    pub(crate) fn view(&self) -> StateView<'_> {
        StateView::open(&self.rows).unwrap()
    }

    pub(crate) fn apply(&mut self, envelopes: Vec<Envelope>) -> Vec<AppliedCommand> {
        self.index += 1;
        self.time_ms += 10;
        let batch = Batch { time_ms: self.time_ms, envelopes, ..Batch::default() };
        let applied = apply::batch_in_place(&mut self.rows, self.index, &batch).unwrap();
        invariant::check_all(&self.rows).unwrap();
        applied
    }

    pub(crate) fn one(&mut self, envelope: Envelope) -> Outcome {
        self.apply(vec![envelope]).remove(0).outcome
    }

    pub(crate) fn accepted(&mut self, envelope: Envelope) -> Outcome {
        let outcome = self.one(envelope);
        assert!(!matches!(outcome.kind, Some(outcome::Kind::Rejected(_))), "{outcome:?}");
        outcome
    }

    pub(crate) fn rejected(&mut self, envelope: Envelope) -> Reason {
        let before = self.rows.clone();
        let reason = match self.one(envelope).kind {
            Some(outcome::Kind::Rejected(rejected)) => rejected.reason(),
            other => panic!("accepted: {other:?}"),
        };
        let changed: Vec<_> = self.rows.rows().filter(|row| !before.rows().any(|old| old == *row)).collect();
        assert!(changed.iter().all(|(table, ..)| *table == crate::table::Table::Meta), "{changed:?}");
        reason
    }

    /// Returns a command of a user's device "D", with a transaction id of its own.
    pub(crate) fn by(&mut self, user: &str, kind: Kind) -> Envelope {
        self.transactions += 1;
        Envelope {
            user: user.into(),
            device_id: "D".into(),
            transaction_id: format!("t{}", self.transactions),
            command: command(kind),
            ..Envelope::default()
        }
    }

    pub(crate) fn create(&mut self, user: &str, create: log::CreateRoom) -> (RoomNumber, String) {
        let envelope = self.by(user, Kind::CreateRoom(create));
        match self.accepted(envelope).kind {
            Some(outcome::Kind::RoomCreated(created)) => {
                (self.view().resolve_room(&created.room_id).unwrap(), created.room_id)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn public_room(&mut self, user: &str) -> (RoomNumber, String) {
        self.create(user, log::CreateRoom { preset: log::create_room::Preset::Public.into(), ..Default::default() })
    }

    pub(crate) fn membership(&mut self, user: &str, room: &str, change: Change, target: &str) -> Envelope {
        let target = if target.is_empty() { String::new() } else { id::user_id(target, SERVER) };
        let set = log::SetMembership { room: room_ref(room), target, change: change.into(), ..Default::default() };
        self.by(user, Kind::SetMembership(set))
    }

    pub(crate) fn moved(&mut self, user: &str, room: &str, change: Change, target: &str) -> Position {
        let envelope = self.membership(user, room, change, target);
        position(&self.accepted(envelope))
    }

    pub(crate) fn event(
        &mut self,
        user: &str,
        room: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: &str,
    ) -> Envelope {
        let send = log::SendEvent {
            room_id: room.into(),
            r#type: event_type.into(),
            state_key: state_key.map(str::to_owned),
            content: Bytes::copy_from_slice(content.as_bytes()),
        };
        self.by(user, Kind::SendEvent(send))
    }

    pub(crate) fn set(&mut self, user: &str, room: &str, event_type: &str, content: &str) -> Position {
        let envelope = self.event(user, room, event_type, Some(""), content);
        position(&self.accepted(envelope))
    }

    pub(crate) fn say(&mut self, user: &str, room: &str, body: &str) -> Position {
        let content = text(body);
        let envelope = self.event(user, room, "m.room.message", None, std::str::from_utf8(&content).unwrap());
        position(&self.accepted(envelope))
    }
}

pub(crate) fn position(outcome: &Outcome) -> Position {
    let at = outcome.position.unwrap();
    Position { incarnation: at.incarnation, index: at.index, ordinal: at.ordinal }
}
