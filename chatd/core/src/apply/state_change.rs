//! Changes of a room's state, except of memberships, which have rules of their own in [`member`](super::member).

use super::append::{NewEvent, append_event};
use super::context::{ApplyContext, ApplyResult, RoomHandle, refuse};
use crate::auth::levels;
use crate::auth::send::{self, EventSender};
use crate::id::{self, Position, RoomNumber};
use crate::json::{self, JsonObject};
use crate::proto::log::Reason;
use crate::proto::store;
use crate::rows::{self, event_type};
use crate::table::{self, Table, TableRead as _, key};
use serde_json::Value;

/// Sets state other than memberships, by the rules of its type. The caller has checked that the user is joined, and
/// that names and content are valid.
pub(super) fn set_state(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    new: NewEvent<'_>,
) -> ApplyResult<Position> {
    let state_key = new.state_key.unwrap_or_default();
    let sender = EventSender { user_id: &context.user_id(), localpart: context.user };
    send::check_state(room.levels(), sender, new.event_type, state_key)?;
    match new.event_type {
        event_type::POWER_LEVELS if state_key.is_empty() => check_levels(context, room, &new.content)?,
        event_type::CANONICAL_ALIAS => check_aliases(context, room, &new.content)?,
        _ => {}
    }
    append_event(context, room, new)
}

fn check_levels(context: &ApplyContext<'_>, room: &RoomHandle, content: &[u8]) -> ApplyResult<()> {
    let power = room.levels().of(context.user);
    let new = json::stored_object(content);
    levels::parse_levels(&new, context.server_name)?;
    let old = rows::state_event(&context.rows, room.number, event_type::POWER_LEVELS, "", Position::MAX)?;
    match old {
        Some((_, store::Event { content, .. })) => {
            Ok(levels::check_change(&context.user_id(), power, &json::stored_object(&content), &new)?)
        }
        // Cannot happen: a room gets its first power levels when it is created, before any other state is set.
        None => Ok(()),
    }
}

/// Checks that each alias in the content belongs to the room.
fn check_aliases(context: &ApplyContext<'_>, room: &RoomHandle, content: &[u8]) -> ApplyResult<()> {
    for alias in named_aliases(&json::stored_object(content)) {
        if !has_alias(context, room.number, &alias)? {
            return refuse(Reason::Invalid, format!("{alias:?} is not an alias of this room"));
        }
    }
    Ok(())
}

fn named_aliases(content: &JsonObject) -> Vec<String> {
    let others = content.get("alt_aliases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let all = content.get("alias").into_iter().chain(others);
    all.filter_map(Value::as_str).filter(|alias| !alias.is_empty()).map(str::to_owned).collect()
}

/// Returns `true` if this alias belongs to the room.
fn has_alias(context: &ApplyContext<'_>, room: RoomNumber, alias: &str) -> ApplyResult<bool> {
    let Some(local) = id::alias_localpart(alias, context.server_name).filter(|_| alias.starts_with('#')) else {
        return Ok(false);
    };
    let Some(value) = context.rows.get(Table::Alias, &key::alias_key(local))? else { return Ok(false) };
    Ok(table::decode_value::<store::Alias>(Table::Alias, value)?.room == room.0)
}
