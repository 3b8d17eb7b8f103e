//! Index of relations: which events relate to which others, and how (`m.relates_to`).

use super::context::{ApplyContext, ApplyResult, RoomHandle, refuse};
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::log::Reason;
use crate::proto::store;
use crate::table::{self, Table, key};
use crate::visibility::UserVisibility;
use serde_json::Value;

const KEY: &str = "m.relates_to";

/// Maximum length of a relation type in bytes.
const MAX_TYPE_BYTES: usize = 255;

/// Relation to be added to the index.
pub(super) struct NewRelation {
    target: Position,
    relation_type: String,
}

/// Returns the relation that new content names, after checking its target: an earlier event of the same room that is
/// visible to the sender. Ids can be guessed, so a user who may not see an event must not learn of it in this way
/// either.
pub(super) fn of_new(
    context: &ApplyContext<'_>,
    room: &RoomHandle,
    membership: &store::Membership,
    content: &[u8],
) -> ApplyResult<Option<NewRelation>> {
    let Some((event_id, relation_type)) = named_relation(content) else { return Ok(None) };
    if relation_type.len() > MAX_TYPE_BYTES {
        return refuse(Reason::Invalid, format!("a relation's type must have at most {MAX_TYPE_BYTES} bytes"));
    }
    let target = id::parse_event_id(&event_id);
    match target.map(|target| is_visible(context, room, membership, target)).transpose()? {
        Some(true) => Ok(target.map(|target| NewRelation { target, relation_type })),
        _ => refuse(
            Reason::EventNotFound,
            format!("the event {event_id:?} that this one relates to is not in this room"),
        ),
    }
}

/// Returns the event id and the type of the relation in some content.
fn named_relation(content: &[u8]) -> Option<(String, String)> {
    if !json::contains_text(content, KEY) {
        return None;
    }
    let object = json::stored_object(content);
    let relation = object.get(KEY).and_then(Value::as_object)?;
    Some((json::string_field(relation, "event_id")?.to_owned(), json::string_field(relation, "rel_type")?.to_owned()))
}

/// Returns `true` if the room contains the event and this member may see it.
pub(super) fn is_visible(
    context: &ApplyContext<'_>,
    room: &RoomHandle,
    membership: &store::Membership,
    target: Position,
) -> ApplyResult<bool> {
    if context.room_of_event(target)? != Some(room.number) {
        return Ok(false);
    }
    let since = table::decode_position(Table::RoomMember, &membership.joined_since)?;
    if since.is_some_and(|since| since <= target) {
        return Ok(true);
    }
    Ok(UserVisibility::load(&context.rows, room.number, context.user, context.server_name)?.sees(target))
}

pub(super) fn put_relation(
    context: &mut ApplyContext<'_>,
    room: &RoomHandle,
    at: Position,
    event_type: &str,
    link: &NewRelation,
) {
    let row = store::Relation { event_type: event_type.to_owned(), sender: context.user_id() };
    let key = key::relation_key(room.number, link.target, &link.relation_type, at);
    context.rows.put(Table::Relation, key, table::encode_value(&row));
}

/// Removes the relation of an event that is redacted or removed; `content` is what it had before.
pub(super) fn remove_relation(context: &mut ApplyContext<'_>, room: RoomNumber, at: Position, content: &[u8]) {
    let Some((event_id, relation_type)) = named_relation(content) else { return };
    if let Some(target) = id::parse_event_id(&event_id) {
        context.rows.delete(Table::Relation, key::relation_key(room, target, &relation_type, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::Envelope;
    use crate::proto::log::set_membership::Change;
    use crate::query::RelationQuery;
    use crate::table::ScanDirection;
    use crate::testing::{World, position, world};

    fn reaction(world: &mut World, user: &str, room: &str, target: &str) -> Envelope {
        let content = format!(r#"{{"m.relates_to":{{"rel_type":"m.annotation","event_id":"{target}","key":"x"}}}}"#);
        world.event(user, room, "m.reaction", None, &content)
    }

    #[test]
    fn a_relation_is_found_by_its_target_until_it_is_redacted() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        let target = world.say("alice", &room_id, "x");
        let envelope = reaction(&mut world, "alice", &room_id, &id::event_id(target));
        let at = position(&world.accepted(envelope));
        let related = |world: &World, relation_type| {
            let which = RelationQuery { target, relation_type, event_type: Some("m.reaction") };
            let page =
                world.view().relations("alice", room, which, Position::MAX, ScanDirection::Backward, 10).unwrap();
            page.events.into_iter().map(|event| event.position).collect::<Vec<_>>()
        };
        assert_eq!(related(&world, None), [at]);
        assert_eq!(related(&world, Some("m.annotation")), [at]);
        assert_eq!(related(&world, Some("m.thread")), []);
        let redact = log_redact(&mut world, &room_id, at);
        world.accepted(redact);
        assert_eq!(related(&world, None), []);
    }

    fn log_redact(world: &mut World, room: &str, at: Position) -> Envelope {
        let redact =
            crate::proto::log::Redact { room_id: room.into(), event_id: id::event_id(at), reason: String::new() };
        world.by("alice", crate::proto::log::command::Kind::Redact(redact))
    }

    #[test]
    fn a_relation_to_what_one_cannot_see_is_refused_like_one_to_nothing() {
        let mut world = world(&["alice", "bob"]);
        let (_, other) = world.public_room("alice");
        let elsewhere = world.say("alice", &other, "x");
        let (_, room) = world.public_room("alice");
        world.set("alice", &room, "m.room.history_visibility", r#"{"history_visibility":"joined"}"#);
        let early = world.say("alice", &room, "x");
        world.moved("bob", &room, Change::Join, "");
        for target in [id::event_id(early), id::event_id(elsewhere), id::event_id(Position::MAX), "$x".into()] {
            let envelope = reaction(&mut world, "bob", &room, &target);
            assert_eq!(world.rejected(envelope), Reason::EventNotFound, "{target}");
        }
        let envelope = reaction(&mut world, "alice", &room, &id::event_id(early));
        world.accepted(envelope);
    }

    #[test]
    fn content_that_only_looks_like_a_relation_is_a_plain_message() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        for content in [
            r#"{"m.relates_to":1}"#,
            r#"{"m.relates_to":{"rel_type":"m.thread"}}"#,
            r#"{"m.relates_to":{"m.in_reply_to":{"event_id":"$x"}}}"#,
            r#"{"body":"m.relates_to"}"#,
        ] {
            let envelope = world.event("alice", &room, "m.room.message", None, content);
            world.accepted(envelope);
        }
    }
}
