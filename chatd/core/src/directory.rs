//! Which rooms the public directory shows.
//!
//! A room's creator asks for it to be listed; whether it is shown follows from its state, so that a room which becomes
//! private goes and comes back when it is opened again. As Synapse does it: the specification keeps a room's place in the
//! directory apart from its join rule, and says nothing of rooms that nobody could enter.

use crate::id::{Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::rows::{self, event_type};
use crate::table::{Read, ReadError};
use crate::visibility::HistoryVisibility;

/// Event types on which it depends.
pub(crate) fn depends_on(event_type: &str, state_key: &str) -> bool {
    matches!(event_type, event_type::JOIN_RULES | event_type::HISTORY_VISIBILITY) && state_key.is_empty()
}

/// Does the directory show the room? It was asked for, somebody is in it, and anyone may join it, knock, or read it.
pub(crate) fn is_published(rows: &dyn Read, room: RoomNumber, row: &store::Room) -> Result<bool, ReadError> {
    if !row.listed || row.joined_members == 0 {
        return Ok(false);
    }
    let join_rules = rows::state_event(rows, room, event_type::JOIN_RULES, "", Position::MAX)?;
    let content = join_rules.map(|(_, event)| json::stored_object(&event.content)).unwrap_or_default();
    if matches!(json::text(&content, "join_rule"), Some("public" | "knock" | "knock_restricted")) {
        return Ok(true);
    }
    let visibility = rows::state_event(rows, room, event_type::HISTORY_VISIBILITY, "", Position::MAX)?;
    Ok(visibility.is_some_and(|(_, event)| HistoryVisibility::of(&event.content) == HistoryVisibility::WorldReadable))
}
