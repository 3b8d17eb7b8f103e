//! Construction of keys.
//!
//! Fixed-width numbers are big-endian. A string that is not the last part of a key is followed by a zero byte, which
//! none of them may contain (localparts, device ids, types and transaction ids are checked by the APIs and in apply).
//! The exceptions are state keys and event types, which clients choose freely: those are length-prefixed.

use crate::id::{POSITION_LEN, Position, RoomNumber};
use sha2::{Digest as _, Sha256};

/// Appends a string after its length (two bytes), so that no encoded string is a prefix of another one.
fn push_sized(out: &mut Vec<u8>, text: &str) {
    // A whole event is limited to 64 KiB, so a type or state key fits; longer ones are refused earlier.
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn zero_ended(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// Key of the cluster's row in `Table::Meta`.
pub const CLUSTER: &[u8] = b"cluster";

/// Common prefix of the keys of `Renewal` rows in `Table::Meta`.
pub const RENEWALS: &[u8] = b"renew/";

/// Returns the key of a user's `Renewal` row in `Table::Meta`.
#[must_use]
pub fn renewal_key(localpart: &str) -> Vec<u8> {
    [RENEWALS, localpart.as_bytes()].concat()
}

/// Returns the key of a row of `Table::Account`.
#[must_use]
pub fn account_key(localpart: &str) -> Vec<u8> {
    localpart.as_bytes().to_vec()
}

/// Returns the key of a row of `Table::Device`.
#[must_use]
pub fn device_key(localpart: &str, device_id: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(device_id.as_bytes());
    out
}

/// Returns the common prefix of one account's rows in `Table::Device`, `Membership`, `Filter` and `AccountData`.
#[must_use]
pub fn devices_of(localpart: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(localpart.len() + 1);
    zero_ended(&mut out, localpart);
    out
}

/// Returns the key of a row of `Table::Room` or `PublicRoom`; also the prefix of the room's rows in `Timeline`,
/// `StateVersion`, `StateChange`, `RoomMember` and `Relation`.
#[must_use]
pub fn room_key(room: RoomNumber) -> Vec<u8> {
    room.0.to_be_bytes().to_vec()
}

/// Returns the key of the row of `Table::EventRoom` that describes the entry with this position.
#[must_use]
pub fn entry_key(at: Position) -> Vec<u8> {
    let mut out = at.to_bytes().to_vec();
    out.truncate(ENTRY_LEN);
    out
}

/// Parses a key made by [`entry_key`]: the position of the entry's first command. `None` if it is not such a key.
#[must_use]
pub fn parse_entry_key(key: &[u8]) -> Option<Position> {
    let mut bytes = [0; POSITION_LEN];
    let (entry, _) = bytes.split_at_mut_checked(ENTRY_LEN)?;
    if key.len() != ENTRY_LEN {
        return None;
    }
    entry.copy_from_slice(key);
    Position::from_bytes(&bytes)
}

/// Length of the incarnation and the index, with which a position begins.
const ENTRY_LEN: usize = 12;

/// Returns the key of a row of `Table::RoomByPosition`.
#[must_use]
pub fn position_key(position: Position) -> Vec<u8> {
    position.to_bytes().to_vec()
}

/// Returns the key of a row of `Table::Timeline` or `StateChange`.
#[must_use]
pub fn room_position(room: RoomNumber, position: Position) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + POSITION_LEN);
    out.extend_from_slice(&room.0.to_be_bytes());
    out.extend_from_slice(&position.to_bytes());
    out
}

/// Returns the prefix of all versions of one (type, state key) in `Table::StateVersion`.
#[must_use]
pub fn state_prefix(room: RoomNumber, event_type: &str, state_key: &str) -> Vec<u8> {
    let mut out = state_of_type(room, event_type);
    push_sized(&mut out, state_key);
    out
}

/// Returns the prefix of all versions of one type, whatever the state key, in `Table::StateVersion`.
#[must_use]
pub fn state_of_type(room: RoomNumber, event_type: &str) -> Vec<u8> {
    let mut out = room.0.to_be_bytes().to_vec();
    push_sized(&mut out, event_type);
    out
}

/// Returns the key of a row of `Table::StateVersion`.
#[must_use]
pub fn state_version(room: RoomNumber, event_type: &str, state_key: &str, position: Position) -> Vec<u8> {
    let mut out = state_prefix(room, event_type, state_key);
    out.extend_from_slice(&position.to_bytes());
    out
}

/// Splits a `StateVersion` key into its parts; `None` if it is not such a key.
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

/// Returns the key of a row of `Table::Membership`.
#[must_use]
pub fn membership_key(localpart: &str, room: RoomNumber) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(&room.0.to_be_bytes());
    out
}

