//! Maintenance of the rows of the public directory.

use super::administer::rooms::check_not_deleted;
use super::alias;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle, refuse};
use crate::directory;
use crate::proto::log::{self, Reason};
use crate::table::{Table, TableRead as _, key};
use bytes::Bytes;

pub(super) fn apply_set_listed(context: &mut ApplyContext<'_>, command: &log::SetListed) -> ApplyResult<CommandAnswer> {
    let mut room = context.room_by_id(&command.room_id)?;
    context.joined(&room)?;
    check_not_deleted(context, room.number)?;
    if !alias::governs_aliases(context, &room)? {
        return refuse(Reason::Forbidden, "you need the power to set the canonical alias to change the directory");
    }
    set_listed(context, &mut room, command.listed)?;
    context.save_room(&room);
    Ok(CommandAnswer::done())
}

/// Asks for the room to be in the directory, or not to be.
pub(super) fn set_listed(context: &mut ApplyContext<'_>, room: &mut RoomHandle, listed: bool) -> ApplyResult<()> {
    if room.row.listed != listed {
        room.row_mut().listed = listed;
        show_or_hide(context, room)?;
    }
    Ok(())
}

/// Adds the room to the public directory, moves it in there, or removes it, after a change of something on which that
/// depends.
pub(super) fn update_directory(context: &mut ApplyContext<'_>, room: &RoomHandle) -> ApplyResult<()> {
    if room.row.listed { show_or_hide(context, room) } else { Ok(()) }
}

fn show_or_hide(context: &mut ApplyContext<'_>, room: &RoomHandle) -> ApplyResult<()> {
    let published = directory::is_published(&context.rows, room.number, &room.row)?;
    let key = key::room_key(room.number);
    let shown = context.rows.get(Table::PublicRoom, &key)?;
    let members = room.row.joined_members;
    if let Some(shown) = &shown {
        if published && directory::listed_members(shown) == Some(members) {
            return Ok(());
        }
        if let Some(before) = directory::listed_members(shown) {
            context.rows.delete(Table::PublicRoomBySize, key::room_by_size(before, room.number));
        }
    }
    if published {
        context.rows.put(Table::PublicRoomBySize, key::room_by_size(members, room.number), Bytes::new());
        context.rows.put(Table::PublicRoom, key, Bytes::copy_from_slice(&members.to_be_bytes()));
    } else if shown.is_some() {
        context.rows.delete(Table::PublicRoom, key);
    }
    Ok(())
}
