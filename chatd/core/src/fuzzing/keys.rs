//! Keys: a key gives back the parts it was built from, different things have different keys, and keys are ordered like
//! the things that they name.

use crate::id::{POSITION_LEN, Position, RoomNumber};
use crate::receipt::ReceiptKind;
use crate::table::key;
use std::cmp::Ordering;

/// Parts that keys are built from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyParts {
    room: RoomNumber,
    at: Position,
    other: Position,
    one: String,
    two: String,
}

/// Checks two sets of parts, one from each half of the bytes, and the bytes themselves as a key.
pub(super) fn fuzz_keys(bytes: &[u8]) -> bool {
    let (left, right) = bytes.split_at(bytes.len() / 2);
    as_a_key(bytes);
    check_prefix(left, right);
    let (Some(a), Some(b)) = (KeyParts::of(left), KeyParts::of(right)) else { return false };
    check_numbers(&a, &b);
    check_texts(&a, &b);
    true
}

impl KeyParts {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (room, rest) = bytes.split_first_chunk::<8>()?;
        let (at, rest) = rest.split_first_chunk::<POSITION_LEN>()?;
        let (other, rest) = rest.split_first_chunk::<POSITION_LEN>()?;
        let text = std::str::from_utf8(rest).ok()?;
        let (one, two) = text.split_once('\n').unwrap_or((text, ""));
        Some(Self {
            room: RoomNumber(u64::from_be_bytes(*room)),
            at: Position::from_bytes(at)?,
            other: Position::from_bytes(other)?,
            one: one.to_owned(),
            two: two.to_owned(),
        })
    }
}

/// Checks that fixed-width keys are ordered like what they name.
fn check_numbers(a: &KeyParts, b: &KeyParts) {
    assert_eq!(Position::from_bytes(&a.at.to_bytes()), Some(a.at));
    assert_order(key::position_key(a.at), key::position_key(b.at), a.at.cmp(&b.at));
    let entry = Position { ordinal: 0, ..a.at };
    assert_eq!(key::parse_entry_key(&key::entry_key(a.at)), Some(entry));
    let entries = [a.at, b.at].map(|at| Position { ordinal: 0, ..at });
    assert_order(key::entry_key(a.at), key::entry_key(b.at), entries[0].cmp(&entries[1]));
    assert_order(key::room_key(a.room), key::room_key(b.room), a.room.cmp(&b.room));
    let left = key::room_position(a.room, a.at);
    let right = key::room_position(b.room, b.at);
    assert_eq!(key::leading_room(&left), Some(a.room));
    assert_eq!(key::trailing_position(&left), Some(a.at));
    assert_order(left, right, (a.room, a.at).cmp(&(b.room, b.at)));
    assert!(a.at == Position::ZERO || a.at.before() < a.at);
}

/// Checks that keys with text in them belong to one thing alone.
fn check_texts(a: &KeyParts, b: &KeyParts) {
    let version = |p: &KeyParts| key::state_version(p.room, &p.one, &p.two, p.at);
    assert_eq!(key::parse_state_version(&version(a)), Some((a.room, a.one.as_str(), a.two.as_str(), a.at)));
    let by_versions = |p: &KeyParts| (p.room, p.one.len(), p.one.clone(), p.two.len(), p.two.clone(), p.at);
    assert_order(version(a), version(b), by_versions(a).cmp(&by_versions(b)));
    let relation = |p: &KeyParts| key::relation_key(p.room, p.other, &p.one, p.at);
    let by_relations = |p: &KeyParts| (p.room, p.other, p.one.len(), p.one.clone(), p.at);
    assert_order(relation(a), relation(b), by_relations(a).cmp(&by_relations(b)));
    let annotation = |p: &KeyParts| key::annotation_key(p.room, p.at, &p.one, "alice", &p.two);
    let by_annotations = |p: &KeyParts| (p.room, p.at, p.one.len(), p.one.clone(), p.two.clone());
    assert_order(annotation(a), annotation(b), by_annotations(a).cmp(&by_annotations(b)));
    // Zero-terminated names contain no zero byte: the APIs and apply refuse it.
    if [&a.one, &a.two, &b.one, &b.two].iter().any(|text| text.contains('\0')) {
        return;
    }
    let names = |p: &KeyParts| (p.one.clone(), p.two.clone());
    let distinct = |x: Vec<u8>, y: Vec<u8>, same: bool| assert_eq!(x == y, same, "{a:?} {b:?}");
    distinct(key::device_key(&a.one, &a.two), key::device_key(&b.one, &b.two), names(a) == names(b));
    let dedup = |p: &KeyParts| key::dedup_key(&p.one, &p.two, &[&p.one], &p.two);
    distinct(dedup(a), dedup(b), names(a) == names(b));
    let by_pod = |p: &KeyParts| key::pod_dedup_key(&p.one, &p.two, &[&p.one], &p.two, p.room.0);
    distinct(by_pod(a), by_pod(b), names(a) == names(b) && a.room == b.room);
    distinct(dedup(a), by_pod(b), false);
    let data = |p: &KeyParts| key::account_data(&p.one, p.room, &p.two);
    distinct(data(a), data(b), names(a) == names(b) && a.room == b.room);
    let membership = |p: &KeyParts| key::membership_key(&p.one, p.room);
    distinct(membership(a), membership(b), a.one == b.one && a.room == b.room);
    let waiting = |p: &KeyParts| key::to_device_key(&p.one, &p.two, p.at);
    distinct(waiting(a), waiting(b), names(a) == names(b) && a.at == b.at);
    let backed_up = |p: &KeyParts| key::backup_key("a", p.room.0, &p.one, &p.two);
    distinct(backed_up(a), backed_up(b), names(a) == names(b) && a.room == b.room);
    let rest = backed_up(a).split_off(key::key_backup("a", a.room.0).len());
    assert_eq!(key::parse_backup_key(&rest), Some((a.one.as_str(), a.two.as_str())));
    let sequence = |p: &KeyParts| key::sequence_key(&p.one, &p.two, p.room.0);
    distinct(sequence(a), sequence(b), names(a) == names(b) && a.room == b.room);
    let receipt = |p: &KeyParts| key::receipt_key(p.room, &p.one, ReceiptKind::Private, &p.two);
    distinct(receipt(a), receipt(b), names(a) == names(b) && a.room == b.room);
    let parts = (a.room, a.one.as_str(), ReceiptKind::Private, a.two.as_str());
    assert_eq!(key::parse_receipt(&receipt(a)), Some(parts));
}

fn assert_order(a: Vec<u8>, b: Vec<u8>, expected: Ordering) {
    assert_eq!(a.cmp(&b), expected, "{a:?} {b:?}");
}

/// Checks that a key that can be parsed is built again from its parts.
fn as_a_key(bytes: &[u8]) {
    if let Some((room, event_type, state_key, at)) = key::parse_state_version(bytes) {
        assert_eq!(key::state_version(room, event_type, state_key, at), bytes);
    }
    assert_eq!(key::leading_room(bytes).is_some(), bytes.len() >= 8);
    assert_eq!(key::trailing_position(bytes).is_some(), bytes.len() >= POSITION_LEN);
}

/// Checks that a scan to the end of a prefix shows all keys that begin with it, and no others.
fn check_prefix(prefix: &[u8], other: &[u8]) {
    let end = key::after_prefix(prefix);
    let key = [prefix, other].concat();
    let within = |key: &[u8]| key >= prefix && (end.is_empty() || key < end.as_slice());
    assert!(within(&key));
    assert_eq!(within(other), other.starts_with(prefix) || (end.is_empty() && other >= prefix));
}
