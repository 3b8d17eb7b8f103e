//! Sums of the relations to an event: the threads of a room in order of their newest events, how much each user wrote
//! in a thread, and who annotated what with which key.
//!
//! All of it follows from the relations, and could be counted when it is asked for; but a thread may have any number of
//! events, and a message any number of reactions, while each of them changes only one or two of these rows.

use super::context::{ApplyContext, ApplyResult};
use super::relation::NewRelation;
use crate::id::{self, Position, RoomNumber};
use crate::proto::store;
use crate::relates::relation_type;
use crate::rows;
use crate::table::{self, ReadError, Table, TableRead as _, key};

/// Returns `true` if the caller has annotated the event with the same key and type before.
pub(super) fn has_annotated(
    context: &ApplyContext<'_>,
    room: RoomNumber,
    event_type: &str,
    link: &NewRelation,
) -> Result<bool, ReadError> {
    let Some(text) = &link.key else { return Ok(false) };
    let key = key::annotation_key(room, link.target, event_type, context.user, text);
    Ok(context.rows.get(Table::Aggregate, &key)?.is_some())
}

/// Counts a relation of the caller's that has no row yet.
pub(super) fn count_relation(
    context: &mut ApplyContext<'_>,
    room: RoomNumber,
    at: Position,
    event_type: &str,
    link: &NewRelation,
) -> ApplyResult<()> {
    match (link.relation_type.as_str(), &link.key) {
        (relation_type::THREAD, _) => {
            let mut events = 0;
            if let Some(before) = rows::newest_relation(&context.rows, room, link.target, relation_type::THREAD)? {
                let key = key::thread_newest(room, before);
                events = aggregate_row(context, &key)?.events;
                context.rows.delete(Table::Aggregate, key);
            }
            put_thread(context, room, at, link.target, events + 1);
            let author = key::thread_author(room, link.target, context.user);
            let events = aggregate_row(context, &author)?.events;
            put_events(context, author, events + 1);
        }
        (relation_type::ANNOTATION, Some(text)) => {
            let key = key::annotation_key(room, link.target, event_type, context.user, text);
            let row = store::Aggregate { annotation: table::position_field(at), ..store::Aggregate::default() };
            context.rows.put(Table::Aggregate, key, table::encode_value(&row));
        }
        _ => {}
    }
    Ok(())
}

/// Takes back a relation whose row is gone.
pub(super) fn discount_relation(
    context: &mut ApplyContext<'_>,
    room: RoomNumber,
    at: Position,
    row: &store::Relation,
    link: &NewRelation,
) -> ApplyResult<()> {
    let localpart = id::user_localpart(&row.sender, context.server_name).unwrap_or_default();
    match (link.relation_type.as_str(), &link.key) {
        (relation_type::THREAD, _) => {
            let left = rows::newest_relation(&context.rows, room, link.target, relation_type::THREAD)?;
            // The thread's row is that of its newest event, with this one among them.
            let key = key::thread_newest(room, left.map_or(at, |left| left.max(at)));
            let events = aggregate_row(context, &key)?.events.saturating_sub(1);
            context.rows.delete(Table::Aggregate, key);
            if let Some(newest) = left {
                put_thread(context, room, newest, link.target, events);
            }
            let author = key::thread_author(room, link.target, localpart);
            let events = aggregate_row(context, &author)?.events.saturating_sub(1);
            put_events(context, author, events);
        }
        (relation_type::ANNOTATION, Some(text)) => {
            let key = key::annotation_key(room, link.target, &row.event_type, localpart, text);
            context.rows.delete(Table::Aggregate, key);
        }
        _ => {}
    }
    Ok(())
}

fn aggregate_row(context: &ApplyContext<'_>, key: &[u8]) -> Result<store::Aggregate, ReadError> {
    Ok(table::fetch_row(&context.rows, Table::Aggregate, key)?.unwrap_or_default())
}

fn put_thread(context: &mut ApplyContext<'_>, room: RoomNumber, newest: Position, root: Position, events: u64) {
    let row = store::Aggregate { root: table::position_field(root), events, ..store::Aggregate::default() };
    context.rows.put(Table::Aggregate, key::thread_newest(room, newest), table::encode_value(&row));
}

