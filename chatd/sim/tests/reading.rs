//! Receipts in syncs, and messages to devices, whatever commands come between: a client that folds what it is told
//! knows how far everybody has read, and is given each message once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed check of a test is a panic")]

use bytes::Bytes;
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::query::sync::JoinedRoom;
use quorate_core::query::{RoomEvent, StateView, SyncFilter, SyncRequest};
use quorate_core::receipt::{ReadReceipt, ReceiptKind};
use quorate_core::table::{MemTable, ScanControl, ScanRange, Table, TableRead};
use quorate_sim::for_seeds;
use quorate_sim::plan::{PackedScript, SERVER};
use quorate_sim::rng::Rng;
use quorate_sim::script::{self, DEVICES, ScriptAction, ScriptStep, USERS};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Type, reader and thread of a receipt; the thread is empty for a receipt regardless of threads.
type ReceiptName = (String, String, String);

/// Beliefs of a client about how far people have read in a room.
#[derive(Default)]
struct BelievedReceipts {
    /// Event ids.
    receipts: BTreeMap<ReceiptName, String>,
    /// `true` once the client was not told of all members' comings and goings: it may keep what is forgotten.
    has_gap: bool,
}

impl BelievedReceipts {
    fn fold(&mut self, room: &JoinedRoom, is_new: bool) {
        self.has_gap |= room.timeline.limited && !is_new;
        room.state.iter().chain(&room.timeline.events).for_each(|event| self.note_member(event));
        for event in &room.ephemeral {
            assert_eq!(event.event_type, "m.receipt");
            let content: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>> =
                serde_json::from_slice(&event.content).unwrap();
            for (event_id, by_kind) in content {
                for (kind, by_reader) in by_kind {
                    for (reader, receipt) in by_reader {
                        let thread = receipt["thread_id"].as_str().unwrap_or_default().to_owned();
                        self.receipts.insert((kind.clone(), reader, thread), event_id.clone());
                    }
                }
            }
        }
    }

    /// Forgets the receipts of a member who is out of the room, as the server does.
    fn note_member(&mut self, event: &RoomEvent) {
        let content: Value = serde_json::from_slice(&event.content).unwrap_or_default();
        if event.is_state("m.room.member") && content["membership"] != "join" {
            self.receipts.retain(|(_, reader, _), _| Some(reader.as_str()) != event.state_key.as_deref());
        }
    }

    /// Returns `true` if these receipts say that a reader has read up to an event in a thread. A receipt regardless of
    /// threads hides those of threads for the same event, and covers them for as long as it is at or after it.
    fn say(&self, (kind, reader, thread): &ReceiptName, event_id: &str) -> bool {
        let of_thread = |thread: &str| self.receipts.get(&(kind.clone(), reader.clone(), thread.to_owned()));
        let is_behind = |read: &String| id::parse_event_id(event_id) <= id::parse_event_id(read);
        of_thread(thread).is_some_and(|read| read == event_id)
            || (!thread.is_empty() && of_thread("").is_some_and(is_behind))
    }
}

/// Returns the receipts of a room that a user may know of, from their rows.
fn real_receipts(rows: &dyn TableRead, room: RoomNumber, user: &str) -> BelievedReceipts {
    let mut receipts = BTreeMap::new();
    rows.scan(&ScanRange::all(Table::Receipt), &mut |(key, value)| {
        let receipt = ReadReceipt::of_row(key, Bytes::copy_from_slice(value))?;
        let is_shown = receipt.kind == ReceiptKind::Public || receipt.reader == user;
        if receipt.room == room && is_shown {
            let name = (receipt.kind.type_name().to_owned(), id::user_id(&receipt.reader, SERVER), receipt.thread_id);
            receipts.insert(name, id::event_id(receipt.event));
        }
        Ok(ScanControl::More)
    })
    .unwrap();
    BelievedReceipts { receipts, has_gap: false }
}

/// Client of a user that looks at receipts alone.
struct ReceiptClient {
    user: &'static str,
    since: Option<Position>,
    rooms: BTreeMap<RoomNumber, BelievedReceipts>,
}

impl ReceiptClient {
    /// Syncs, and returns how many receipts were compared.
    fn sync(&mut self, rows: &MemTable, view: &StateView<'_>) -> usize {
        let mut filter = SyncFilter::default();
        filter.timeline.limit = Some(1000);
        let request = SyncRequest { localpart: self.user, since: self.since, full_state: false, filter: &filter };
        let answer = view.sync(&request).unwrap();
        for room in &answer.join {
            let is_new = !self.rooms.contains_key(&room.room);
            self.rooms.entry(room.room).or_default().fold(room, is_new);
        }
        for room in &answer.leave {
            self.rooms.remove(&room.room);
        }
        for room in answer.invite.iter().chain(&answer.knock) {
            self.rooms.remove(&room.room);
        }
        self.since = Some(answer.next);
        self.rooms.iter().map(|(room, believed)| self.compare(rows, *room, believed)).sum()
    }

