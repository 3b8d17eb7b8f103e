//! Redactions, by a command or by an `m.room.redaction` event.

use super::append::{NewEvent, append_event, put_event, sent_answer};
use super::context::{ApplyContext, ApplyResult, CommandAnswer, RoomHandle, refuse};
use super::{append, relation};
use crate::auth::{levels, redaction, send};
use crate::id::{self, Position};
use crate::json::{self, JsonObject};
use crate::proto::log::{self, Reason};
use crate::proto::store;
use crate::rows::{self, event_type};
use crate::table;
use bytes::Bytes;

pub(super) fn apply_redact(context: &mut ApplyContext<'_>, command: &log::Redact) -> ApplyResult<CommandAnswer> {
    let mut room = context.room_by_id(&command.room_id)?;
    let mut content = JsonObject::from_iter([("redacts".to_owned(), command.event_id.as_str().into())]);
    if !command.reason.is_empty() {
        content.insert("reason".into(), command.reason.as_str().into());
    }
    let at = redact_event(context, &mut room, &command.event_id, json::canonical_json(&content))?;
    context.save_room(&room);
    Ok(sent_answer(&room, at, context.time_ms))
}

/// Redacts by an event: since room version 11, the content names the redacted event.
pub(super) fn by_event(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    content: &Bytes,
) -> ApplyResult<Position> {
    // Checked first: a user who is not in the room must not learn from another refusal that it exists.
    context.joined(room)?;
    let object = json::stored_object(content);
    match json::string_field(&object, "redacts") {
        Some(event_id) => redact_event(context, room, event_id, content.clone()),
        None => refuse(Reason::Invalid, "the content of m.room.redaction must name an event id in `redacts`"),
    }
}

