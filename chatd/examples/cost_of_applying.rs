//! What applying committed messages costs, with the real state on disk and a thousand readers to wake:
//! `cargo run --release -p quorate-chatd --example cost_of_applying`. Raft and network are left out.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot run should stop")]

use futures::stream;
use openraft::EntryPayload;
use openraft::storage::RaftStateMachine as _;
use prost::Message as _;
use quorate_chatd::feed::{Feed, Interest, Topics};
use quorate_chatd::raft::machine::Machine;
use quorate_chatd::raft::snapshot::Shelf;
use quorate_chatd::raft::types::{EncodedBatch, Entry, LeaderId, LogId};
use quorate_chatd::store::{Fatal, RocksStore, Settings, StateStore as _, cluster};
use quorate_core::id::{self, ORDINALS_PER_COMMAND, Position, RoomNumber};
use quorate_core::invariant::digest;
use quorate_core::proto::log::command::Kind;
use quorate_core::proto::log::{self, Batch, Command, CreateRoom, Envelope};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROOMS: u32 = 500;
const READERS: u64 = 1_000;
const BODY_BYTES: usize = 220;

fn envelope(user: &str, transaction: String, kind: Kind) -> Envelope {
    let device_id = if user.is_empty() { String::new() } else { "D".to_owned() };
    let command = Some(Command { kind: Some(kind) });
    Envelope { user: user.into(), device_id, transaction_id: transaction, command }
}

fn entry(index: u64, envelopes: Vec<Envelope>) -> Entry {
    let batch = Batch { time_ms: 1_700_000_000_000 + index, envelopes };
    let log_id = LogId::new(LeaderId { term: 1, node_id: 1 }, index);
    Entry { log_id, payload: EntryPayload::Normal(EncodedBatch(batch.encode_to_vec().into())) }
}

/// The cluster, its user and its rooms.
fn setup() -> Vec<Envelope> {
    let bootstrap = log::Bootstrap { cluster_id: "c".into(), server_name: "a.org".into() };
    let session = log::NewSession { device_id: "D".into(), token_hash: vec![1; 32].into(), ..Default::default() };
    let register = log::Register { localpart: "u".into(), password_hash: "x".into(), session: Some(session) };
    let first = [Kind::Bootstrap(bootstrap), Kind::Register(register)];
    let first = first.into_iter().map(|kind| envelope("", String::new(), kind));
    let room = |number| envelope("u", format!("r{number}"), Kind::CreateRoom(CreateRoom::default()));
    first.chain((0..ROOMS).map(room)).collect()
}

fn message(number: u64, rooms: &[String], content: &bytes::Bytes) -> Envelope {
    // Knuth's multiplier: consecutive messages go to rooms far apart.
    let room = usize::try_from(number.wrapping_mul(2_654_435_761) % u64::from(ROOMS)).unwrap();
    let send = log::SendEvent {
        room_id: rooms.get(room).unwrap().clone(),
        r#type: "m.room.message".into(),
        state_key: None,
        content: content.clone(),
    };
    envelope("u", format!("t{number}"), Kind::SendEvent(send))
}

struct Bench {
    store: RocksStore,
    machine: Machine<RocksStore>,
    rooms: Vec<String>,
    _readers: Vec<Interest>,
}

impl Bench {
    async fn prepare(dir: &PathBuf) -> Self {
        let store = RocksStore::open(dir, Settings::default(), Fatal::default()).unwrap();
        let feed = Feed::new();
        let topics = |n| Topics { rooms: [RoomNumber(1 + n % u64::from(ROOMS))].into(), users: BTreeSet::new() };
        let readers = (0..READERS).map(|n| feed.subscribe(topics(n))).collect();
        let shelf = Shelf::open(dir).unwrap();
        let machine = Machine::start(store.clone(), shelf, feed, Fatal::default(), Arc::new(()));
        let mut machine = machine.unwrap();
        machine.apply(stream::iter([Ok((entry(1, setup()), None))])).await.unwrap();
        let incarnation = cluster(&store.view()).unwrap().unwrap().incarnation;
        let created = |room: u32| Position { incarnation, index: 1, ordinal: (2 + room) * ORDINALS_PER_COMMAND };
        let rooms = (0..ROOMS).map(|room| id::room_id(created(room), "a.org")).collect();
        Self { store, machine, rooms, _readers: readers }
    }

    /// Time for `entries` of `per_entry` messages, committed `at_once` entries at a time.
    async fn run(&mut self, entries: u64, per_entry: u64, at_once: u64) -> Duration {
        let text = "x".repeat(BODY_BYTES);
        let content = format!("{{\"msgtype\":\"m.text\",\"body\":\"{text}\"}}").into_bytes().into();
        let (mut took, mut number) = (Duration::ZERO, 0);
        for chunk in 0..entries / at_once {
            let mut entries = Vec::new();
            for index in 2 + chunk * at_once..2 + (chunk + 1) * at_once {
                let messages = (number..number + per_entry).map(|n| message(n, &self.rooms, &content));
                entries.push(Ok((entry(index, messages.collect()), None)));
                number += per_entry;
            }
            let started = Instant::now();
            self.machine.apply(stream::iter(entries)).await.unwrap();
            took += started.elapsed();
        }
        took
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (entries, per_entry, at_once) in [(4_000, 64, 16), (20_000, 8, 4), (20_000, 1, 1)] {
        let dir = std::env::temp_dir().join(format!("quorate-cost-of-applying-{}", std::process::id()));
        let mut bench = runtime.block_on(Bench::prepare(&dir));
        let took = runtime.block_on(bench.run(entries, per_entry, at_once));
        let messages = u32::try_from(entries * per_entry).unwrap();
        let each = took / messages;
        println!(
            "{per_entry:3} a entry, {at_once:2} entries a commit: {each:?} each, {:.0}/s",
            1.0 / each.as_secs_f64()
        );
        let started = Instant::now();
        bench.store.checkpoint(&dir.join("checkpoint")).unwrap();
        println!("    checkpoint after {messages} messages: {:?}; {:?}", started.elapsed(), bench.store.stats());
        let started = Instant::now();
        let digest = digest(&bench.store.view()).unwrap();
        println!("    reading all of it: {:?} ({digest:08x})", started.elapsed());
        drop(bench);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
