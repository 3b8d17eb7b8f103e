//! Redactions, by command or as an `m.room.redaction` event.

use super::append::{NewEvent, append, put_event};
use super::context::{Answer, Applies, Context, Room, refuse};
use super::send::{may_send, sent};
use super::{append, relation};
use crate::auth::{forbidden, redaction};
use crate::id::{self, Position};
use crate::json::{self, Object};
use crate::proto::log::{self, Reason};
use crate::rows::{self, event_type};
use crate::table;
use bytes::Bytes;

pub(super) fn apply(context: &mut Context<'_>, command: &log::Redact) -> Applies<Answer> {
    let mut room = context.room_by_id(&command.room_id)?;
    let mut content = Object::from_iter([("redacts".to_owned(), command.event_id.as_str().into())]);
    if !command.reason.is_empty() {
        content.insert("reason".into(), command.reason.as_str().into());
    }
    let at = redact(context, &mut room, &command.event_id, json::canonical(&content))?;
    context.save_room(&room);
    Ok(sent(&room, at, context.time_ms))
}

/// The event form: since room version 11 the content names what is redacted.
pub(super) fn by_event(context: &mut Context<'_>, room: &mut Room, content: &Bytes) -> Applies<Position> {
    let object = json::stored_object(content);
    match json::text(&object, "redacts") {
        Some(event_id) => redact(context, room, event_id, content.clone()),
        None => refuse(Reason::Invalid, "the content of m.room.redaction must name an event id in `redacts`"),
    }
}

fn redact(context: &mut Context<'_>, room: &mut Room, event_id: &str, content: Bytes) -> Applies<Position> {
    append::check_content(&content)?;
    let membership = context.joined(room)?;
    may_send(context, room, event_type::REDACTION)?;
    let target = match id::parse_event_id(event_id) {
        Some(target) if relation::is_visible(context, room, &membership, target)? => target,
        _ => return refuse(Reason::EventNotFound, format!("the event {event_id:?} is not in this room")),
    };
    let mut row = rows::known_event(&context.rows, room.number, target)?;
    let (needed, power) = (room.levels().redact, room.levels().of(context.user));
    if row.sender != context.user_id() && power < needed {
        let message = format!("you need power {needed} to redact what others sent and have {power}");
        return Err(forbidden(message).into());
    }
    let new = NewEvent {
        event_type: event_type::REDACTION,
        state_key: None,
        content,
        redacts: Some(target),
        by_client: true,
        version_value: Vec::new(),
    };
    let at = append(context, room, new)?;
    // The first redaction is the one that is shown with the event.
    if row.redacted_by.is_empty() {
        relation::remove(context, room.number, target, &row.content);
        row.content = redaction::strip(&row.r#type, &row.content);
        row.redacted_by = table::position_field(at);
        put_event(context, room.number, target, &row);
    }
    Ok(at)
}
