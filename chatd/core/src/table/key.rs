//! How keys are built. Fixed-width numbers are big-endian; a string that is not last is followed by a zero byte, which
//! none of them may contain (localparts, device ids, types and transaction ids are checked at the door and in apply),
//! except state keys and event types, which clients choose freely: those are length-prefixed.

use crate::id::{POSITION_LEN, Position, RoomNumber};

/// A string with its length (two bytes) before it: no string is a prefix of another's form.
fn sized(out: &mut Vec<u8>, text: &str) {
    // 64 KiB bounds a whole event, so a type or state key fits; a longer one is refused before it comes here.
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn zero_ended(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// Key of the cluster's row in `Meta`.
pub const CLUSTER: &[u8] = b"cluster";

/// Beginning of the keys of `Renewal` rows in `Meta`.
pub const RENEWALS: &[u8] = b"renew/";

/// `Renewal`
#[must_use]
pub fn renewal(localpart: &str) -> Vec<u8> {
    [RENEWALS, localpart.as_bytes()].concat()
}

/// `Account`
#[must_use]
pub fn account(localpart: &str) -> Vec<u8> {
    localpart.as_bytes().to_vec()
}

/// `Device`
#[must_use]
pub fn device(localpart: &str, device_id: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(device_id.as_bytes());
    out
}

/// Prefix of `Device`, `Membership`, `Filter`, `AccountData`: all of one account's.
#[must_use]
pub fn devices_of(localpart: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(localpart.len() + 1);
    zero_ended(&mut out, localpart);
    out
}

/// `Room`, `PublicRoom`; prefix of `Timeline`, `StateVersion`, `StateChange`, `RoomMember`, `Relation`.
#[must_use]
pub fn room(room: RoomNumber) -> Vec<u8> {
    room.0.to_be_bytes().to_vec()
}

/// `RoomByPosition`, `EventRoom`
#[must_use]
pub fn position(position: Position) -> Vec<u8> {
    position.to_bytes().to_vec()
}

/// `Timeline`, `StateChange`
#[must_use]
pub fn room_position(room: RoomNumber, position: Position) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + POSITION_LEN);
    out.extend_from_slice(&room.0.to_be_bytes());
    out.extend_from_slice(&position.to_bytes());
    out
}

/// Prefix of `StateVersion`: all versions of one (type, state key).
#[must_use]
pub fn state(room: RoomNumber, event_type: &str, state_key: &str) -> Vec<u8> {
    let mut out = state_of_type(room, event_type);
    sized(&mut out, state_key);
    out
}

/// Prefix of `StateVersion`: all state keys of one type.
#[must_use]
pub fn state_of_type(room: RoomNumber, event_type: &str) -> Vec<u8> {
    let mut out = room.0.to_be_bytes().to_vec();
    sized(&mut out, event_type);
    out
}

/// `StateVersion`
#[must_use]
pub fn state_version(room: RoomNumber, event_type: &str, state_key: &str, position: Position) -> Vec<u8> {
    let mut out = state(room, event_type, state_key);
    out.extend_from_slice(&position.to_bytes());
    out
}

/// What a `StateVersion` key names; `None` when it is no such key.
#[must_use]
pub fn parse_state_version(key: &[u8]) -> Option<(RoomNumber, &str, &str, Position)> {
    let (room, rest) = key.split_first_chunk::<8>()?;
    let (event_type, rest) = split_sized(rest)?;
    let (state_key, rest) = split_sized(rest)?;
    Some((RoomNumber(u64::from_be_bytes(*room)), event_type, state_key, Position::from_bytes(rest)?))
}

fn split_sized(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// `Membership`
#[must_use]
pub fn membership(localpart: &str, room: RoomNumber) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(&room.0.to_be_bytes());
    out
}

/// `RoomMember`
#[must_use]
pub fn room_member(room: RoomNumber, localpart: &str) -> Vec<u8> {
    let mut out = room.0.to_be_bytes().to_vec();
    out.extend_from_slice(localpart.as_bytes());
    out
}

