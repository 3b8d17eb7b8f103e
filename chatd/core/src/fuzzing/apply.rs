//! Commands: whatever the log contains, apply continues, the invariants hold, and the rows can be read.

use crate::apply::{self, AppliedCommand, ApplyError};
use crate::id::{self, Position};
use crate::invariant;
use crate::proto::log::command::Kind;
use crate::proto::log::{self, Envelope, outcome};
use crate::query::{StateView, SyncFilter, SyncRequest};
use crate::table::MemTable;
use bytes::Bytes;
use prost::Message as _;
use std::cell::OnceCell;

const SERVER: &str = "a.org";

/// Returns a world with Alice and Bob, each with device "D", and a public room of Alice's with one event in it.
#[must_use]
pub fn sample_world() -> MemTable {
    let mut rows = MemTable::default();
    let bootstrap = log::Bootstrap { cluster_id: "c".into(), server_name: SERVER.into() };
    let first = [envelope_of("", Kind::Bootstrap(bootstrap)), register_envelope("alice"), register_envelope("bob")];
    apply_all(&mut rows, 1, first.to_vec());
    let create = log::CreateRoom {
        preset: log::create_room::Preset::Public.into(),
        alias: "room".into(),
        listed: true,
        ..log::CreateRoom::default()
    };
    apply_all(&mut rows, 2, vec![envelope_of("alice", Kind::CreateRoom(create))]);
    let event = log::SendEvent {
        room_id: sample_room_id(),
        r#type: "m.room.message".into(),
        state_key: None,
        content: Bytes::from_static(br#"{"body":"x"}"#),
    };
    apply_all(&mut rows, 3, vec![envelope_of("alice", Kind::SendEvent(event))]);
    rows
}

/// Returns the id of the room in [`sample_world`].
#[must_use]
pub fn sample_room_id() -> String {
    id::room_id(Position { incarnation: 0, index: 2, ordinal: 0 }, SERVER)
}

fn envelope_of(user: &str, kind: Kind) -> Envelope {
    let command = Some(log::Command { kind: Some(kind) });
    let device_id = if user.is_empty() { String::new() } else { "D".into() };
    Envelope { user: user.into(), device_id, command, ..Envelope::default() }
}

fn register_envelope(user: &str) -> Envelope {
    let mut token_hash = user.as_bytes().to_vec();
    token_hash.resize(32, b'.');
    let session =
        log::NewSession { device_id: "D".into(), token_hash: token_hash.into(), ..log::NewSession::default() };
    let register = log::Register {
        localpart: user.into(),
        password_hash: "$argon2id$".into(),
        session: Some(session),
        ..log::Register::default()
    };
    envelope_of("", Kind::Register(register))
}

fn apply_all(rows: &mut MemTable, index: u64, envelopes: Vec<Envelope>) {
    let applied = apply::batch_in_place(rows, index, &log::Batch { time_ms: 1_000, envelopes, ..Default::default() });
    assert!(all_accepted(&applied), "the world cannot be made");
}

fn all_accepted(applied: &Result<Vec<AppliedCommand>, ApplyError>) -> bool {
    let accepted = |one: &AppliedCommand| !matches!(one.outcome.kind, None | Some(outcome::Kind::Rejected(_)));
    applied.as_ref().is_ok_and(|all| all.iter().all(accepted))
}

thread_local! {
    static WORLD: OnceCell<MemTable> = const { OnceCell::new() };
}

/// Applies a batch to the world. Returns `true` if every command was accepted.
pub(super) fn fuzz_apply(bytes: &[u8]) -> bool {
    let Ok(batch) = log::Batch::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let mut rows = WORLD.with(|made| made.get_or_init(sample_world).clone());
    let applied = apply::batch_in_place(&mut rows, 4, &batch);
    if let Err(ApplyError::TooNew { needed, known }) = applied {
        assert!(needed > known && batch.level == needed, "{needed} is said of a batch of level {}", batch.level);
        return false;
    }
    assert!(applied.as_ref().is_ok_and(|all| all.len() == batch.envelopes.len()), "{applied:?}");
    let whole = invariant::check_all(&rows);
    assert!(whole.is_ok(), "{whole:?} after {batch:?}");
    let view = StateView::open(&rows);
    assert!(view.is_ok(), "the world is lost");
    let Ok(view) = view else { return false };
    for localpart in ["alice", "bob"] {
        for since in [None, Some(Position::end_of_entry(0, 3))] {
            let filter = SyncFilter::default();
            let request = SyncRequest { localpart, since, full_state: false, filter: &filter };
            let answer = view.sync(&request);
            assert!(answer.is_ok(), "{answer:?} after {batch:?}");
        }
    }
    all_accepted(&applied)
}
