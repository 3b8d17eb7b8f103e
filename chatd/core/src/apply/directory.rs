//! Maintenance of the rows of the public directory.

use super::context::{ApplyContext, ApplyResult, RoomHandle};
use crate::directory;
use crate::table::{Table, TableRead as _, key};
use bytes::Bytes;

/// Adds the room to the public directory or removes it, after a change of something on which that depends.
pub(super) fn update_directory(context: &mut ApplyContext<'_>, room: &RoomHandle) -> ApplyResult<()> {
    if !room.row.listed {
        return Ok(());
    }
    let published = directory::is_published(&context.rows, room.number, &room.row)?;
    let key = key::room_key(room.number);
    let shown = context.rows.get(Table::PublicRoom, &key)?.is_some();
    if published && !shown {
        context.rows.put(Table::PublicRoom, key, Bytes::new());
    } else if shown && !published {
        context.rows.delete(Table::PublicRoom, key);
    }
    Ok(())
}
