//! Changes of devices and keys, as those are told of them who share a room with their user.
//!
//! Each user has one row, that of the newest change, so that the changes since a token are a short scan however long ago
//! the token was given.

use super::context::{ApplyContext, ApplyResult};
use super::hints::KeyChangeHint;
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead, key};

/// Maximum number of memberships that are read to learn whom to wake. A user with more is told of by every reader
/// reading rows, which costs them a little and the command nothing.
const MAX_MEMBERSHIPS: usize = 4096;

/// Notes that a user's devices or keys changed, once for each command.
pub(super) fn note_key_change(context: &mut ApplyContext<'_>, localpart: &str) -> ApplyResult<()> {
    let key = key::account_key(localpart);
    let last = table::fetch_row::<store::LastKeyChange>(&context.rows, Table::LastKeyChange, &key)?;
    let last = last.map(|last| table::decode_position(Table::LastKeyChange, &last.position)).transpose()?.flatten();
    if last == Some(context.first) {
        return Ok(());
    }
    if let Some(last) = last {
        context.rows.delete(Table::KeyChange, key::key_change(last, localpart));
    }
    put_change(context, localpart, "");
    let last = store::LastKeyChange { position: table::position_field(context.first) };
    context.rows.put(Table::LastKeyChange, key, table::encode_value(&last));
    // The user's own devices are told whatever the rooms.
    context.touched.user(localpart);
    let rooms = joined_rooms(context, localpart)?;
    context.touched.keys.push(KeyChangeHint { localpart: localpart.to_owned(), rooms });
    Ok(())
}

/// Notes that the caller has signed a user's key, which only the caller's own devices are told. `before` is the position
/// at which that was last noted.
pub(super) fn note_own_signature(context: &mut ApplyContext<'_>, signed: &str, before: Option<Position>) {
    if let Some(before) = before {
        context.rows.delete(Table::KeyChange, key::key_change(before, signed));
    }
    put_change(context, signed, context.user);
    context.touched.user(context.user);
}

fn put_change(context: &mut ApplyContext<'_>, localpart: &str, observer: &str) {
    let row = store::KeyChange { observer: observer.to_owned() };
    context.rows.put(Table::KeyChange, key::key_change(context.first, localpart), table::encode_value(&row));
}

/// Returns the rooms that a user is joined to; `None` if the user has too many memberships.
fn joined_rooms(context: &ApplyContext<'_>, localpart: &str) -> ApplyResult<Option<Vec<RoomNumber>>> {
    let from = key::devices_of(localpart);
    let mut seen = 0;
    let mut joined = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::Membership, &from), &mut |(key, value)| {
        seen += 1;
        if seen > MAX_MEMBERSHIPS {
            return Ok(ScanControl::Stop);
        }
        let row: store::Membership = table::decode_value(Table::Membership, value)?;
        if row.kind() == Kind::Join {
            joined.push(rows::room_in(Table::Membership, key.get(from.len()..).unwrap_or_default())?);
        }
        Ok(ScanControl::More)
    })?;
    Ok((seen <= MAX_MEMBERSHIPS).then_some(joined))
}
