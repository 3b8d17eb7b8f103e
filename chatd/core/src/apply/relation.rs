//! Index of relations: which events relate to which others, and how (`m.relates_to`).

use super::aggregate;
use super::context::{ApplyContext, ApplyResult, RoomHandle, refuse};
use crate::id::{self, Position, RoomNumber};
use crate::proto::log::Reason;
use crate::proto::store;
use crate::relates::{RelatesTo, relation_type};
use crate::rows;

use crate::table::{self, Table, key};
use crate::visibility::UserVisibility;

/// Maximum length of a relation type in bytes.
const MAX_TYPE_BYTES: usize = 255;

/// Maximum length of the key of an annotation in characters, the same as in Synapse: it is part of the key of a row.
const MAX_KEY_CHARS: usize = 500;

/// Relation to be added to the index.
pub(super) struct NewRelation {
    pub(super) target: Position,
    pub(super) relation_type: String,
    /// Key of an annotation.
    pub(super) key: Option<String>,
}

/// Returns the relation that new content names, after checking its target: an earlier event of the same room that is
/// visible to the sender. Ids can be guessed, so a user who may not see an event must not learn of it in this way
/// either.
pub(super) fn of_new(
    context: &ApplyContext<'_>,
    room: &RoomHandle,
    membership: &store::Membership,
    event_type: &str,
    content: &[u8],
) -> ApplyResult<Option<NewRelation>> {
    let Some(RelatesTo { event_id, relation_type, key }) = RelatesTo::of(content) else { return Ok(None) };
    if relation_type.len() > MAX_TYPE_BYTES {
        return refuse(Reason::Invalid, format!("a relation's type must have at most {MAX_TYPE_BYTES} bytes"));
    }
    let annotates = relation_type == relation_type::ANNOTATION;
    if annotates && key.as_ref().is_some_and(|key| key.chars().count() > MAX_KEY_CHARS) {
        return refuse(
            Reason::Invalid,
            format!("the key of an annotation must have at most {MAX_KEY_CHARS} characters"),
        );
    }
    let target = id::parse_event_id(&event_id);
    let Some(true) = target.map(|target| is_visible(context, room, membership, target)).transpose()? else {
        return refuse(
            Reason::EventNotFound,
            format!("the event {event_id:?} that this one relates to is not in this room"),
        );
    };
    let link = target.map(|target| NewRelation { target, relation_type, key });
    if let Some(link) = &link {
        check_kind(context, room.number, event_type, link)?;
    }
    Ok(link)
}

/// Checks the rules of the relations that the server interprets.
pub(super) fn check_kind(
    context: &ApplyContext<'_>,
    room: RoomNumber,
    event_type: &str,
    link: &NewRelation,
) -> ApplyResult<()> {
    match link.relation_type.as_str() {
        relation_type::ANNOTATION if aggregate::has_annotated(context, room, event_type, link)? => {
            refuse(Reason::DuplicateAnnotation, "you have reacted to this event in the same way before")
        }
        // Otherwise threads could form chains and circles (specification, "Validation of `m.thread` relationships").
        relation_type::THREAD
            if RelatesTo::of(&rows::known_event(&context.rows, room, link.target)?.content).is_some() =>
        {
            refuse(Reason::BadRelation, "a thread cannot begin with an event that relates to another one itself")
        }
        _ => Ok(()),
    }
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
    room: RoomNumber,
    at: Position,
    event_type: &str,
    link: &NewRelation,
) -> ApplyResult<()> {
    // Before the row that it counts.
    aggregate::count_relation(context, room, at, event_type, link)?;
    let row = store::Relation { event_type: event_type.to_owned(), sender: context.user_id() };
    let key = key::relation_key(room, link.target, &link.relation_type, at);
    context.rows.put(Table::Relation, key, table::encode_value(&row));
    Ok(())
}

/// Removes the relation of an event that is redacted or removed; `content` is what it had before.
pub(super) fn remove_relation(
    context: &mut ApplyContext<'_>,
    room: RoomNumber,
    at: Position,
    content: &[u8],
) -> ApplyResult<()> {
    let Some(RelatesTo { event_id, relation_type, key }) = RelatesTo::of(content) else { return Ok(()) };
    let Some(target) = id::parse_event_id(&event_id) else { return Ok(()) };
    let row_key = key::relation_key(room, target, &relation_type, at);
    let Some(row) = table::fetch_row::<store::Relation>(&context.rows, Table::Relation, &row_key)? else {
        return Ok(());
    };
    context.rows.delete(Table::Relation, row_key);
    // After the row that it no longer counts.
    aggregate::discount_relation(context, room, at, &row, &NewRelation { target, relation_type, key })
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