fn redact_event(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    event_id: &str,
    content: Bytes,
) -> ApplyResult<Position> {
    append::check_content(&content)?;
    let membership = context.joined(room)?;
    send::check_message(room.levels(), context.user, event_type::REDACTION)?;
    let target = match id::parse_event_id(event_id) {
        Some(target) if relation::is_visible(context, room, &membership, target)? => target,
        _ => return refuse(Reason::EventNotFound, format!("the event {event_id:?} is not in this room")),
    };
    let mut row = rows::known_event(&context.rows, room.number, target)?;
    redaction::check_power(room.levels(), context.user, row.sender == context.user_id())?;
    let new = NewEvent {
        event_type: event_type::REDACTION,
        state_key: None,
        content,
        redacts: Some(target),
        by_client: true,
        version_value: Vec::new(),
    };
    let at = append_event(context, room, new)?;
    // The first redaction is the one shown with the event.
    if row.redacted_by.is_empty() {
        // Before the content is emptied, because the content says what the event relates to.
        relation::remove_relation(context, room.number, target, &row.content)?;
        row.content = redaction::redacted_content(room.version(), &row.r#type, &row.content);
        row.redacted_by = table::position_field(at);
        put_event(context, room.number, target, &row);
        take_over_redaction(context, room, target, &row)?;
    }
    Ok(at)
}

/// Brings the room's row in line with what remains of a piece of its state: the lifetime that a retention event asked
/// for is lost, and versions before 11 do not keep the power that invitations need. What remains of memberships, join
/// rules and history visibility says the same as before, except that versions before 8 forget which rooms a join rule
/// names, which matters to none of them.
fn take_over_redaction(
    context: &ApplyContext<'_>,
    room: &mut RoomHandle,
    target: Position,
    row: &store::Event,
) -> ApplyResult<()> {
    let event_type = row.r#type.as_str();
    let is_kept_in_row = matches!(event_type, event_type::RETENTION | event_type::POWER_LEVELS);
    if !is_kept_in_row
        || row.state_key.as_deref() != Some("")
        || rows::state_version(&context.rows, room.number, event_type, "", Position::MAX)? != Some(target)
    {
        return Ok(());
    }
    if event_type == event_type::RETENTION {
        room.row_mut().max_lifetime_ms = 0;
    } else {
        let levels = levels::parse_levels(&json::stored_object(&row.content), context.server_name)?;
        let creators = room.levels().creators.clone();
        room.row_mut().levels = Some(store::Levels { creators, ..levels });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::command::Kind;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, position, world};

    fn redaction(world: &mut World, user: &str, room: &str, at: Position) -> Envelope {
        let redact = log::Redact { room_id: room.into(), event_id: id::event_id(at), reason: "spam".into() };
        world.by(user, Kind::Redact(redact))
    }

    #[test]
    fn a_redacted_message_is_empty_and_says_by_what() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        world.moved("bob", &room, Change::Join, "");
        let said = world.say("bob", &room, "x");
        let envelope = redaction(&mut world, "bob", &room, said);
        let at = position(&world.accepted(envelope));
        let event = world.view().event("alice", &id::event_id(said)).unwrap();
        assert_eq!((event.content.as_ref(), event.redacted_by), (&b"{}"[..], Some(at)));
        let because = event.redacted_because.unwrap();
        let expected = format!(r#"{{"reason":"spam","redacts":"{}"}}"#, id::event_id(said));
        assert_eq!((because.content.as_ref(), because.redacts), (expected.as_bytes(), Some(said)));
    }

    #[test]
    fn others_messages_are_redacted_by_power_only() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        world.moved("bob", &room, Change::Join, "");
        let (hers, his) = (world.say("alice", &room, "x"), world.say("bob", &room, "y"));
        let envelope = redaction(&mut world, "bob", &room, hers);
        assert_eq!(world.rejected(envelope), Reason::Forbidden);
        let envelope = redaction(&mut world, "alice", &room, his);
        let first = position(&world.accepted(envelope));
        // A second redaction is another event, but the message still names the first.
        let envelope = redaction(&mut world, "alice", &room, his);
        world.accepted(envelope);
        assert_eq!(world.view().event("bob", &id::event_id(his)).unwrap().redacted_by, Some(first));
    }

    #[test]
    fn the_event_form_redacts_too() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let said = world.say("alice", &room, "x");
        let content = format!(r#"{{"redacts":"{}"}}"#, id::event_id(said));
        let envelope = world.event("alice", &room, "m.room.redaction", None, &content);
        world.accepted(envelope);
        assert!(world.view().event("alice", &id::event_id(said)).unwrap().redacted_by.is_some());
        let envelope = world.event("alice", &room, "m.room.redaction", None, "{}");
        assert_eq!(world.rejected(envelope), Reason::Invalid);
    }

    #[test]
    fn what_is_not_in_the_room_cannot_be_redacted() {
        let mut world = world(&["alice"]);
        let (_, one) = world.public_room("alice");
        let (_, two) = world.public_room("alice");
        let said = world.say("alice", &one, "x");
        for at in [said, Position::MAX] {
            let envelope = redaction(&mut world, "alice", &two, at);
            assert_eq!(world.rejected(envelope), Reason::EventNotFound);
        }
    }

    #[test]
    fn version_ten_forgets_who_may_invite_with_the_event_that_said_so() {
        let mut world = world(&["alice", "bob", "carol"]);
        let (_, id) = world.create("alice", log::CreateRoom { room_version: "10".into(), ..Default::default() });
        world.moved("alice", &id, Change::Invite, "bob");
        world.moved("bob", &id, Change::Join, "");
        let levels = r#"{"invite":50,"users":{"@alice:a.org":100}}"#;
        let levels = world.set("alice", &id, "m.room.power_levels", levels);
        let invite = world.membership("bob", &id, Change::Invite, "carol");
        assert_eq!(world.rejected(invite), Reason::Forbidden);
        let envelope = redaction(&mut world, "alice", &id, levels);
        world.accepted(envelope);
        world.moved("bob", &id, Change::Invite, "carol");
    }

    #[test]
    fn a_redacted_name_is_gone_but_power_levels_keep_their_power() {
        let mut world = world(&["alice"]);
        let (room, id) = world.public_room("alice");
        let name = world.set("alice", &id, "m.room.name", r#"{"name":"x"}"#);
        let levels = world.view().state_event(room, "m.room.power_levels", "", None).unwrap().unwrap().position;
        for at in [name, levels] {
            let envelope = redaction(&mut world, "alice", &id, at);
            world.accepted(envelope);
        }
        assert_eq!(world.view().summary(room).unwrap().name, "");
        world.set("alice", &id, "m.room.name", r#"{"name":"y"}"#);
    }
}
