//! Proof that each invariant can fail: a good state with one thing wrong in it.

use super::{ALL, InvariantViolation, check_all};
use crate::id;
use crate::proto::log::{self, command::Kind, set_membership::Change};
use crate::proto::store;
use crate::table::{self, MemTable, ScanControl, ScanRange, Table, TableRead as _, TableWrite as _};
use crate::testing::keys::{device_keys, key_input};
use crate::testing::{command, world};
use bytes::Bytes;
use prost::Message;

/// Returns a state that contains everything the invariants speak of.
fn good() -> MemTable {
    let mut world = world(&["alice", "bob", "carol"]);
    let preset = log::create_room::Preset::Public.into();
    let create = log::CreateRoom { preset, alias: "lounge".into(), listed: true, ..Default::default() };
    let (_, room) = world.create("alice", create);
    world.moved("bob", &room, Change::Join, "");
    world.moved("alice", &room, Change::Invite, "carol");
    let first = id::event_id(world.say("alice", &room, "first"));
    let relates = format!(r#"{{"body":"yes","m.relates_to":{{"rel_type":"m.thread","event_id":"{first}"}}}}"#);
    let reply = world.event("bob", &room, "m.room.message", None, &relates);
    world.accepted(reply);
    let unsaid = id::event_id(world.say("alice", &room, "unsaid"));
    let redact = log::Redact { room_id: room.clone(), event_id: unsaid, reason: String::new() };
    let redact = world.by("alice", Kind::Redact(redact));
    world.accepted(redact);
    world.set("alice", &room, "m.room.topic", r#"{"topic":"one"}"#);
    world.set("alice", &room, "m.room.topic", r#"{"topic":"two"}"#);
    let mut posted = world.event("alice", &room, "m.room.message", None, r#"{"body":"posted"}"#);
    posted.sequence = Some(log::Sequence { id: 7, number: 0 });
    world.accepted(posted);
    let content = Bytes::from_static(b"{}");
    let message = log::DeviceMessage { user: "bob".into(), device_id: "D".into(), content: content.clone() };
    let send = log::SendToDevice { r#type: "t".into(), messages: vec![message], ..Default::default() };
    let backup = log::CreateBackup { algorithm: "a".into(), auth_data: content.clone(), max_versions: 0 };
    let key = log::BackupKeyInput {
        room_id: "!r".into(),
        session_id: "s".into(),
        session_data: content,
        ..Default::default()
    };
    let keys = log::PutBackupKeys { version: 1, keys: vec![key], ..Default::default() };
    for kind in [Kind::SendToDevice(send), Kind::CreateBackup(backup), Kind::PutBackupKeys(keys)] {
        let envelope = world.by("alice", kind);
        world.accepted(envelope);
    }
    let receipts =
        log::SetReceipts { room_id: room, read: first.clone(), read_private: first, ..log::SetReceipts::default() };
    let receipts = world.by("bob", Kind::SetReceipts(receipts));
    world.accepted(receipts);
    let keys = [("1", "1"), ("2", "2")].map(|(key_id, key)| key_input(key_id, key)).to_vec();
    let device_keys = device_keys("alice", "D", "one");
    let put = log::PutDeviceKeys { device_keys, one_time_keys: keys, fallback_keys: Vec::new() };
    let put = world.by("alice", Kind::PutDeviceKeys(put));
    world.accepted(put);
    let dehydrated = log::PutDehydratedDevice {
        device_id: "ASLEEP".into(),
        data: Bytes::from_static(b"{}"),
        device_keys: self::device_keys("alice", "ASLEEP", "two"),
        ..log::PutDehydratedDevice::default()
    };
    let put = world.by("alice", Kind::PutDehydratedDevice(dehydrated));
    world.accepted(put);
    let set = log::SetPusher {
        app_id: "app".into(),
        pushkey: "key".into(),
        kind: "http".into(),
        data: Bytes::from_static(b"{}"),
        ..log::SetPusher::default()
    };
    let set = world.by("alice", Kind::SetPusher(set));
    world.accepted(set);
    let waits = log::PushItem {
        localpart: "alice".into(),
        app_id: "app".into(),
        pushkey: "key".into(),
        ..log::PushItem::default()
    };
    let advance = log::AdvancePush { waiting: vec![waits], ..log::AdvancePush::default() };
    world.accepted(log::Envelope { command: command(Kind::AdvancePush(advance)), ..log::Envelope::default() });
    world.rows
}

fn find(rows: &MemTable, table: Table, wanted: impl Fn(&[u8], &[u8]) -> bool) -> (Vec<u8>, Bytes) {
    let mut found = None;
    rows.scan(&ScanRange::all(table).backward(), &mut |(key, value)| {
        if wanted(key, value) {
            found = Some((key.to_vec(), Bytes::copy_from_slice(value)));
            return Ok(ScanControl::Stop);
        }
        Ok(ScanControl::More)
    })
    .expect("readable");
    found.unwrap_or_else(|| panic!("the good state has no such row in {table:?}"))
}

/// Changes the last row of a table for which `so` holds.
fn edit<M: Message + Default>(rows: &mut MemTable, table: Table, so: impl Fn(&M) -> bool, change: impl Fn(&mut M)) {
    let read = |value: &[u8]| table::decode_value::<M>(table, value).expect("decodes");
    let (key, value) = find(rows, table, |_, value| so(&read(value)));
    let mut row = read(&value);
    change(&mut row);
    rows.put(table, key, table::encode_value(&row));
}

fn lose(rows: &mut MemTable, table: Table) {
    let (key, _) = find(rows, table, |_, _| true);
    rows.delete(table, key);
}

/// Fault in the state, and the invariant that must notice it.
type Fault = (&'static str, fn(&mut MemTable));

const FAULTS: [Fault; 35] = [
    ("timeline_and_index_agree", |rows| lose(rows, Table::EventRoom)),
    ("timeline_and_index_agree", |rows| lose(rows, Table::Timeline)),
    ("time_never_goes_back", |rows| {
        edit::<store::Event>(rows, Table::Timeline, |_| true, |event| event.origin_server_ts = 1);
    }),
    ("state_versions_form_chains", |rows| lose(rows, Table::StateVersion)),
    ("state_versions_form_chains", |rows| lose(rows, Table::StateChange)),
    ("state_versions_form_chains", |rows| {
        edit::<store::Event>(
            rows,
            Table::Timeline,
            |event| !event.replaces.is_empty(),
            |event| event.replaces = Bytes::new(),
        );
    }),
    ("redactions_agree", |rows| {
        edit::<store::Event>(
            rows,
            Table::Timeline,
            |event| !event.redacted_by.is_empty(),
            |event| event.content = Bytes::from_static(br#"{"body":"still there"}"#),
        );
    }),
    ("relations_point_backward", |rows| {
        edit::<store::Relation>(rows, Table::Relation, |_| true, |relation| relation.sender = "@eve:a.org".into());
    }),
    ("aggregates_agree_with_relations", |rows| lose(rows, Table::Aggregate)),
    ("aggregates_agree_with_relations", |rows| {
        edit::<store::Aggregate>(rows, Table::Aggregate, |row| row.events > 0, |row| row.events += 1);
    }),
    ("memberships_agree_with_state", |rows| lose(rows, Table::Membership)),
    ("memberships_agree_with_state", |rows| {
        edit::<store::Membership>(
            rows,
            Table::RoomMember,
            |member| member.kind() == store::membership::Kind::Join,
            |member| member.set_kind(store::membership::Kind::Leave),
        );
    }),
    ("member_counts_are_right", |rows| {
        edit::<store::Room>(rows, Table::Room, |_| true, |room| room.joined_members += 1);
    }),
    ("rooms_begin_with_their_creation", |rows| lose(rows, Table::PublicRoom)),
    ("levels_are_those_of_state", |rows| {
        edit::<store::Room>(
            rows,
            Table::Room,
            |_| true,
            |room| room.levels = Some(store::Levels { ban: 1, ..room.levels.clone().unwrap_or_default() }),
        );
    }),
    ("aliases_lead_to_rooms", |rows| {
        edit::<store::Alias>(rows, Table::Alias, |_| true, |alias| alias.room = 99);
    }),
    ("purged_history_is_gone", |rows| {
        // The mark claims that all messages are gone, while they are still there.
        let purged_to = table::position_field(id::Position { incarnation: 0, index: u64::MAX, ordinal: 0 });
        edit::<store::Room>(rows, Table::Room, |_| true, |room| room.purged_to = purged_to.clone());
    }),
    ("retention_is_that_of_state", |rows| {
        edit::<store::Room>(rows, Table::Room, |_| true, |room| room.max_lifetime_ms += 1);
    }),
    ("devices_and_tokens_agree", |rows| lose(rows, Table::Token)),
    ("dehydrated_devices_are_devices", |rows| {
        edit::<store::DehydratedDevice>(rows, Table::DehydratedDevice, |_| true, |row| row.device_id = "E".into());
    }),
    ("dedup_outcomes_point_to_their_events", |rows| {
        edit::<store::Dedup>(rows, Table::Dedup, |row| !row.event.is_empty(), |row| row.time_ms += 1);
    }),
    ("sequences_are_of_devices", |rows| {
        let (key, value) = find(rows, Table::Sequence, |_, _| true);
        rows.put(Table::Sequence, [b"eve\0".as_slice(), &key].concat(), value);
    }),
    ("device_queues_are_counted", |rows| lose(rows, Table::ToDevice)),
    ("device_queues_are_counted", |rows| lose(rows, Table::ToDeviceQueue)),
    ("backups_are_counted", |rows| lose(rows, Table::BackupKey)),
    ("backups_are_counted", |rows| lose(rows, Table::KeyBackup)),
    ("receipts_are_of_members", |rows| {
        let nowhere = table::position_field(id::Position { incarnation: 0, index: u64::MAX, ordinal: 0 });
        edit::<store::Receipt>(rows, Table::Receipt, |_| true, |receipt| receipt.event = nowhere.clone());
    }),
    ("receipts_agree_with_changes", |rows| lose(rows, Table::ReceiptChange)),
    ("receipts_agree_with_changes", |rows| lose(rows, Table::ReceiptPlace)),
    ("keys_are_of_devices", |rows| {
        let (key, value) = find(rows, Table::DeviceKeys, |_, _| true);
        rows.put(Table::DeviceKeys, [&key[..], b"E"].concat(), value);
    }),
    ("stocks_count_their_keys", |rows| lose(rows, Table::OneTimeKey)),
    ("key_changes_are_found_both_ways", |rows| lose(rows, Table::LastKeyChange)),
    ("pushers_are_of_devices", |rows| lose(rows, Table::PusherUser)),
    ("pushers_are_of_devices", |rows| {
        edit::<store::Pusher>(rows, Table::Pusher, |_| true, |pusher| pusher.device_id = "E".into());
    }),
    ("waiting_pushes_are_of_pushers", |rows| lose(rows, Table::Pusher)),
];

#[test]
fn every_property_notices_what_it_is_there_for() {
    let good = good();
    check_all(&good).expect("the good state is good");
    for (place, (name, spoil)) in FAULTS.iter().enumerate() {
        let mut rows = good.clone();
        spoil(&mut rows);
        assert_ne!(rows, good, "fault {place} changes nothing");
        let (_, check) = ALL.iter().find(|(known, _)| known == name).expect("a property of this name");
        let noticed = check(&rows);
        // A dangling pointer is reported as a row that cannot be followed.
        let named = match &noticed {
            Err(InvariantViolation::Broken { invariant, .. }) => invariant == name,
            Err(InvariantViolation::Read(_)) => true,
            Ok(()) => false,
        };
        assert!(named, "fault {place}: {name} says {noticed:?}");
    }
}

#[test]
fn every_property_has_a_fault_that_it_notices() {
    for (name, _) in ALL {
        assert!(FAULTS.iter().any(|(known, _)| *known == name), "{name} was never seen to fail");
    }
}
