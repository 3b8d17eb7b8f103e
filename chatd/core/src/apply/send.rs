//! Sending of events: messages, and state by the rules of its type.

use super::append::{self, NewEvent, append_event, sent_answer};
use super::context::{ApplyContext, ApplyResult, CommandAnswer, CommandError, RoomHandle};
use super::state_change::set_state;
use super::{member, redact, relation};
use crate::auth::send;
use crate::id::Position;
use crate::proto::log;
use crate::rows::{self, event_type};
use bytes::Bytes;

pub(super) fn apply_send_event(context: &mut ApplyContext<'_>, command: &log::SendEvent) -> ApplyResult<CommandAnswer> {
    let event_type = command.r#type.as_str();
    // Checked before the room is looked up: a fault in the event itself must not reveal whether the room exists.
    append::check_names(event_type, command.state_key.as_deref())?;
    append::check_content(&command.content)?;
    let mut room = match context.room_by_id(&command.room_id) {
        Err(refusal) => return Err(no_room_for(context, command, refusal)),
        Ok(room) => room,
    };
    let at = match (command.state_key.as_deref(), event_type) {
        (Some(user_id), event_type::MEMBER) => member::by_event(context, &mut room, user_id, &command.content)?,
        (Some(state_key), _) => {
            context.joined(&room)?;
            let new = NewEvent { by_client: true, ..NewEvent::state(event_type, state_key, command.content.clone()) };
            set_state(context, &mut room, new)?
        }
        (None, event_type::REDACTION) => redact::by_event(context, &mut room, &command.content)?,
        (None, _) => append_message(context, &mut room, event_type, &command.content)?,
    };
    context.save_room(&room);
    // State that was set before is answered with the event that set it.
    let is_new = at >= context.first;
    let time_ms =
        if is_new { context.time_ms } else { rows::known_event(&context.rows, room.number, at)?.origin_server_ts };
    Ok(sent_answer(&room, at, time_ms))
}