    fn compare(&self, rows: &MemTable, room: RoomNumber, believed: &BelievedReceipts) -> usize {
        let real = real_receipts(rows, room, self.user);
        for (name, event_id) in &real.receipts {
            assert!(believed.say(name, event_id), "{} was not told of {name:?} for {event_id} in {room}", self.user);
        }
        if !believed.has_gap {
            for name in believed.receipts.keys() {
                assert!(real.receipts.contains_key(name), "{} believes in {name:?} in {room}", self.user);
            }
        }
        real.receipts.len()
    }
}

#[test]
fn a_client_that_follows_receipts_knows_how_far_everybody_has_read() {
    let compared = AtomicUsize::new(0);
    for_seeds(100, |seed| {
        let mut rng = Rng::new(seed);
        let steps = script::generate_script(&mut rng, 300);
        let plan = PackedScript::new(steps, &mut rng, 6);
        let mut clients = USERS.map(|user| ReceiptClient { user, since: None, rooms: BTreeMap::new() });
        plan.run(&mut MemTable::default(), |rows, _, _, _| {
            let Ok(view) = StateView::open(rows) else { return };
            for client in &mut clients {
                if rng.percent(20) {
                    compared.fetch_add(client.sync(rows, &view), Relaxed);
                }
            }
        })
        .unwrap();
    });
    let compared = compared.into_inner();
    assert!(std::env::var_os("QUORATE_SEED").is_some() || compared > 100, "{compared} receipts were compared");
}

/// Client of a device that takes what is sent to it.
struct DeviceClient {
    user: &'static str,
    device: &'static str,
    /// Position up to which the device has its messages.
    received: Option<Position>,
    /// Contents of the messages that it has.
    has: BTreeSet<Bytes>,
}

impl DeviceClient {
    /// Syncs as far as messages are concerned. If the answer is lost, the next sync is the same.
    fn sync(&mut self, view: &StateView<'_>, is_lost: bool) {
        let queued = view.queued_messages(self.user, self.device, self.received, view.now()).unwrap();
        let name = format!("{}/{}", self.user, self.device);
        for message in queued.messages {
            assert!(!self.has.contains(&message.content), "{name} was given {:?} twice", message.content);
            if !is_lost {
                self.has.insert(message.content);
            }
        }
        if !is_lost {
            self.received = Some(queued.given_to.unwrap_or(view.now()));
        }
    }
}

/// Generates a script that repeats no message to a device: from a device that was logged out and in again in between,
/// it would be a second message, which cannot be told from the first.
fn script_without_repeated_messages(rng: &mut Rng) -> Vec<ScriptStep> {
    let mut steps = script::generate_script(rng, 400);
    let mut are_messages: Vec<bool> = Vec::new();
    for step in &mut steps {
        if matches!(step.act, ScriptAction::Again { of } if are_messages[of]) {
            step.act = ScriptAction::ExtendSession;
        }
        are_messages.push(matches!(step.act, ScriptAction::ToDevice { .. }));
    }
    steps
}

#[test]
fn a_device_is_given_each_message_once_though_answers_are_lost() {
    let given = AtomicUsize::new(0);
    for_seeds(100, |seed| {
        let mut rng = Rng::new(seed ^ 5);
        let plan = PackedScript::new(script_without_repeated_messages(&mut rng), &mut rng, 6);
        let mut clients: Vec<_> = USERS
            .into_iter()
            .flat_map(|user| DEVICES.map(|device| DeviceClient { user, device, received: None, has: BTreeSet::new() }))
            .collect();
        let mut rows = MemTable::default();
        plan.run(&mut rows, |rows, _, _, _| {
            let Ok(view) = StateView::open(rows) else { return };
            for client in &mut clients {
                if rng.percent(15) {
                    client.sync(&view, rng.percent(30));
                }
            }
        })
        .unwrap();
        let view = StateView::open(&rows).unwrap();
        for mut client in clients {
            client.sync(&view, false);
            // All that still waits was given; the rest was removed.
            let waiting = view.queued_messages(client.user, client.device, None, view.now()).unwrap();
            let missed: Vec<_> =
                waiting.messages.iter().filter(|message| !client.has.contains(&message.content)).collect();
            assert!(missed.is_empty(), "{}/{} was not given {missed:?}", client.user, client.device);
            given.fetch_add(client.has.len(), Relaxed);
        }
    });
    let given = given.into_inner();
    assert!(std::env::var_os("QUORATE_SEED").is_some() || given > 30, "{given} messages were given");
}
