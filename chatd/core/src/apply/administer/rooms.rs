//! Acts about rooms: blocking, and deletion.
//!
//! A deletion does a bounded part of the work with each command, in this order: nobody enters any more → aliases and the
//! place in the directory go → members leave → what was said is removed. A row says what is left, and the leader goes on
//! until there is nothing. State stays: who was in the room must be told that it is over, whenever they come back.

use super::super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::super::member::{self, MemberChange, MemberNotes};
use super::super::{alias, directory, history};
use crate::id::RoomNumber;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};

/// Limits on the members that leave by one command, and on the memberships that it examines for that: some milliseconds
/// of apply.
const PART_MEMBERS: usize = 32;
const PART_LOOKED_AT: usize = 1024;

/// Maximum length of the reason for a deletion in bytes, as it stands in each member's event.
const MAX_REASON_BYTES: usize = 1024;

/// Blocks a room, or unblocks it.
pub(super) fn block_room(context: &mut ApplyContext<'_>, command: &log::BlockRoom) -> ApplyResult<CommandAnswer> {
    let room = context.room_by_id(&command.room_id)?;
    let before = rows::room_block_row(&context.rows, room.number)?;
    let key = key::room_block(room.number);
    match (before, command.blocked) {
        (Some(block), false) if block.deleted => {
            return refuse(Reason::Forbidden, "the room was deleted, and cannot be unblocked");
        }
        (Some(_), false) => context.rows.delete(Table::Meta, key),
        (None, true) => {
            let row = store::RoomBlock { deleted: false, time_ms: context.time_ms };
            context.rows.put(Table::Meta, key, table::encode_value(&row));
        }
        (Some(_), true) | (None, false) => {}
    }
    Ok(CommandAnswer::done())
}

/// Deletes a room, or continues with its deletion.
pub(super) fn delete_room(context: &mut ApplyContext<'_>, command: &log::DeleteRoom) -> ApplyResult<CommandAnswer> {
    if command.reason.len() > MAX_REASON_BYTES {
        return refuse(Reason::TooLarge, format!("the reason must have at most {MAX_REASON_BYTES} bytes"));
    }
    let number = context.room_by_id(&command.room_id)?.number;
    if !rows::room_block_row(&context.rows, number)?.unwrap_or_default().deleted {
        let block = store::RoomBlock { deleted: true, time_ms: context.time_ms };
        context.rows.put(Table::Meta, key::room_block(number), table::encode_value(&block));
        let clearing = store::RoomClearing { reason: command.reason.clone(), ..Default::default() };
        context.rows.put(Table::Meta, key::room_clearing(number), table::encode_value(&clearing));
        hide_room(context, number)?;
    }
    let clearing = table::fetch_row::<store::RoomClearing>(&context.rows, Table::Meta, &key::room_clearing(number))?;
    let cleared = match clearing {
        None => log::RoomCleared::default(),
        Some(clearing) if clearing.members_left => clear_history(context, number)?,
        Some(clearing) => clear_members(context, number, &clearing)?,
    };
    Ok(CommandAnswer::New(outcome::Kind::RoomCleared(cleared), None))
}

/// Refuses what would let somebody into a blocked room, or into one that takes its place.
pub(in super::super) fn check_not_blocked(context: &ApplyContext<'_>, room: RoomNumber) -> ApplyResult<()> {
    match rows::room_block_row(&context.rows, room)? {
        Some(_) => refuse(Reason::Forbidden, "an administrator has blocked this room: nobody can enter it"),
        None => Ok(()),
    }
}

/// Refuses what would lead people to a deleted room: until all have left it, somebody inside could ask for that.
pub(in super::super) fn check_not_deleted(context: &ApplyContext<'_>, room: RoomNumber) -> ApplyResult<()> {
    if rows::room_block_row(&context.rows, room)?.unwrap_or_default().deleted {
        return refuse(Reason::Forbidden, "an administrator has deleted this room");
    }
    Ok(())
}

/// Takes away what leads to the room.
fn hide_room(context: &mut ApplyContext<'_>, number: RoomNumber) -> ApplyResult<()> {
    alias::remove_aliases(context, number)?;
    let mut room = context.room_by_number(number)?;
    directory::set_listed(context, &mut room, false)?;
    context.save_room(&room);
    Ok(())
}

/// Lets some members leave, and records where to continue.
fn clear_members(
    context: &mut ApplyContext<'_>,
    number: RoomNumber,
    clearing: &store::RoomClearing,
) -> ApplyResult<log::RoomCleared> {
    let part = MembersInside::read(context, number, &clearing.members_to)?;
    for localpart in &part.members {
        context.as_user(localpart, |own| leave_room(own, number, &clearing.reason))?;
    }
    let left = store::RoomClearing {
        reason: clearing.reason.clone(),
        members_to: part.next.clone().unwrap_or_default(),
        members_left: part.next.is_none(),
    };
    context.rows.put(Table::Meta, key::room_clearing(number), table::encode_value(&left));
    let members = u64::try_from(part.members.len()).unwrap_or(u64::MAX);
    // What was said comes next, even if that turns out to be nothing.
    Ok(log::RoomCleared { members, events: 0, more: true })
}

/// Lets the caller leave the room; each member's client learns of it by the member's own event.
fn leave_room(context: &mut ApplyContext<'_>, number: RoomNumber, reason: &str) -> ApplyResult<()> {
    let mut room = context.room_by_number(number)?;
    let notes = MemberNotes { reason, ..MemberNotes::default() };
    let change = MemberChange { target: context.user, change: Change::Leave, content: None, notes };
    member::apply_member_change(context, &mut room, &change)?;
    context.save_room(&room);
    Ok(())
}

/// Removes some of what was said, and the row of the deletion with the last of it.
fn clear_history(context: &mut ApplyContext<'_>, number: RoomNumber) -> ApplyResult<log::RoomCleared> {
    let room = context.room_by_number(number)?;
    let log::HistoryPurged { events, more } = history::purge_part(context, room, u64::MAX)?;
    if !more {
        context.rows.delete(Table::Meta, key::room_clearing(number));
    }
    Ok(log::RoomCleared { members: 0, events, more })
}

/// Some of those who are in a room, invited to it or knock at it.
struct MembersInside {
    members: Vec<String>,
    /// Localpart after which there may be others; `None` if there are none.
    next: Option<String>,
}

impl MembersInside {
    /// Reads members in byte order, beginning after one.
    fn read(context: &ApplyContext<'_>, number: RoomNumber, after: &str) -> ApplyResult<Self> {
        let prefix = key::room_key(number);
        let mut from = key::room_member(number, after);
        if !after.is_empty() {
            // The smallest key after this one.
            from.push(0);
        }
        let end = key::after_prefix(&prefix);
        let mut part = Self { members: Vec::new(), next: None };
        let mut last = String::new();
        let mut looked_at = 0;
        context.rows.scan(&ScanRange::between(Table::RoomMember, &from, &end), &mut |(key, value)| {
            if part.members.len() >= PART_MEMBERS || looked_at >= PART_LOOKED_AT {
                part.next = Some(std::mem::take(&mut last));
                return Ok(ScanControl::Stop);
            }
            looked_at += 1;
            last = String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned();
            let row: store::Membership = table::decode_value(Table::RoomMember, value)?;
            if matches!(row.kind(), Kind::Join | Kind::Invite | Kind::Knock) {
                part.members.push(last.clone());
            }
            Ok(ScanControl::More)
        })?;
        Ok(part)
    }
}

#[cfg(test)]
mod tests;
