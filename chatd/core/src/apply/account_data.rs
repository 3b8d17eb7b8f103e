//! Account data: data that a user's clients keep for each other, globally or for a room.

use super::append;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::id::RoomNumber;
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};
use bytes::Bytes;

/// Maximum size of the content in bytes, the same as for an event.
pub(super) const MAX_BYTES: usize = 65_536;

pub(super) fn apply_put_account_data(
    context: &mut ApplyContext<'_>,
    command: &log::PutAccountData,
) -> ApplyResult<CommandAnswer> {
    append::check_names(&command.r#type, None)?;
    if command.r#type == event_type::FULLY_READ {
        return refuse(Reason::Invalid, "the fully-read marker is set with the receipts of a room");
    }
    if command.content.len() > MAX_BYTES {
        return refuse(Reason::TooLarge, format!("account data must have at most {MAX_BYTES} bytes"));
    }
    append::check_object(&command.content)?;
    let room = if command.room_id.is_empty() { RoomNumber(0) } else { room_of(context, command)? };
    check_replaced(context, room, command)?;
    store_datum(context, room, command)?;
    Ok(CommandAnswer::done())
}

/// Refuses content that was made from another version than the present one, whose changes it would undo.
fn check_replaced(context: &ApplyContext<'_>, room: RoomNumber, command: &log::PutAccountData) -> ApplyResult<()> {
    let Some(replaces) = &command.replaces else { return Ok(()) };
    let key = key::account_data(context.user, room, &command.r#type);
    let present = table::fetch_row::<store::AccountData>(&context.rows, Table::AccountData, &key)?;
    if present.map(|row| row.position).unwrap_or_default() == *replaces {
        return Ok(());
    }
    refuse(Reason::Conflict, "this account data was changed by another request at the same time: try again")
}

/// Stores a piece of data whose type, content and room have been checked.
pub(super) fn store_datum(
    context: &mut ApplyContext<'_>,
    room: RoomNumber,
    command: &log::PutAccountData,
) -> ApplyResult<()> {
    enforce_limits(context, room, command)?;
    write_datum(context, room, &command.r#type, command.content.clone());
    Ok(())
}

/// Writes a piece of data, whether or not it counts towards the limits.
pub(super) fn write_datum(context: &mut ApplyContext<'_>, room: RoomNumber, event_type: &str, content: Bytes) {
    let row = store::AccountData { content, position: table::position_field(context.first) };
    let key = key::account_data(context.user, room, event_type);
    context.rows.put(Table::AccountData, key, table::encode_value(&row));
    context.touched.user(context.user);
}

/// Returns the room that the data is about. With a limit, only users with a membership may keep data about a room,
/// because accepting it would otherwise reveal to everybody which rooms exist.
fn room_of(context: &ApplyContext<'_>, command: &log::PutAccountData) -> ApplyResult<RoomNumber> {
    let room = context.room_by_id(&command.room_id)?;
    let known = rows::membership_row(&context.rows, room.number, context.user)?.kind() != Kind::Unspecified;
    if known || !is_limited(command) {
        Ok(room.number)
    } else {
        refuse(Reason::NotMember, "you are not in this room; join it first")
    }
}

fn is_limited(command: &log::PutAccountData) -> bool {
    command.max_entries > 0 || command.max_bytes > 0
}

/// Amount of account data that an account has.
#[derive(Clone, Copy, Default)]
struct DataUsage {
    entries: u64,
    bytes: u64,
}

impl DataUsage {
    fn of(event_type: &[u8], content: &[u8]) -> Self {
        Self { entries: 1, bytes: u64::try_from(event_type.len() + content.len()).unwrap_or(u64::MAX) }
    }
}

/// Counts what the account will have, and refuses a command that would exceed its limits. Replacing a piece by one that
/// is no larger is always allowed.
fn enforce_limits(context: &mut ApplyContext<'_>, room: RoomNumber, command: &log::PutAccountData) -> ApplyResult<()> {
    let mut account = rows::account_row(&context.rows, context.user)?.unwrap_or_default();
    if !account.account_data_counted && !is_limited(command) {
        return Ok(());
    }
    let limit = |limit: u64| if limit == 0 { u64::MAX } else { limit };
    let limits = DataUsage { entries: limit(command.max_entries.into()), bytes: limit(command.max_bytes) };
    let (counted, now) = if account.account_data_counted {
        (true, DataUsage { entries: account.account_data_entries, bytes: account.account_data_bytes })
    } else {
        count_all(context, limits)?
    };
    let key = key::account_data(context.user, room, &command.r#type);
    let old = table::fetch_row::<store::AccountData>(&context.rows, Table::AccountData, &key)?;
    let old = old.map(|old| DataUsage::of(command.r#type.as_bytes(), &old.content)).unwrap_or_default();
    let new = DataUsage::of(command.r#type.as_bytes(), &command.content);
    let after = DataUsage {
        entries: now.entries.saturating_sub(old.entries).saturating_add(new.entries),
        bytes: now.bytes.saturating_sub(old.bytes).saturating_add(new.bytes),
    };
    if after.entries > limits.entries && old.entries == 0 {
        let message =
            format!("an account can have at most {} account data entries: change an existing one", limits.entries);
        return refuse(Reason::TooLarge, message);
    }
    if after.bytes > limits.bytes && new.bytes > old.bytes {
        let message =
            format!("an account can have at most {} bytes of account data: make an entry smaller", limits.bytes);
        return refuse(Reason::TooLarge, message);
    }
    if counted {
        account.account_data_counted = true;
        account.account_data_entries = after.entries;
        account.account_data_bytes = after.bytes;
        context.rows.put(Table::Account, key::account_key(context.user), table::encode_value(&account));
    }
    Ok(())
}

/// Writes account data that the server itself derives from the user's own, and counts it. Content that is too large is
/// left out: the user has it under its old name.
pub(super) fn put_copy(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    room: RoomNumber,
    event_type: &str,
    content: Bytes,
) -> ApplyResult<()> {
    if content.len() > MAX_BYTES {
        return Ok(());
    }
    let key = key::account_data(localpart, room, event_type);
    let old = table::fetch_row::<store::AccountData>(&context.rows, Table::AccountData, &key)?;
    let old = old.map(|old| DataUsage::of(event_type.as_bytes(), &old.content)).unwrap_or_default();
    let new = DataUsage::of(event_type.as_bytes(), &content);
    let mut account = rows::account_row(&context.rows, localpart)?.unwrap_or_default();
    if account.account_data_counted {
        account.account_data_entries = account.account_data_entries.saturating_sub(old.entries) + new.entries;
        account.account_data_bytes = account.account_data_bytes.saturating_sub(old.bytes) + new.bytes;
        context.rows.put(Table::Account, key::account_key(localpart), table::encode_value(&account));
    }
    let row = store::AccountData { content, position: table::position_field(context.first) };
    context.rows.put(Table::AccountData, key, table::encode_value(&row));
    context.touched.user(localpart);
    Ok(())
}

/// Removes a piece of global account data, and counts that. Returns `true` if there was one.
pub(super) fn remove_datum(context: &mut ApplyContext<'_>, localpart: &str, event_type: &str) -> ApplyResult<bool> {
    let key = key::account_data(localpart, RoomNumber(0), event_type);
    let Some(old) = table::fetch_row::<store::AccountData>(&context.rows, Table::AccountData, &key)? else {
        return Ok(false);
    };
    let old = DataUsage::of(event_type.as_bytes(), &old.content);
    let mut account = rows::account_row(&context.rows, localpart)?.unwrap_or_default();
    if account.account_data_counted {
        account.account_data_entries = account.account_data_entries.saturating_sub(old.entries);
        account.account_data_bytes = account.account_data_bytes.saturating_sub(old.bytes);
        context.rows.put(Table::Account, key::account_key(localpart), table::encode_value(&account));
    }
    context.rows.delete(Table::AccountData, key);
    Ok(true)
}

/// Counts the data of an account that has not been counted yet. Returns `true` with the amount if the count is
/// complete. Counting stops beyond the limits, so that its work is bounded; such an account is counted again until it
/// is within them.
fn count_all(context: &ApplyContext<'_>, limits: DataUsage) -> ApplyResult<(bool, DataUsage)> {
    let from = key::devices_of(context.user);
    let mut all = true;
    let mut amount = DataUsage::default();
    context.rows.scan(&ScanRange::with_prefix(Table::AccountData, &from), &mut |(key, value)| {
        if amount.entries > limits.entries || amount.bytes > limits.bytes {
            all = false;
            return Ok(ScanControl::Stop);
        }
        let row: store::AccountData = table::decode_value(Table::AccountData, value)?;
        // The type follows the localpart and the room number.
        let event_type = key.get(from.len() + 8..).unwrap_or_default();
        // The server's own: one for each room at most, and no reason to refuse what clients want to keep.
        if event_type == event_type::FULLY_READ.as_bytes() {
            return Ok(ScanControl::More);
        }
        amount.entries += 1;
        amount.bytes += DataUsage::of(event_type, &row.content).bytes;
        Ok(ScanControl::More)
    })?;
    Ok((all, amount))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::testing::{World, world};

    fn put(world: &mut World, room: &str, event_type: &str, content: &'static str) -> Envelope {
        limited(world, "alice", (room, event_type, content), (0, 0))
    }

    fn limited(world: &mut World, user: &str, what: (&str, &str, &str), limits: (u32, u64)) -> Envelope {
        let (room, event_type, content) = what;
        let put = log::PutAccountData {
            room_id: room.into(),
            r#type: event_type.into(),
            content: content.to_owned().into(),
            max_entries: limits.0,
            max_bytes: limits.1,
            replaces: None,
        };
        world.by(user, Kind::PutAccountData(put))
    }

    /// Returns the count kept with the account, which must have been counted.
    fn counted(world: &World) -> (u64, u64) {
        let account = rows::account_row(&world.rows, "alice").unwrap().unwrap();
        assert!(account.account_data_counted);
        (account.account_data_entries, account.account_data_bytes)
    }

    #[test]
    fn content_made_from_another_version_is_refused_and_changes_nothing() {
        let mut world = world(&["alice"]);
        let version = |world: &World| {
            let found = world.view().account_data_version("alice", "a").unwrap();
            found.map(|(content, version)| (content, version.0)).unwrap_or_default()
        };
        let replacing = |world: &mut World, content: &'static str, replaces: bytes::Bytes| {
            let content = bytes::Bytes::from_static(content.as_bytes());
            let put =
                log::PutAccountData { r#type: "a".into(), content, replaces: Some(replaces), ..Default::default() };
            world.by("alice", Kind::PutAccountData(put))
        };
        let (_, nothing) = version(&world);
        let first = replacing(&mut world, r#"{"n":1}"#, nothing.clone());
        world.accepted(first);
        let (content, one) = version(&world);
        for stale in [nothing, bytes::Bytes::from_static(b"x")] {
            let envelope = replacing(&mut world, r#"{"n":2}"#, stale);
            assert_eq!(world.rejected(envelope), Reason::Conflict);
            assert_eq!(version(&world), (content.clone(), one.clone()));
        }
        let second = replacing(&mut world, r#"{"n":2}"#, one.clone());
        world.accepted(second);
        let late = replacing(&mut world, r#"{"n":3}"#, one);
        assert_eq!(world.rejected(late), Reason::Conflict);
    }

    #[test]
    fn more_pieces_than_allowed_are_refused_and_those_there_can_be_changed() {
        let mut world = world(&["alice"]);
        let before = put(&mut world, "", "a", "{}");
        world.accepted(before);
        for event_type in ["b", "c", "b"] {
            let envelope = limited(&mut world, "alice", ("", event_type, r#"{"x":1}"#), (3, 0));
            world.accepted(envelope);
        }
        assert_eq!(counted(&world), (3, 3 + 2 + 2 * 7));
        let envelope = limited(&mut world, "alice", ("", "d", "{}"), (3, 0));
        assert_eq!(world.rejected(envelope), Reason::TooLarge);
        let envelope = limited(&mut world, "alice", ("", "c", r#"{"x":12}"#), (3, 0));
        world.accepted(envelope);
        let unlimited = put(&mut world, "", "d", "{}");
        world.accepted(unlimited);
        assert_eq!(counted(&world), (4, 4 + 2 + 7 + 8 + 2), "whoever proposes it");
        let envelope = limited(&mut world, "alice", ("", "a", "{}"), (3, 0));
        world.accepted(envelope);
    }

    #[test]
    fn more_bytes_than_allowed_are_refused_and_fewer_are_taken() {
        let mut world = world(&["alice"]);
        let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(100));
        for event_type in ["a", "b"] {
            let envelope = put(&mut world, "", event_type, r#"{"x":"a longer text than is allowed later"}"#);
            world.accepted(envelope);
        }
        let envelope = limited(&mut world, "alice", ("", "c", &long), (0, 100));
        assert_eq!(world.rejected(envelope), Reason::TooLarge);
        let envelope = limited(&mut world, "alice", ("", "a", &long), (0, 50));
        assert_eq!(world.rejected(envelope), Reason::TooLarge, "beyond the limit from before");
        for event_type in ["a", "b"] {
            let envelope = limited(&mut world, "alice", ("", event_type, "{}"), (0, 50));
            world.accepted(envelope);
        }
        let envelope = limited(&mut world, "alice", ("", "c", "{}"), (0, 50));
        world.accepted(envelope);
        assert_eq!(counted(&world), (3, 9));
    }

    #[test]
    fn a_room_that_is_not_ones_own_is_as_one_that_is_not_there() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("bob");
        let envelope = limited(&mut world, "alice", (room.as_str(), "t", "{}"), (10, 0));
        assert_eq!(world.rejected(envelope), Reason::NotMember);
        let envelope = limited(&mut world, "bob", (room.as_str(), "t", "{}"), (10, 0));
        world.accepted(envelope);
    }

    #[test]
    fn account_data_is_kept_by_room_and_type() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        for (place, content) in [("", r#"{"a":1}"#), (room_id.as_str(), r#"{"a":2}"#), ("", r#"{"a":3}"#)] {
            let envelope = put(&mut world, place, "t", content);
            world.accepted(envelope);
        }
        assert_eq!(world.view().account_data("alice", None, "t").unwrap().unwrap(), r#"{"a":3}"#);
        assert_eq!(world.view().account_data("alice", Some(room), "t").unwrap().unwrap(), r#"{"a":2}"#);
        assert_eq!(world.view().account_data("alice", None, "u").unwrap(), None);
    }

    #[test]
    fn bad_account_data_is_refused() {
        let mut world = world(&["alice"]);
        for (room, event_type, content, reason) in [
            ("", "", "{}", Reason::Invalid),
            ("", "t", "1", Reason::BadJson),
            ("", "t", r#"{"a":1,"a":2}"#, Reason::BadJson),
            ("!nowhere:a.org", "t", "{}", Reason::RoomNotFound),
        ] {
            let envelope = put(&mut world, room, event_type, content);
            assert_eq!(world.rejected(envelope), reason);
        }
    }
}
