//! Commands: whatever the log contains, apply continues, the invariants hold, and the rows can be read.

use crate::apply::{self, Applied};
use crate::id::{self, Position};
use crate::invariant;
use crate::proto::log::command::Kind;
use crate::proto::log::{self, Envelope, outcome};
use crate::query::{Filter, SyncRequest, View};
use crate::table::{MemTable, ReadError};
use bytes::Bytes;
use prost::Message as _;
use std::cell::OnceCell;

const SERVER: &str = "a.org";

/// Returns a world with Alice and Bob, each with device "D", and a public room of Alice's with one event in it.
#[must_use]
pub fn world() -> MemTable {
    let mut rows = MemTable::default();
    let bootstrap = log::Bootstrap { cluster_id: "c".into(), server_name: SERVER.into() };
    let first = [of("", Kind::Bootstrap(bootstrap)), register("alice"), register("bob")];
    must(&mut rows, 1, first.to_vec());
    let create = log::CreateRoom {
        preset: log::create_room::Preset::Public.into(),
        alias: "room".into(),
        listed: true,
        ..log::CreateRoom::default()
    };
    must(&mut rows, 2, vec![of("alice", Kind::CreateRoom(create))]);
    let event = log::SendEvent {
        room_id: room(),
        r#type: "m.room.message".into(),
        state_key: None,
        content: Bytes::from_static(br#"{"body":"x"}"#),
    };
    must(&mut rows, 3, vec![of("alice", Kind::SendEvent(event))]);
    rows
}

/// Returns the id of the room in [`world`].
#[must_use]
pub fn room() -> String {
    id::room_id(Position { incarnation: 0, index: 2, ordinal: 0 }, SERVER)
}

fn of(user: &str, kind: Kind) -> Envelope {
    let command = Some(log::Command { kind: Some(kind) });
    let device_id = if user.is_empty() { String::new() } else { "D".into() };
    Envelope { user: user.into(), device_id, command, ..Envelope::default() }
}

fn register(user: &str) -> Envelope {
    let mut token_hash = user.as_bytes().to_vec();
    token_hash.resize(32, b'.');
    let session =
        log::NewSession { device_id: "D".into(), token_hash: token_hash.into(), ..log::NewSession::default() };
    let register = log::Register { localpart: user.into(), password_hash: "$argon2id$".into(), session: Some(session) };
    of("", Kind::Register(register))
}

fn must(rows: &mut MemTable, index: u64, envelopes: Vec<Envelope>) {
    let applied = apply::batch_in_place(rows, index, &log::Batch { time_ms: 1_000, envelopes, ..Default::default() });
    assert!(all_accepted(&applied), "the world cannot be made");
}

fn all_accepted(applied: &Result<Vec<Applied>, ReadError>) -> bool {
    let accepted = |one: &Applied| !matches!(one.outcome.kind, None | Some(outcome::Kind::Rejected(_)));
    applied.as_ref().is_ok_and(|all| all.iter().all(accepted))
}

thread_local! {
    static WORLD: OnceCell<MemTable> = const { OnceCell::new() };
}

/// Applies a batch to the world. Returns `true` if every command was accepted.
pub(super) fn run(bytes: &[u8]) -> bool {
    let Ok(batch) = log::Batch::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let mut rows = WORLD.with(|made| made.get_or_init(world).clone());
    let applied = apply::batch_in_place(&mut rows, 4, &batch);
    assert!(applied.as_ref().is_ok_and(|all| all.len() == batch.envelopes.len()), "{applied:?}");
    let whole = invariant::check_all(&rows);
    assert!(whole.is_ok(), "{whole:?} after {batch:?}");
    let view = View::open(&rows);
    assert!(view.is_ok(), "the world is lost");
    let Ok(view) = view else { return false };
    for localpart in ["alice", "bob"] {
        for since in [None, Some(Position::end_of_entry(0, 3))] {
            let filter = Filter::default();
            let request = SyncRequest { localpart, since, full_state: false, filter: &filter };
            let answer = view.sync(&request);
            assert!(answer.is_ok(), "{answer:?} after {batch:?}");
        }
    }
    all_accepted(&applied)
}
