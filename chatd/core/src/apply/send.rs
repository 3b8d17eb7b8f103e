//! Sending events: messages, and state by the rules of its type.

use super::append::{self, NewEvent, append};
use super::context::{Answer, Applies, Context, Room, refuse};
use super::{member, redact, relation};
use crate::auth::{forbidden, levels};
use crate::id::{self, Position};
use crate::json::{self, Object};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows::{self, event_type};
use bytes::Bytes;
use serde_json::Value;

/// Longest transaction id: it stands in keys and events.
const MAX_TRANSACTION_ID_BYTES: usize = 255;

pub(super) fn apply(context: &mut Context<'_>, command: &log::SendEvent) -> Applies<Answer> {
    let event_type = command.r#type.as_str();
    append::check_names(event_type, command.state_key.as_deref())?;
    append::check_content(&command.content)?;
    if context.transaction_id.len() > MAX_TRANSACTION_ID_BYTES {
        return refuse(Reason::Invalid, format!("a transaction id has at most {MAX_TRANSACTION_ID_BYTES} bytes"));
    }
    let mut room = context.room_by_id(&command.room_id)?;
    let at = match (command.state_key.as_deref(), event_type) {
        (Some(user_id), event_type::MEMBER) => member::by_event(context, &mut room, user_id, &command.content)?,
        (Some(state_key), _) => {
            context.joined(&room)?;
            let new = NewEvent { by_client: true, ..NewEvent::state(event_type, state_key, command.content.clone()) };
            set_state(context, &mut room, new)?
        }
        (None, event_type::REDACTION) => redact::by_event(context, &mut room, &command.content)?,
        (None, _) => message(context, &mut room, event_type, &command.content)?,
    };
    context.save_room(&room);
    Ok(sent(&room, at, context.time_ms))
}

/// The answer to an accepted event.
pub(super) fn sent(room: &Room, at: Position, origin_server_ts: u64) -> Answer {
    let event_id = id::event_id(at);
    let sent = log::EventSent { event_id, room_id: room.id.clone(), origin_server_ts };
    Answer::New(outcome::Kind::EventSent(sent), Some(at))
}

fn message(context: &mut Context<'_>, room: &mut Room, event_type: &str, content: &Bytes) -> Applies<Position> {
    let membership = context.joined(room)?;
    may_send(context, room, event_type)?;
    let link = relation::of_new(context, room, &membership, content)?;
    let at = append(
        context,
        room,
        NewEvent {
            event_type,
            state_key: None,
            content: content.clone(),
            redacts: None,
            by_client: true,
            version_value: Vec::new(),
        },
    )?;
    if let Some(link) = link {
        relation::put(context, room, at, event_type, &link);
    }
    Ok(at)
}

/// Has the caller the power to send messages of this type?
pub(super) fn may_send(context: &Context<'_>, room: &Room, event_type: &str) -> Applies<()> {
    let (needed, power) = (room.levels().to_send(event_type), room.levels().of(context.user));
    match power >= needed {
        true => Ok(()),
        false => Err(forbidden(format!("you need power {needed} to send {event_type} here and have {power}")).into()),
    }
}

/// Sets state other than memberships, by the rules. The caller is joined, names and content were checked.
pub(super) fn set_state(context: &mut Context<'_>, room: &mut Room, new: NewEvent<'_>) -> Applies<Position> {
    let state_key = new.state_key.unwrap_or_default();
    let levels = room.levels();
    let (needed, power) = (levels.to_set(new.event_type), levels.of(context.user));
    if power < needed {
        let message = format!("you need power {needed} to set {} here and have {power}", new.event_type);
        return Err(forbidden(message).into());
    }
    if state_key.starts_with('@') && state_key != context.user_id() {
        return Err(forbidden("a state key that is a user id is that user's own").into());
    }
    match new.event_type {
        event_type::CREATE => return Err(forbidden("a room is created once").into()),
        event_type::MEMBER => return refuse(Reason::Invalid, "memberships are changed by their own commands"),
        event_type::POWER_LEVELS if state_key.is_empty() => check_levels(context, room, power, &new.content)?,
        event_type::CANONICAL_ALIAS => check_aliases(context, room, &new.content)?,
        _ => {}
    }
    append(context, room, new)
}

fn check_levels(context: &Context<'_>, room: &Room, power: i64, content: &[u8]) -> Applies<()> {
    let new = json::stored_object(content);
    levels::parse(&new, context.server_name)?;
    let old = rows::state_event(&context.rows, room.number, event_type::POWER_LEVELS, "", Position::MAX)?;
    match old {
        Some((_, store::Event { content, .. })) => {
            Ok(levels::check_change(&context.user_id(), power, &json::stored_object(&content), &new)?)
        }
        None => Ok(()),
    }
}

/// Each alias named must be the room's own.
fn check_aliases(context: &Context<'_>, room: &Room, content: &[u8]) -> Applies<()> {
    for alias in named_aliases(&json::stored_object(content)) {
        if !member::has_alias(context, room.number, &alias)? {
            return refuse(Reason::Invalid, format!("{alias:?} is no alias of this room"));
        }
    }
    Ok(())
}

fn named_aliases(content: &Object) -> Vec<String> {
    let others = content.get("alt_aliases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let all = content.get("alias").into_iter().chain(others);
    all.filter_map(Value::as_str).filter(|alias| !alias.is_empty()).map(str::to_owned).collect()
}
