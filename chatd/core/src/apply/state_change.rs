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
use std::collections::BTreeSet;

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
    if let Some(at) = same_state(context, room, &new)? {
        return Ok(at);
    }
    match new.event_type {
        event_type::POWER_LEVELS if state_key.is_empty() => check_levels(context, room, &new.content)?,
        event_type::CANONICAL_ALIAS => check_aliases(context, room, &new.content)?,
        _ => {}
    }
    append_event(context, room, new)
}

/// Returns the position of the current state event if this one would repeat it: setting state twice is setting it once,
/// as other servers have it too.
fn same_state(context: &ApplyContext<'_>, room: &RoomHandle, new: &NewEvent<'_>) -> ApplyResult<Option<Position>> {
    let state_key = new.state_key.unwrap_or_default();
    let current = rows::state_event(&context.rows, room.number, new.event_type, state_key, Position::MAX)?;
    let current = current.filter(|(_, event)| event.redacted_by.is_empty() && event.sender == context.user_id());
    Ok(current
        .filter(|(_, event)| json::stored_object(&event.content) == json::stored_object(&new.content))
        .map(|(at, _)| at))
}

fn check_levels(context: &ApplyContext<'_>, room: &RoomHandle, content: &[u8]) -> ApplyResult<()> {
    let power = room.levels().of(context.user);
    let new = json::stored_object(content);
    levels::parse_levels(&new, context.server_name)?;
    levels::check_creators(&new, &room.levels().creators, context.server_name)?;
    let old = rows::state_event(&context.rows, room.number, event_type::POWER_LEVELS, "", Position::MAX)?;
    match old {
        Some((_, store::Event { content, .. })) => {
            Ok(levels::check_change(&context.user_id(), power, &json::stored_object(&content), &new)?)
        }
        // Cannot happen: a room gets its first power levels when it is created, before any other state is set.
        None => Ok(()),
    }
}

/// Checks that each alias that the content adds belongs to the room. One that was named before may stay, even if it
/// has been removed since.
fn check_aliases(context: &ApplyContext<'_>, room: &RoomHandle, content: &[u8]) -> ApplyResult<()> {
    let old = rows::state_event(&context.rows, room.number, event_type::CANONICAL_ALIAS, "", Position::MAX)?;
    let known = old.map(|(_, event)| named_aliases(&json::stored_object(&event.content))).transpose()?;
    let known = known.unwrap_or_default();
    for alias in named_aliases(&json::stored_object(content))? {
        if known.contains(&alias) {
            continue;
        }
        if !is_alias(&alias) {
            return refuse(Reason::Invalid, format!("{alias:?} is not an alias (#name:server)"));
        }
        if !has_alias(context, room.number, &alias)? {
            return refuse(Reason::BadAlias, format!("{alias:?} is not an alias of this room"));
        }
    }
    Ok(())
}

fn is_alias(text: &str) -> bool {
    text.strip_prefix('#').and_then(|rest| rest.split_once(':')).is_some_and(|(_, server)| !server.is_empty())
}

/// Returns the aliases in the content of `m.room.canonical_alias`, each once: an event has space for thousands of
/// repetitions, which would be compared with those before.
fn named_aliases(content: &JsonObject) -> ApplyResult<BTreeSet<String>> {
    let mut out = BTreeSet::new();
    match content.get("alias") {
        None | Some(Value::Null) => {}
        Some(Value::String(alias)) => out.extend(Some(alias.clone()).filter(|alias| !alias.is_empty())),
        Some(_) => return refuse(Reason::Invalid, "alias must be a text"),
    }
    match content.get("alt_aliases") {
        None | Some(Value::Null) => {}
        Some(Value::Array(others)) => {
            for alias in others {
                match alias {
                    Value::String(alias) => drop(out.insert(alias.clone())),
                    _ => return refuse(Reason::Invalid, "alt_aliases must be a list of texts"),
                }
            }
        }
        Some(_) => return refuse(Reason::Invalid, "alt_aliases must be a list of texts"),
    }
    Ok(out)
}

/// Returns `true` if this alias belongs to the room.
fn has_alias(context: &ApplyContext<'_>, room: RoomNumber, alias: &str) -> ApplyResult<bool> {
    let Some(local) = id::alias_localpart(alias, context.server_name).filter(|_| alias.starts_with('#')) else {
        return Ok(false);
    };
    let Some(value) = context.rows.get(Table::Alias, &key::alias_key(local))? else { return Ok(false) };
    Ok(table::decode_value::<store::Alias>(Table::Alias, value)?.room == room.0)
}
