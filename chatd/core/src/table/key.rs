//! Construction of keys.
//!
//! Fixed-width numbers are big-endian. A string that is not the last part of a key is followed by a zero byte, which
//! none of them may contain (localparts, device ids, types and transaction ids are checked by the APIs and in apply).
//! The exceptions are state keys and event types, which clients choose freely: those are length-prefixed.

mod dedup;

pub use dedup::{dedup_by_age, dedup_by_age_of, dedup_key, dedup_of_aged, pod_dedup_key, pod_dedup_of};
mod administration;
mod personal;
mod registered;

pub use personal::{profile_key, removed_data_key};

pub use registered::{REGISTERED_DIALOGUES, registered_dialogue};

pub use administration::{
    CLEARINGS, REGISTRATION_TOKENS, notice_room, registration_token, room_block, room_clearing, standing_key,
};

use crate::id::{POSITION_LEN, Position, RoomNumber};
use crate::receipt::ReceiptKind;

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

/// Key of the row with the cluster's signing key in `Table::Meta`.
pub const SIGNING_KEY: &[u8] = b"signing-key";

/// Common prefix of the keys of `Departure` rows in `Table::Meta`.
pub const DEPARTURES: &[u8] = b"depart/";

/// Returns the key of a user's `Departure` row in `Table::Meta`.
#[must_use]
pub fn departure_key(localpart: &str) -> Vec<u8> {
    [DEPARTURES, localpart.as_bytes()].concat()
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

/// Returns the common prefix of one account's rows in `Table::Device`, `Membership`, `Filter`, `AccountData`,
/// `KeyBackup` and `Report`.
#[must_use]
pub fn devices_of(localpart: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(localpart.len() + 1);
    zero_ended(&mut out, localpart);
    out
}

/// Returns the key of a row of `Table::Room` or `PublicRoom`; also the prefix of the room's rows in `Timeline`,
/// `StateVersion`, `StateChange`, `RoomMember`, `Relation` and `RoomAlias`.
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

/// Returns the key of a row of `Table::Timeline`, `StateChange` or `ReceiptChange`.
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

/// Kinds of rows in `Table::Aggregate`: the byte after the room.
const THREAD_NEWEST: u8 = 1;
const THREAD_AUTHOR: u8 = 2;
const ANNOTATION: u8 = 3;

fn aggregate_of(room: RoomNumber, kind: u8) -> Vec<u8> {
    let mut out = room_key(room);
    out.push(kind);
    out
}

/// Returns the prefix of a room's threads in `Table::Aggregate`, which are in order of their newest events.
#[must_use]
pub fn threads_of(room: RoomNumber) -> Vec<u8> {
    aggregate_of(room, THREAD_NEWEST)
}

/// Returns the key of a thread in `Table::Aggregate`, by its newest event.
#[must_use]
pub fn thread_newest(room: RoomNumber, newest: Position) -> Vec<u8> {
    let mut out = threads_of(room);
    out.extend_from_slice(&newest.to_bytes());
    out
}

/// Returns the key of a user who wrote in a thread, in `Table::Aggregate`.
#[must_use]
pub fn thread_author(room: RoomNumber, root: Position, localpart: &str) -> Vec<u8> {
    let mut out = aggregate_of(room, THREAD_AUTHOR);
    out.extend_from_slice(&root.to_bytes());
    out.extend_from_slice(localpart.as_bytes());
    out
}

/// Returns the key of a user's annotation in `Table::Aggregate`. The annotation's own key comes last, because clients
/// choose it freely.
#[must_use]
pub fn annotation_key(room: RoomNumber, target: Position, event_type: &str, localpart: &str, key: &str) -> Vec<u8> {
    let mut out = aggregate_of(room, ANNOTATION);
    out.extend_from_slice(&target.to_bytes());
    push_sized(&mut out, event_type);
    zero_ended(&mut out, localpart);
    out.extend_from_slice(key.as_bytes());
    out
}

/// Returns the type of the relation that a key of `Table::Relation` names; `None` if it is not such a key.
#[must_use]
pub fn relation_type(key: &[u8]) -> Option<&str> {
    let (relation_type, _) = split_sized(key.get(8 + POSITION_LEN..)?)?;
    Some(relation_type)
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

/// Returns the key of a row of `Table::RoomAlias`.
#[must_use]
pub fn room_alias_key(room: RoomNumber, localpart: &str) -> Vec<u8> {
    let mut out = room_key(room);
    out.extend_from_slice(localpart.as_bytes());
    out
}

/// Returns the key of a row of `Table::PublicRoomBySize`.
#[must_use]
pub fn room_by_size(members: u64, room: RoomNumber) -> Vec<u8> {
    // Larger rooms come first.
    let mut out = (u64::MAX - members).to_be_bytes().to_vec();
    out.extend_from_slice(&room.0.to_be_bytes());
    out
}

/// Splits a key made by [`room_by_size`] into the number of members and the room; `None` if it is not such a key.
#[must_use]
pub fn parse_room_by_size(key: &[u8]) -> Option<(u64, RoomNumber)> {
    let (members, room) = key.split_first_chunk::<8>()?;
    let room: [u8; 8] = room.try_into().ok()?;
    Some((u64::MAX - u64::from_be_bytes(*members), RoomNumber(u64::from_be_bytes(room))))
}

/// Returns the key of a row of `Table::Report`.
#[must_use]
pub fn report_key(localpart: &str, at: Position) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(&at.to_bytes());
    out
}

/// Key of the row in `Table::Meta` with the progress of what is sent to pushers.
pub const PUSH_STATE: &[u8] = b"push";

/// Returns the key of a row of `Table::Pusher`; all of a user's have the prefix [`devices_of`].
#[must_use]
pub fn pusher_key(localpart: &str, app_id: &str, pushkey: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    push_sized(&mut out, app_id);
    out.extend_from_slice(pushkey.as_bytes());
    out
}

/// Returns the prefix of the users of pushers with these ids, in `Table::PusherUser`.
#[must_use]
pub fn users_of_pusher(app_id: &str, pushkey: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_sized(&mut out, app_id);
    push_sized(&mut out, pushkey);
    out
}

/// Returns the key of a row of `Table::PusherUser`.
#[must_use]
pub fn pusher_user(app_id: &str, pushkey: &str, localpart: &str) -> Vec<u8> {
    let mut out = users_of_pusher(app_id, pushkey);
    out.extend_from_slice(localpart.as_bytes());
    out
}

/// Returns the prefix of the notifications that wait for one pusher, in `Table::WaitingPush`.
#[must_use]
pub fn waiting_for(localpart: &str, app_id: &str, pushkey: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    push_sized(&mut out, app_id);
    push_sized(&mut out, pushkey);
    out
}

/// Returns the key of a row of `Table::WaitingPush`.
#[must_use]
pub fn waiting_push(localpart: &str, app_id: &str, pushkey: &str, at: Position) -> Vec<u8> {
    let mut out = waiting_for(localpart, app_id, pushkey);
    out.extend_from_slice(&at.to_bytes());
    out
}

/// Splits a key of `Table::WaitingPush` into localpart, app id, pushkey and position; `None` if it is not such a key.
#[must_use]
pub fn parse_waiting_push(key: &[u8]) -> Option<(&str, &str, &str, Position)> {
    let localpart = leading_localpart(key)?;
    let (app_id, rest) = split_sized(key.get(localpart.len() + 1..)?)?;
    let (pushkey, at) = split_sized(rest)?;
    Some((localpart, app_id, pushkey, Position::from_bytes(at)?))
}

/// Returns the localpart at the start of a key that begins with one and a zero; `None` if it is not such a key.
#[must_use]
pub fn leading_localpart(key: &[u8]) -> Option<&str> {
    let zero = key.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(key.get(..zero)?).ok()
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

/// Returns the key of a row of `Table::ToDevice`.
#[must_use]
pub fn to_device_key(localpart: &str, device_id: &str, at: Position) -> Vec<u8> {
    let mut out = to_device_of(localpart, device_id);
    out.extend_from_slice(&at.to_bytes());
    out
}

/// Returns the prefix of one device's rows in `Table::ToDevice`.
#[must_use]
pub fn to_device_of(localpart: &str, device_id: &str) -> Vec<u8> {
    dedup_of(localpart, device_id)
}

/// Returns the key of a row of `Table::ToDeviceQueue`.
#[must_use]
pub fn to_device_queue(localpart: &str, device_id: &str) -> Vec<u8> {
    device_key(localpart, device_id)
}

/// Returns the key of a row of `Table::KeyBackup`; also the prefix of the version's rows in `BackupKey`.
#[must_use]
pub fn key_backup(localpart: &str, version: u64) -> Vec<u8> {
    filter_key(localpart, version)
}

/// Returns the prefix of the keys of one room in `Table::BackupKey`.
#[must_use]
pub fn backup_keys_of_room(localpart: &str, version: u64, room_id: &str) -> Vec<u8> {
    let mut out = key_backup(localpart, version);
    push_sized(&mut out, room_id);
    out
}

/// Returns the key of a row of `Table::BackupKey`.
#[must_use]
pub fn backup_key(localpart: &str, version: u64, room_id: &str, session_id: &str) -> Vec<u8> {
    let mut out = backup_keys_of_room(localpart, version, room_id);
    out.extend_from_slice(session_id.as_bytes());
    out
}

/// Splits a `BackupKey` key after the prefix of its version into room id and session id; `None` if it is not such a
/// key.
#[must_use]
pub fn parse_backup_key(rest: &[u8]) -> Option<(&str, &str)> {
    let (room_id, session_id) = split_sized(rest)?;
    Some((room_id, std::str::from_utf8(session_id).ok()?))
}

/// Returns the prefix of one user's receipts in a room, in `Table::Receipt`.
#[must_use]
pub fn receipts_of(room: RoomNumber, localpart: &str) -> Vec<u8> {
    let mut out = room.0.to_be_bytes().to_vec();
    zero_ended(&mut out, localpart);
    out
}

/// Returns the prefix of one user's receipts of one kind in a room, in `Table::Receipt`.
#[must_use]
pub fn receipts_of_kind(room: RoomNumber, localpart: &str, kind: ReceiptKind) -> Vec<u8> {
    let mut out = receipts_of(room, localpart);
    out.push(kind as u8);
    out
}

/// Returns the key of a row of `Table::Receipt`.
#[must_use]
pub fn receipt_key(room: RoomNumber, localpart: &str, kind: ReceiptKind, thread_id: &str) -> Vec<u8> {
    let mut out = receipts_of_kind(room, localpart, kind);
    out.extend_from_slice(thread_id.as_bytes());
    out
}

/// Splits a key of `Table::Receipt` into room, localpart, kind and thread; `None` if it is not such a key.
#[must_use]
pub fn parse_receipt(key: &[u8]) -> Option<(RoomNumber, &str, ReceiptKind, &str)> {
    let (room, rest) = key.split_first_chunk::<8>()?;
    let zero = rest.iter().position(|byte| *byte == 0)?;
    let (localpart, rest) = rest.split_at_checked(zero)?;
    let (kind, thread_id) = rest.get(1..)?.split_first()?;
    let kind = ReceiptKind::of_byte(*kind)?;
    let text = |bytes| std::str::from_utf8(bytes).ok();
    Some((RoomNumber(u64::from_be_bytes(*room)), text(localpart)?, kind, text(thread_id)?))
}

/// Returns the key of a row of `Table::ReceiptPlace`.
#[must_use]
pub fn receipt_place(changed: Position, kind: ReceiptKind) -> Vec<u8> {
    let mut out = position_key(changed);
    out.push(kind as u8);
    out
}

/// Returns the prefix of a device's one-time keys of one algorithm in `Table::OneTimeKey`. All of a device's have the
/// prefix [`dedup_of`].
#[must_use]
pub fn one_time_keys_of(localpart: &str, device_id: &str, algorithm: &str) -> Vec<u8> {
    let mut out = dedup_of(localpart, device_id);
    zero_ended(&mut out, algorithm);
    out
}

/// Returns the end of the key of a row of `Table::OneTimeKey`: later uploads, and later places in one, have greater ones.
#[must_use]
pub fn one_time_key_place(uploaded_at: Position, place: u32) -> Vec<u8> {
    let mut out = uploaded_at.to_bytes().to_vec();
    out.extend_from_slice(&place.to_be_bytes());
    out
}

/// Returns the key of a row of `Table::UserSignature`.
#[must_use]
pub fn user_signature(signer: &str, signed: &str) -> Vec<u8> {
    let mut out = devices_of(signer);
    out.extend_from_slice(signed.as_bytes());
    out
}

/// Returns the key of a row of `Table::CrossSigningKey`.
#[must_use]
pub fn signing_key(localpart: &str, usage: &str) -> Vec<u8> {
    let mut out = devices_of(localpart);
    out.extend_from_slice(usage.as_bytes());
    out
}

/// Returns the key of a row of `Table::KeyChange`.
#[must_use]
pub fn key_change(at: Position, localpart: &str) -> Vec<u8> {
    let mut out = position_key(at);
    out.extend_from_slice(localpart.as_bytes());
    out
}

/// Splits a key of `Table::KeyChange` into its parts; `None` if it is not such a key.
#[must_use]
pub fn parse_key_change(key: &[u8]) -> Option<(Position, &str)> {
    let (at, localpart) = key.split_first_chunk::<POSITION_LEN>()?;
    Some((Position::from_bytes(at)?, std::str::from_utf8(localpart).ok()?))
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
        let key = relation_key(RoomNumber(3), at, "m.thread", at);
        assert_eq!(relation_type(&key), Some("m.thread"));
        assert_eq!(relation_type(&key[..20]), None);
    }

    #[test]
    fn the_end_of_a_prefix_lies_after_all_its_keys() {
        assert_eq!(after_prefix(&[1, 2]), vec![1, 3]);
        assert_eq!(after_prefix(&[1, 255]), vec![2]);
        assert_eq!(after_prefix(&[255]), Vec::<u8>::new());
    }
}