/// Returns the refusal for an event in a room that does not exist. A user who tries to enter gets the answer of a
/// closed room.
fn no_room_for(context: &ApplyContext<'_>, command: &log::SendEvent, refusal: CommandError) -> CommandError {
    let state_key = command.state_key.as_deref().filter(|_| command.r#type == event_type::MEMBER);
    match state_key.and_then(|state_key| member::entering_change(context, state_key, &command.content)) {
        Some(change) => member::hide_missing_room(refusal, change),
        None => refusal,
    }
}

/// Appends a message of the caller, as far as the room's rules allow it.
pub(super) fn append_message(
    context: &mut ApplyContext<'_>,
    room: &mut RoomHandle,
    event_type: &str,
    content: &Bytes,
) -> ApplyResult<Position> {
    send::check_message_type(event_type)?;
    let membership = context.joined(room)?;
    send::check_message(room.levels(), context.user, event_type)?;
    let link = relation::of_new(context, room, &membership, event_type, content)?;
    let at = append_event(
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
        relation::put_relation(context, room.number, at, event_type, &link)?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id;
    use crate::proto::log::Reason;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, world};
    use serde_json::Value;

    fn rejected(
        world: &mut World,
        user: &str,
        room: &str,
        event_type: &str,
        key: Option<&str>,
        content: &str,
    ) -> Reason {
        let envelope = world.event(user, room, event_type, key, content);
        world.rejected(envelope)
    }

    #[test]
    fn a_message_keeps_its_bytes_and_its_transaction_id_for_its_sender() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let envelope = world.event("alice", &room, "m.room.message", None, "{ \"body\" : \"x\" }");
        let at = crate::testing::position(&world.accepted(envelope.clone()));
        let event = world.view().event("alice", &id::event_id(at)).unwrap();
        assert_eq!(event.content, "{ \"body\" : \"x\" }");
        assert_eq!(event.transaction_id_for("@alice:a.org", "D"), Some(envelope.transaction_id.as_str()));
        assert_eq!(event.transaction_id_for("@alice:a.org", "E"), None);
        assert_eq!(event.transaction_id_for("@bob:a.org", "D"), None);
    }

    #[test]
    fn state_that_is_set_twice_is_one_event_until_somebody_changes_it() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        let first = world.set("alice", &room, "t", r#"{"a":1,"b":2}"#);
        assert_eq!(world.set("alice", &room, "t", r#"{"b":2, "a":1}"#), first);
        let other = world.set("alice", &room, "t", r#"{"a":2}"#);
        assert!(other > first);
        assert!(world.set("alice", &room, "t", r#"{"a":1,"b":2}"#) > other, "it is another event than the first");
    }

    #[test]
    fn bad_events_are_refused_by_name() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        let long = "x".repeat(256);
        let large = format!(r#"{{"body":"{}"}}"#, "x".repeat(65_500));
        for (event_type, key, content, reason) in [
            ("", None, "{}", Reason::Invalid),
            (long.as_str(), None, "{}", Reason::Invalid),
            ("a\0b", None, "{}", Reason::Invalid),
            ("t", Some(long.as_str()), "{}", Reason::TooLarge),
            ("t", None, "[]", Reason::BadJson),
            ("t", None, "{\"a\":}", Reason::BadJson),
            ("t", None, r#"{"a":1.5}"#, Reason::BadJson),
            ("t", Some(""), r#"{"a":[9007199254740992]}"#, Reason::BadJson),
            ("t", None, r#"{"a":1,"a":2}"#, Reason::BadJson),
            ("m.room.member", None, r#"{"membership":"join"}"#, Reason::Invalid),
            ("m.room.create", None, "{}", Reason::Invalid),
            ("m.room.power_levels", None, "{}", Reason::Invalid),
            ("t", None, large.as_str(), Reason::TooLarge),
            ("t", Some("@bob:a.org"), "{}", Reason::Forbidden),
            ("m.room.create", Some(""), "{}", Reason::Invalid),
            ("m.room.power_levels", Some(""), r#"{"users":{"@alice:a.org":"100"}}"#, Reason::Invalid),
            ("m.room.canonical_alias", Some(""), r##"{"alias":"#none:a.org"}"##, Reason::BadAlias),
            ("m.room.canonical_alias", Some(""), r##"{"alt_aliases":["none"]}"##, Reason::Invalid),
            ("m.room.canonical_alias", Some(""), r##"{"alias":1}"##, Reason::Invalid),
        ] {
            assert_eq!(rejected(&mut world, "alice", &room, event_type, key, content), reason, "{event_type} {key:?}");
        }
        assert_eq!(rejected(&mut world, "bob", &room, "t", None, "{}"), Reason::NotMember);
        assert_eq!(rejected(&mut world, "bob", &room, "t", Some(""), "{}"), Reason::NotMember);
        assert_eq!(rejected(&mut world, "alice", "!none:a.org", "t", None, "{}"), Reason::RoomNotFound);
    }

    #[test]
    fn sixty_four_kibibytes_are_the_whole_event_as_clients_see_it() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        let sized = |bytes: usize| format!(r#"{{"b":"{}"}}"#, "x".repeat(bytes - 8));
        let shown = |content: &str| {
            let event = serde_json::json!({
                "content": serde_json::from_str::<Value>(content).unwrap(), "event_id": id::event_id(Position::ZERO),
                "origin_server_ts": 1234567890123_u64, "room_id": room_id, "sender": "@alice:a.org", "type": "t",
            });
            event.to_string().len()
        };
        let overhead = shown(&sized(100)) - 100;
        let fits = sized(65_536 - overhead);
        let envelope = world.event("alice", &room_id, "t", None, &fits);
        world.accepted(envelope);
        assert_eq!(rejected(&mut world, "alice", &room_id, "t", None, &sized(65_537 - overhead)), Reason::TooLarge);
        assert_eq!(world.view().membership(room, "alice").unwrap().map(i32::from), Some(1));
    }

    #[test]
    fn power_decides_who_sends_what() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        world.moved("bob", &room, Change::Join, "");
        assert_eq!(rejected(&mut world, "bob", &room, "m.room.name", Some(""), r#"{"name":"x"}"#), Reason::Forbidden);
        let levels =
            |text: &str| format!(r#"{{"users":{{"@alice:a.org":100,"@bob:a.org":50}},{text}"events_default":0}}"#);
        world.set("alice", &room, "m.room.power_levels", &levels(r#""events":{"quiet":60},"#));
        world.set("bob", &room, "m.room.name", r#"{"name":"x"}"#);
        assert_eq!(rejected(&mut world, "bob", &room, "quiet", None, "{}"), Reason::Forbidden);
        let greedy = r#"{"users":{"@alice:a.org":100,"@bob:a.org":51},"events":{"quiet":60}}"#;
        assert_eq!(rejected(&mut world, "bob", &room, "m.room.power_levels", Some(""), greedy), Reason::Forbidden);
        world.set("alice", &room, "m.room.power_levels", &levels(""));
        let envelope = world.event("bob", &room, "quiet", None, "{}");
        world.accepted(envelope);
    }

    #[test]
    fn state_is_read_as_it_was_at_any_position() {
        let mut world = world(&["alice"]);
        let (room, id) = world.public_room("alice");
        let first = world.set("alice", &id, "m.room.name", r#"{"name":"one"}"#);
        let second = world.set("alice", &id, "m.room.name", r#"{"name":"two"}"#);
        let name = |at| world.view().state_event(room, "m.room.name", "", at).unwrap().map(|event| event.content);
        assert_eq!(name(Some(first.before())), None);
        assert_eq!(name(Some(first)).unwrap(), r#"{"name":"one"}"#);
        assert_eq!(name(Some(second.before())).unwrap(), r#"{"name":"one"}"#);
        assert_eq!(name(None).unwrap(), r#"{"name":"two"}"#);
        let newest = world.view().state_event(room, "m.room.name", "", None).unwrap().unwrap();
        let shown = world.view().event("alice", &newest.event_id).unwrap();
        assert_eq!(shown.prev_content.unwrap(), r#"{"name":"one"}"#);
    }
}
