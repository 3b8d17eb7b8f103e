//! JSON of events, power levels and filters.

use crate::auth::{levels, redaction};
use crate::id::{Position, RoomNumber};
use crate::json::{self, JsonObject};
use crate::query::{RoomEvent, SyncFilter};
use crate::retention;
use crate::room_version::RoomVersion;
use bytes::Bytes;
use serde_json::Value;

/// Event types whose content a redaction keeps in part.
const REDUCED: [&str; 5] =
    ["m.room.member", "m.room.join_rules", "m.room.power_levels", "m.room.history_visibility", "m.room.redaction"];

/// Checks the content of an event: accepted content can be parsed and has one canonical form.
pub(super) fn fuzz_content(bytes: &[u8]) -> bool {
    let parsed = json::parse_object(bytes);
    assert_eq!(json::check_object(bytes).is_ok(), parsed.is_ok(), "let in, and not to be read: {parsed:?}");
    let Ok(object) = parsed else { return false };
    if json::check_event_content(bytes).is_ok() {
        assert!(object.values().all(is_canonical), "not canonical: {object:?}");
    }
    let canonical = json::canonical_json(&object);
    let again = json::parse_object(&canonical);
    assert!(again.is_ok_and(|again| again == object && json::canonical_json(&again) == canonical), "{object:?}");
    assert_eq!(json::stored_object(bytes), object);
    for key in object.keys() {
        assert_eq!(json::string_len(key), Value::from(key.as_str()).to_string().len());
    }
    for event_type in REDUCED {
        let stripped = redaction::redacted_content(RoomVersion::V11, event_type, bytes);
        assert_eq!(redaction::redacted_content(RoomVersion::V11, event_type, &stripped), stripped, "{event_type}");
    }
    drop(retention::max_lifetime(&object));
    true
}

/// Returns `true` if all numbers of a value are allowed in canonical JSON.
fn is_canonical(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().is_some_and(|number| number.unsigned_abs() < 1 << 53),
        Value::Array(items) => items.iter().all(is_canonical),
        Value::Object(object) => object.values().all(is_canonical),
        _ => true,
    }
}

/// Checks power levels, and a change of them.
pub(super) fn fuzz_levels(bytes: &[u8]) -> bool {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let object = |line: Option<&[u8]>| line.and_then(|line| json::parse_object(line).ok());
    let Some(old) = object(lines.next()) else { return false };
    let Ok(read) = levels::parse_levels(&old, "a.org") else { return false };
    for named in [&read.users, &read.events] {
        assert!(named.is_sorted_by(|a, b| a.name < b.name), "a name twice, or out of order: {named:?}");
        assert!(named.iter().all(|entry| entry.level.unsigned_abs() < 1 << 53));
    }
    assert!(read.users.iter().all(|entry| read.of(&entry.name) == entry.level));
    let Some(new) = object(lines.next()) else { return false };
    if levels::parse_levels(&new, "a.org").is_err() {
        return false;
    }
    let power = read.of("alice");
    let allowed = levels::check_change("@alice:a.org", power, &old, &new).is_ok();
    assert!(!allowed || grants_no_more_than(power, &old, &new), "{power}: {old:?} to {new:?}");
    true
}

/// Returns `true` if no user has more power than `power`, except those who had it before.
fn grants_no_more_than(power: i64, old: &JsonObject, new: &JsonObject) -> bool {
    let users = |object: &JsonObject| object.get("users").and_then(Value::as_object).cloned().unwrap_or_default();
    let before = users(old);
    users(new)
        .iter()
        .all(|(user, level)| level.as_i64().is_none_or(|level| level <= power) || before.get(user) == Some(level))
}

/// Checks a filter, and its verdict about events made of its own types.
pub(super) fn fuzz_filter(bytes: &[u8]) -> bool {
    let Ok(filter) = SyncFilter::from_json(bytes) else { return false };
    let rooms = filter.rooms.iter().flatten().chain(&filter.not_rooms);
    rooms.for_each(|room| assert!(!filter.not_rooms.contains(room) || !filter.wants_room(room)));
    for part in [&filter.timeline, &filter.state] {
        let types = part.types.iter().flatten().chain(&part.not_types);
        for event_type in types.take(4) {
            let event = event_of(event_type);
            // Every pattern matches its own text.
            assert!(!part.not_types.contains(event_type) || !part.wants(&event));
        }
    }
    true
}

fn event_of(event_type: &str) -> RoomEvent {
    RoomEvent {
        position: Position::ZERO,
        event_id: String::new(),
        room: RoomNumber(1),
        room_id: String::new(),
        sender: String::new(),
        event_type: event_type.to_owned(),
        state_key: None,
        content: Bytes::new(),
        origin_server_ts: 0,
        device_id: String::new(),
        transaction_id: String::new(),
        replaces: None,
        redacts: None,
        redacted_by: None,
        redacted_because: None,
        prev_content: None,
        membership: None,
        aggregations: None,
    }
}
