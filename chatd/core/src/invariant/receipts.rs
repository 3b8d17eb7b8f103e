//! Invariants of read receipts.

use super::{InvariantResult, all_rows, ensure_holds};
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::receipt::{ReadReceipt, ReceiptKind};
use crate::rows;
use crate::table::{self, ReadError, Table, TableRead, key};

/// Checks that only members have receipts in a room, each for an event of the room or one that was removed with its
/// history.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn receipts_are_of_members(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "receipts_are_of_members";
    for (key, value) in all_rows(rows, Table::Receipt)? {
        let ReadReceipt { room, reader, event, .. } = ReadReceipt::of_row(&key, value)?;
        let kind = rows::membership_row(rows, room, &reader)?.kind();
        ensure_holds(kind == Kind::Join, NAME, || format!("{reader} is not in room {room}: {kind:?}"))?;
        let exists = rows::room_of_event(rows, event)? == Some(room) || rows::is_purged(rows, room, event)?;
        ensure_holds(exists, NAME, || format!("{reader} has read {event:?}, which room {room} does not have"))?;
    }
    Ok(())
}

/// Checks that each receipt is found by the position of the command that set it, in its room if it is public, and
/// nothing else is.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn receipts_agree_with_changes(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "receipts_agree_with_changes";
    let mut public = 0;
    let receipts = all_rows(rows, Table::Receipt)?;
    let all = receipts.len();
    for (key, value) in receipts {
        let receipt = ReadReceipt::of_row(&key, value)?;
        let private_to = match receipt.kind {
            ReceiptKind::Public => String::new(),
            ReceiptKind::Private => receipt.reader.clone(),
        };
        let place = store::ReceiptPlace { room: receipt.room.0, private_to };
        let found = place_of(rows, receipt.changed, receipt.kind)?;
        ensure_holds(found.as_ref() == Some(&place), NAME, || format!("{receipt:?} is found as {found:?}"))?;
        if receipt.kind == ReceiptKind::Public {
            public += 1;
            let found = change_of(rows, receipt.room, receipt.changed)?;
            let change = store::ReceiptChange { reader: receipt.reader.clone(), thread_id: receipt.thread_id.clone() };
            ensure_holds(found.as_ref() == Some(&change), NAME, || format!("{receipt:?} is found as {found:?}"))?;
        }
    }
    let places = all_rows(rows, Table::ReceiptPlace)?.len();
    ensure_holds(places == all, NAME, || format!("{places} places of {all} receipts"))?;
    let changes = all_rows(rows, Table::ReceiptChange)?.len();
    ensure_holds(changes == public, NAME, || format!("{changes} changes of {public} public receipts"))
}

fn place_of(
    rows: &dyn TableRead,
    changed: Position,
    kind: ReceiptKind,
) -> Result<Option<store::ReceiptPlace>, ReadError> {
    table::fetch_row(rows, Table::ReceiptPlace, &key::receipt_place(changed, kind))
}

fn change_of(
    rows: &dyn TableRead,
    room: RoomNumber,
    changed: Position,
) -> Result<Option<store::ReceiptChange>, ReadError> {
    table::fetch_row(rows, Table::ReceiptChange, &key::room_position(room, changed))
}