/// Prefix of `Relation`: all that relates to one event.
#[must_use]
pub fn relations_to(room: RoomNumber, target: Position) -> Vec<u8> {
    room_position(room, target)
}

/// `Relation`
#[must_use]
pub fn relation(room: RoomNumber, target: Position, relation_type: &str, event: Position) -> Vec<u8> {
    let mut out = relations_of_type(room, target, relation_type);
    out.extend_from_slice(&event.to_bytes());
    out
}

/// Prefix of `Relation`: all that relates to one event in one way.
#[must_use]
pub fn relations_of_type(room: RoomNumber, target: Position, relation_type: &str) -> Vec<u8> {
    let mut out = relations_to(room, target);
    sized(&mut out, relation_type);
    out
}

/// `Dedup`; the parts of the scope stand with slashes between them.
#[must_use]
pub fn dedup(localpart: &str, device_id: &str, scope: &[&str], transaction_id: &str) -> Vec<u8> {
    let scope_len: usize = scope.iter().map(|part| part.len() + 1).sum();
    let mut out =
        Vec::with_capacity(localpart.len() + 1 + device_id.len() + 1 + scope_len.max(1) + transaction_id.len());
    zero_ended(&mut out, localpart);
    zero_ended(&mut out, device_id);
    for (place, part) in scope.iter().enumerate() {
        if place > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(transaction_id.as_bytes());
    out
}

/// `Sequence`
#[must_use]
pub fn sequence(localpart: &str, device_id: &str, id: u64) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    out.extend_from_slice(&id.to_be_bytes());
    out
}

/// Prefix of `Dedup` and `Sequence`: all of one device's.
#[must_use]
pub fn dedup_of(localpart: &str, device_id: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    zero_ended(&mut out, device_id);
    out
}

/// `Alias`
#[must_use]
pub fn alias(localpart: &str) -> Vec<u8> {
    localpart.as_bytes().to_vec()
}

/// `Filter`
#[must_use]
pub fn filter(localpart: &str, number: u64) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(&number.to_be_bytes());
    out
}

/// `AccountData`; room 0 is the global one (room numbers begin at 1).
#[must_use]
pub fn account_data(localpart: &str, room: RoomNumber, event_type: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(&room.0.to_be_bytes());
    out.extend_from_slice(event_type.as_bytes());
    out
}

/// The room number in front of a key, or alone in a value.
#[must_use]
pub fn leading_room(bytes: &[u8]) -> Option<RoomNumber> {
    bytes.first_chunk::<8>().map(|b| RoomNumber(u64::from_be_bytes(*b)))
}

/// The position at the end of a key.
#[must_use]
pub fn trailing_position(key: &[u8]) -> Option<Position> {
    key.last_chunk::<POSITION_LEN>().and_then(|b| Position::from_bytes(b))
}

/// The least key greater than all keys with this prefix; empty (no bound) when there is none.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut out = prefix.to_vec();
    while let Some(last) = out.pop() {
        if last < u8::MAX {
            out.push(last + 1);
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_state_key_is_a_prefix_of_another() {
        let room = RoomNumber(1);
        let short = state(room, "t", "a");
        assert!(!state(room, "t", "ab").starts_with(&short));
        assert!(!state(room, "ta", "").starts_with(&state(room, "t", "")));
    }

    #[test]
    fn a_state_version_key_tells_what_it_was_made_of() {
        let at = Position { incarnation: 0, index: 9, ordinal: 1 };
        let key = state_version(RoomNumber(3), "m.room.member", "@a\0b:x", at);
        assert_eq!(parse_state_version(&key), Some((RoomNumber(3), "m.room.member", "@a\0b:x", at)));
        assert_eq!(parse_state_version(&key[..20]), None);
    }

    #[test]
    fn the_end_of_a_prefix_lies_after_all_its_keys() {
        assert_eq!(after_prefix(&[1, 2]), vec![1, 3]);
        assert_eq!(after_prefix(&[1, 255]), vec![2]);
        assert_eq!(after_prefix(&[255]), Vec::<u8>::new());
    }
}
