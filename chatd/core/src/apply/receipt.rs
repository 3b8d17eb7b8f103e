//! Read receipts and the fully-read marker: positions up to which a user has read a room. They only move forward.
//!
//! A receipt has three rows: how far the user has read, and, under the position of the command that set it, who read in
//! the room and which room it was. A receipt that moves on takes the rows of its last change along, so that there are as
//! many rows as receipts, and those that are newer than a token are found without going through members or rooms.

mod thread;

use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle, refuse};
use super::{account_data, relation};
use crate::id::{self, Position, RoomNumber};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::receipt::{self, ReadReceipt, ReceiptKind};
use crate::rows::event_type;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};
use bytes::Bytes;
use thread::NamedThread;

/// Maximum number of threads of a room for which a user's receipts of one kind are kept; beyond it, the one that is
/// furthest behind is forgotten. So a user has a few hundred receipts in a room at most, which one command can remove.
const MAX_THREADS: usize = 256;

/// Number of members up to which a public receipt wakes those who wait for news of the room. In a larger room it comes
/// with the next news, or when the wait ends: if each of thousands answered each message with a receipt for all others,
/// the work would grow with the square of their number.
const WAKES_UP_TO: u64 = 100;

pub(super) fn apply_set_receipts(
    context: &mut ApplyContext<'_>,
    command: &log::SetReceipts,
) -> ApplyResult<CommandAnswer> {
    // Checked before the room is looked up: a fault in the request itself must not reveal whether the room exists.
    let named = thread::check_thread_id(&command.thread_id)?;
    if named != NamedThread::Any && !command.fully_read.is_empty() {
        return refuse(Reason::Invalid, "the fully-read marker has no thread: leave out thread_id");
    }
    let room = context.room_by_id(&command.room_id)?;
    let membership = context.joined(&room)?;
    for (kind, event_id) in [(ReceiptKind::Public, &command.read), (ReceiptKind::Private, &command.read_private)] {
        if event_id.is_empty() {
            continue;
        }
        let event = visible_event(context, &room, &membership, event_id)?;
        thread::check_in_thread(context, &room, event, &named)?;
        advance_receipt(context, &room, ReceiptSlot { kind, thread_id: &command.thread_id }, event)?;
    }
    if !command.fully_read.is_empty() {
        let event = visible_event(context, &room, &membership, &command.fully_read)?;
        advance_marker(context, &room, event)?;
    }
    Ok(CommandAnswer::done())
}

fn visible_event(
    context: &ApplyContext<'_>,
    room: &RoomHandle,
    membership: &store::Membership,
    event_id: &str,
) -> ApplyResult<Position> {
    let at = id::parse_event_id(event_id);
    let visible = at.map(|at| relation::is_visible(context, room, membership, at)).transpose()?;
    match (at, visible) {
        (Some(at), Some(true)) => Ok(at),
        _ => refuse(Reason::EventNotFound, format!("the event {event_id:?} is not in this room")),
    }
}

/// Kind and thread of one of the caller's receipts in a room.
#[derive(Clone, Copy)]
struct ReceiptSlot<'t> {
    kind: ReceiptKind,
    thread_id: &'t str,
}