/// Sets a count; none is kept of nothing.
fn put_events(context: &mut ApplyContext<'_>, key: Vec<u8>, events: u64) {
    if events == 0 {
        context.rows.delete(Table::Aggregate, key);
        return;
    }
    let row = store::Aggregate { events, ..store::Aggregate::default() };
    context.rows.put(Table::Aggregate, key, table::encode_value(&row));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::set_membership::Change;
    use crate::proto::log::{self, Envelope, Reason, command::Kind};
    use crate::testing::{World, position, world};

    fn related(world: &mut World, user: &str, room: &str, kind: &str, target: Position) -> Envelope {
        let target = id::event_id(target);
        let content = format!(r#"{{"m.relates_to":{{"rel_type":"{kind}","event_id":"{target}","key":"+"}}}}"#);
        world.event(user, room, "m.reaction", None, &content)
    }

    fn redact(world: &mut World, user: &str, room: &str, at: Position) {
        let redact = log::Redact { room_id: room.into(), event_id: id::event_id(at), reason: String::new() };
        let envelope = world.by(user, Kind::Redact(redact));
        world.accepted(envelope);
    }

    /// Returns the roots of the room's threads, newest first, with the numbers of their events.
    fn threads(world: &World, room: RoomNumber) -> Vec<(Position, u64)> {
        let page = world.view().threads("alice", room, false, Position::MAX, 100).unwrap();
        let count = |event: &crate::query::RoomEvent| {
            event.aggregations.as_ref().and_then(|found| found.thread.as_ref()).map_or(0, |thread| thread.count)
        };
        page.events.iter().map(|event| (event.position, count(event))).collect()
    }

    #[test]
    fn a_person_reacts_once_with_each_key_until_the_reaction_is_redacted() {
        let mut world = world(&["alice", "bob"]);
        let (_, room) = world.public_room("alice");
        world.moved("bob", &room, Change::Join, "");
        let said = world.say("alice", &room, "x");
        let reaction = related(&mut world, "bob", &room, "m.annotation", said);
        let first = position(&world.accepted(reaction.clone()));
        assert!(world.accepted(reaction).duplicate, "the same transaction is no second reaction");
        let again = related(&mut world, "bob", &room, "m.annotation", said);
        assert_eq!(world.rejected(again), Reason::DuplicateAnnotation);
        // Another person, another key, or another type is another reaction.
        let other = related(&mut world, "alice", &room, "m.annotation", said);
        world.accepted(other);
        let target = id::event_id(said);
        let content = format!(r#"{{"m.relates_to":{{"rel_type":"m.annotation","event_id":"{target}","key":"-"}}}}"#);
        let key = world.event("bob", &room, "m.reaction", None, &content);
        world.accepted(key);
        // Ids contain dashes, too.
        let content = content.replace(r#""key":"-""#, r#""key":"+""#);
        let other_type = world.event("bob", &room, "m.vote", None, &content);
        world.accepted(other_type);
        redact(&mut world, "bob", &room, first);
        let anew = related(&mut world, "bob", &room, "m.annotation", said);
        world.accepted(anew);
        let again = related(&mut world, "bob", &room, "m.annotation", said);
        assert_eq!(world.rejected(again), Reason::DuplicateAnnotation);
    }

    #[test]
    fn a_reaction_whose_key_is_too_long_for_a_row_is_refused() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let target = id::event_id(world.say("alice", &room, "x"));
        let reaction = |world: &mut World, length: usize| {
            let text = "ü".repeat(length);
            let relation = format!(r#"{{"rel_type":"m.annotation","event_id":"{target}","key":"{text}"}}"#);
            world.event("alice", &room, "m.reaction", None, &format!(r#"{{"m.relates_to":{relation}}}"#))
        };
        let long = reaction(&mut world, 501);
        assert_eq!(world.rejected(long), Reason::Invalid);
        let fits = reaction(&mut world, 500);
        world.accepted(fits);
    }

    #[test]
    fn threads_are_in_order_of_their_newest_events_whatever_is_redacted() {
        let mut world = world(&["alice", "bob"]);
        let (room, room_id) = world.public_room("alice");
        world.moved("bob", &room_id, Change::Join, "");
        let roots = [world.say("alice", &room_id, "one"), world.say("alice", &room_id, "two")];
        let reply = |world: &mut World, user, root| {
            let envelope = related(world, user, &room_id, "m.thread", root);
            position(&world.accepted(envelope))
        };
        let first = reply(&mut world, "alice", roots[0]);
        let second = reply(&mut world, "bob", roots[1]);
        assert_eq!(threads(&world, room), [(roots[1], 1), (roots[0], 1)]);
        let third = reply(&mut world, "bob", roots[0]);
        assert_eq!(threads(&world, room), [(roots[0], 2), (roots[1], 1)]);
        redact(&mut world, "alice", &room_id, first);
        assert_eq!(threads(&world, room), [(roots[0], 1), (roots[1], 1)]);
        redact(&mut world, "bob", &room_id, third);
        assert_eq!(threads(&world, room), [(roots[1], 1)]);
        redact(&mut world, "bob", &room_id, second);
        assert_eq!(threads(&world, room), []);
    }

    #[test]
    fn no_thread_begins_within_another_or_with_a_reaction() {
        let mut world = world(&["alice"]);
        let (_, room) = world.public_room("alice");
        let root = world.say("alice", &room, "root");
        for kind in ["m.thread", "m.annotation", "m.replace"] {
            let envelope = related(&mut world, "alice", &room, kind, root);
            let child = position(&world.accepted(envelope));
            let envelope = related(&mut world, "alice", &room, "m.thread", child);
            assert_eq!(world.rejected(envelope), Reason::BadRelation, "{kind}");
        }
    }
}