/// Returns the key of a row of `Table::RoomMember`.
#[must_use]
pub fn room_member(room: RoomNumber, localpart: &str) -> Vec<u8> {
    let mut out = room.0.to_be_bytes().to_vec();
    out.extend_from_slice(localpart.as_bytes());
    out
}

/// Returns the prefix of all relations to one event in `Table::Relation`.
#[must_use]
pub fn relations_to(room: RoomNumber, target: Position) -> Vec<u8> {
    room_position(room, target)
}

/// Returns the key of a row of `Table::Relation`.
#[must_use]
pub fn relation_key(room: RoomNumber, target: Position, relation_type: &str, event: Position) -> Vec<u8> {
    let mut out = relations_of_type(room, target, relation_type);
    out.extend_from_slice(&event.to_bytes());
    out
}

/// Returns the prefix of all relations of one type to one event in `Table::Relation`.
#[must_use]
pub fn relations_of_type(room: RoomNumber, target: Position, relation_type: &str) -> Vec<u8> {
    let mut out = relations_to(room, target);
    push_sized(&mut out, relation_type);
    out
}

/// Returns the key of a row of `Table::Dedup` for a transaction id that a client chose. The scope and the id are hashed:
/// keys stay short, and a client that finds a collision only repeats an answer of its own.
#[must_use]
pub fn dedup_key(localpart: &str, device_id: &str, scope: &[&str], transaction_id: &str) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    out.push(CHOSEN_BY_CLIENT);
    out.extend_from_slice(&transaction_hash(scope, transaction_id));
    out
}

/// Returns the key of a row of `Table::Dedup` for a transaction id that a pod made at this time, in milliseconds since
/// the Unix epoch. Such rows of a device are in the order of their times.
#[must_use]
pub fn pod_dedup_key(
    localpart: &str,
    device_id: &str,
    scope: &[&str],
    transaction_id: &str,
    made_at_ms: u64,
) -> Vec<u8> {
    let mut out = pod_dedup_of(localpart, device_id);
    out.extend_from_slice(&made_at_ms.to_be_bytes());
    out.extend_from_slice(&transaction_hash(scope, transaction_id));
    out
}

/// Returns the prefix of one device's rows in `Table::Dedup` whose transaction ids were made by pods.
#[must_use]
pub fn pod_dedup_of(localpart: &str, device_id: &str) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    out.push(MADE_BY_POD);
    out
}

const MADE_BY_POD: u8 = 0;
const CHOSEN_BY_CLIENT: u8 = 1;

/// Returns the first half of the SHA-256 of a scope and a transaction id, each part after its length.
fn transaction_hash(scope: &[&str], transaction_id: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in scope.iter().chain([&transaction_id]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut out = [0; 16];
    for (byte, hashed) in out.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    out
}

/// Returns the key of a row of `Table::Sequence`.
#[must_use]
pub fn sequence_key(localpart: &str, device_id: &str, id: u64) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    out.extend_from_slice(&id.to_be_bytes());
    out
}

/// Returns the prefix of one device's rows in `Table::Dedup` and `Sequence`.
#[must_use]
pub fn dedup_of(localpart: &str, device_id: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    zero_ended(&mut out, device_id);
    out
}

/// Returns the key of a row of `Table::Alias`.
#[must_use]
pub fn alias_key(localpart: &str) -> Vec<u8> {
    localpart.as_bytes().to_vec()
}

/// Returns the key of a row of `Table::Filter`.
#[must_use]
pub fn filter_key(localpart: &str, number: u64) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(&number.to_be_bytes());
    out
}

/// Returns the key of a row of `Table::AccountData`. Room 0 stands for global data (room numbers begin at 1).
#[must_use]
pub fn account_data(localpart: &str, room: RoomNumber, event_type: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(&room.0.to_be_bytes());
    out.extend_from_slice(event_type.as_bytes());
    out
}

/// Decodes the room number at the start of a key, or alone in a value; `None` if there are fewer than 8 bytes.
#[must_use]
pub fn leading_room(bytes: &[u8]) -> Option<RoomNumber> {
    bytes.first_chunk::<8>().map(|b| RoomNumber(u64::from_be_bytes(*b)))
}

/// Decodes the position at the end of a key; `None` if the key is shorter than a position.
#[must_use]
pub fn trailing_position(key: &[u8]) -> Option<Position> {
    key.last_chunk::<POSITION_LEN>().and_then(|b| Position::from_bytes(b))
}

/// Returns the smallest key greater than all keys with this prefix; empty (no bound) if there is none.
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
        let short = state_prefix(room, "t", "a");
        assert!(!state_prefix(room, "t", "ab").starts_with(&short));
        assert!(!state_prefix(room, "ta", "").starts_with(&state_prefix(room, "t", "")));
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