/// Moves a receipt of the caller forward to an event; one that is there already stays as it is.
fn advance_receipt(
    context: &mut ApplyContext<'_>,
    room: &RoomHandle,
    place: ReceiptSlot<'_>,
    event: Position,
) -> ApplyResult<()> {
    let ReceiptSlot { kind, thread_id } = place;
    let key = key::receipt_key(room.number, context.user, kind, thread_id);
    match context.rows.get(Table::Receipt, &key)? {
        Some(value) => {
            let old = ReadReceipt::of_row(&key, value)?;
            if old.event >= event {
                return Ok(());
            }
            remove_change(context, &old);
        }
        None if thread::is_root(thread_id) => make_room_for_thread(context, room.number, kind)?,
        None => {}
    }
    let changed = context.first;
    let row = store::Receipt {
        event: table::position_field(event),
        time_ms: context.time_ms,
        changed: table::position_field(changed),
    };
    context.rows.put(Table::Receipt, key, table::encode_value(&row));
    let private_to = match kind {
        ReceiptKind::Public => {
            let change = store::ReceiptChange { reader: context.user.to_owned(), thread_id: thread_id.to_owned() };
            let key = key::room_position(room.number, changed);
            context.rows.put(Table::ReceiptChange, key, table::encode_value(&change));
            String::new()
        }
        ReceiptKind::Private => context.user.to_owned(),
    };
    let place = store::ReceiptPlace { room: room.number.0, private_to };
    context.rows.put(Table::ReceiptPlace, key::receipt_place(changed, kind), table::encode_value(&place));
    if kind == ReceiptKind::Public && room.row.joined_members <= WAKES_UP_TO {
        context.touched.room(room.number);
    } else {
        // The reader's own devices show at once what was read on one of them.
        context.touched.user(context.user);
    }
    Ok(())
}

/// Removes the rows of a receipt's last change.
fn remove_change(context: &mut ApplyContext<'_>, receipt: &ReadReceipt) {
    if receipt.kind == ReceiptKind::Public {
        context.rows.delete(Table::ReceiptChange, key::room_position(receipt.room, receipt.changed));
    }
    context.rows.delete(Table::ReceiptPlace, key::receipt_place(receipt.changed, receipt.kind));
}

fn remove_receipt(context: &mut ApplyContext<'_>, receipt: &ReadReceipt) {
    remove_change(context, receipt);
    let key = key::receipt_key(receipt.room, &receipt.reader, receipt.kind, &receipt.thread_id);
    context.rows.delete(Table::Receipt, key);
}

/// Forgets the caller's receipt of the thread that is furthest behind, if there are as many as are kept.
fn make_room_for_thread(context: &mut ApplyContext<'_>, room: RoomNumber, kind: ReceiptKind) -> ApplyResult<()> {
    let all = receipts_with(context, &key::receipts_of_kind(room, context.user, kind))?;
    let threads: Vec<_> = all.iter().filter(|receipt| thread::is_root(&receipt.thread_id)).collect();
    if threads.len() >= MAX_THREADS
        && let Some(behind) = threads.into_iter().min_by_key(|receipt| receipt.event)
    {
        remove_receipt(context, behind);
    }
    Ok(())
}

/// Returns the receipts whose keys begin with a prefix that names a reader: a few hundred at most.
fn receipts_with(context: &ApplyContext<'_>, prefix: &[u8]) -> ApplyResult<Vec<ReadReceipt>> {
    let mut all = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::Receipt, prefix), &mut |(key, value)| {
        all.push(ReadReceipt::of_row(key, Bytes::copy_from_slice(value))?);
        Ok(ScanControl::More)
    })?;
    Ok(all)
}

/// Forgets how far a user has read in a room that the user is no longer in.
pub(super) fn forget_receipts(context: &mut ApplyContext<'_>, room: RoomNumber, localpart: &str) -> ApplyResult<()> {
    for receipt in receipts_with(context, &key::receipts_of(room, localpart))? {
        remove_receipt(context, &receipt);
    }
    Ok(())
}

/// Moves the caller's fully-read marker, which is account data of the room, forward to an event.
fn advance_marker(context: &mut ApplyContext<'_>, room: &RoomHandle, event: Position) -> ApplyResult<()> {
    let key = key::account_data(context.user, room.number, event_type::FULLY_READ);
    let old = table::fetch_row::<store::AccountData>(&context.rows, Table::AccountData, &key)?;
    if old.and_then(|old| receipt::marked_event(&old.content)).is_some_and(|old| old >= event) {
        return Ok(());
    }
    let content = format!(r#"{{"event_id":"{}"}}"#, id::event_id(event));
    // Without limits: a user has one marker for each room, and must be able to read when no more data may be kept.
    account_data::write_datum(context, room.number, event_type::FULLY_READ, content.into());
    Ok(())
}

#[cfg(test)]
mod tests;
