//! Decides which rooms the public directory shows.
//!
//! The creator of a room asks for it to be listed; whether it is shown follows from the room's state, so that a room
//! that becomes private disappears and returns when it is opened again. Synapse does the same. The specification keeps
//! a room's place in the directory separate from its join rule, and does not mention rooms that nobody could enter.

use crate::id::{Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::room_version::RoomVersion;
use crate::rows::{self, event_type};
use crate::table::{ReadError, TableRead};
use crate::visibility::HistoryVisibility;

/// Returns `true` if [`is_published`] depends on the current state event of this type and state key.
pub(crate) fn depends_on(event_type: &str, state_key: &str) -> bool {
    matches!(event_type, event_type::JOIN_RULES | event_type::HISTORY_VISIBILITY) && state_key.is_empty()
}

/// Returns the number of joined members in a row of `Table::PublicRoom`; `None` for a row without it.
pub(crate) fn listed_members(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// Returns `true` if the directory shows the room: its creator asked for it, somebody is joined, and anyone may join
/// it, knock or read it.
pub(crate) fn is_published(rows: &dyn TableRead, room: RoomNumber, row: &store::Room) -> Result<bool, ReadError> {
    if !row.listed || row.joined_members == 0 {
        return Ok(false);
    }
    let join_rules = rows::state_event(rows, room, event_type::JOIN_RULES, "", Position::MAX)?;
    let content = join_rules.map(|(_, event)| json::stored_object(&event.content)).unwrap_or_default();
    let rule = json::string_field(&content, "join_rule").unwrap_or_default();
    if rule == "public" || RoomVersion::of_row(row).takes_knocks(rule) {
        return Ok(true);
    }
    let visibility = rows::state_event(rows, room, event_type::HISTORY_VISIBILITY, "", Position::MAX)?;
    Ok(visibility.is_some_and(|(_, event)| HistoryVisibility::of(&event.content) == HistoryVisibility::WorldReadable))
}
