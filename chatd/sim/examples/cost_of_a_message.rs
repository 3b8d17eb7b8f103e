//! Measures what applying one message costs, storage left out:
//! `cargo run --release -p quorate-sim --example cost_of_a_message`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot run should stop")]

use quorate_core::apply;
use quorate_core::id::{self, ORDINALS_PER_COMMAND, Position};
use quorate_core::proto::log::command::Kind;
use quorate_core::proto::log::{self, Batch, Command, Envelope};
use quorate_core::query::{FeedScope, StateView};
use quorate_core::table::{MemTable, Overlay};
use std::time::Instant;

const PER_ENTRY: u64 = 64;
const ENTRIES: u64 = 2_000;

fn envelope(user: &str, number: u64, kind: Kind) -> Envelope {
    let (device_id, transaction_id) = match user {
        "" => Default::default(),
        _ => ("D".to_owned(), format!("t{number}")),
    };
    Envelope {
        user: user.into(),
        device_id,
        transaction_id,
        command: Some(Command { kind: Some(kind) }),
        sequence: None,
        quotas: None,
        guess_count: None,
    }
}

fn main() {
    let mut rows = MemTable::default();
    let bootstrap = Kind::Bootstrap(log::Bootstrap { cluster_id: "c".into(), server_name: "a.org".into() });
    let session = log::NewSession { device_id: "D".into(), token_hash: vec![7; 32].into(), ..Default::default() };
    let register = Kind::Register(log::Register {
        localpart: "alice".into(),
        password_hash: "hash".into(),
        session: Some(session),
        ..Default::default()
    });
    let create = Kind::CreateRoom(log::CreateRoom::default());
    let envelopes = vec![envelope("", 0, bootstrap), envelope("", 1, register), envelope("alice", 2, create)];
    apply::batch_in_place(&mut rows, 1, &Batch { time_ms: 1, envelopes, ..Batch::default() }).unwrap();
    let room_id = id::room_id(Position { incarnation: 0, index: 1, ordinal: 2 * ORDINALS_PER_COMMAND }, "a.org");

    let content = format!("{{\"msgtype\":\"m.text\",\"body\":\"{}\"}}", "x".repeat(220));
    let message = |number| {
        let send = log::SendEvent {
            room_id: room_id.clone(),
            r#type: "m.room.message".into(),
            state_key: None,
            content: content.clone().into(),
        };
        envelope("alice", number, Kind::SendEvent(send))
    };
    let entries: Vec<_> = (2..ENTRIES + 2)
        .map(|index| Batch {
            time_ms: index,
            envelopes: (0..PER_ENTRY).map(|place| message(index * PER_ENTRY + place)).collect(),
            ..Batch::default()
        })
        .collect();
    let started = Instant::now();
    for (index, batch) in (2..).zip(&entries) {
        let mut overlay = Overlay::new(&rows);
        apply::apply_batch(&apply::KnownFormat::CURRENT, &mut overlay, index, batch).unwrap();
        let changes = overlay.into_changes();
        changes.write_to(&mut rows);
    }
    let messages = ENTRIES * PER_ENTRY;
    let each = started.elapsed().as_nanos() / u128::from(messages);
    println!("apply: {each} ns a message, {messages} messages of {} bytes, {PER_ENTRY} per entry", content.len());

    let view = StateView::open(&rows).unwrap();
    let from = Position::end_of_entry(0, ENTRIES / 2);
    for scope in [FeedScope::Joined, FeedScope::Room(view.resolve_room(&room_id).unwrap())] {
        let started = Instant::now();
        let (mut cursor, mut seen) = (from, 0);
        loop {
            let feed = view.events_after("alice", scope, cursor, 256).unwrap();
            seen += feed.events.len();
            cursor = feed.next;
            if !feed.more {
                break;
            }
        }
        println!(
            "read {scope:?}: {} ns an event, {seen} events in pages of 256",
            started.elapsed().as_nanos() / seen as u128
        );
    }
}
