use super::*;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{self, command::Kind};
use crate::table::ScanDirection;
use crate::testing::{World, position, world};

fn related(world: &mut World, user: &str, room: &str, kind: &str, target: Position, more: &str) -> Position {
    let target = id::event_id(target);
    let content = format!(r#"{{"m.relates_to":{{"rel_type":"{kind}","event_id":"{target}"}}{more}}}"#);
    let envelope = world.event(user, room, "m.room.message", None, &content);
    position(&world.accepted(envelope))
}

fn added(world: &World, user: &str, room: RoomNumber, at: Position) -> EventAggregations {
    let view = world.view();
    let mut events = vec![view.event(user, &id::event_id(at)).unwrap()];
    view.add_aggregations(user, room, &mut events).unwrap();
    events.remove(0).aggregations.map(|found| *found).unwrap_or_default()
}

fn redact(world: &mut World, user: &str, room: &str, at: Position) {
    let redact = log::Redact { room_id: room.into(), event_id: id::event_id(at), reason: String::new() };
    let envelope = world.by(user, Kind::Redact(redact));
    world.accepted(envelope);
}

const NEW: &str = r#","m.new_content":{"body":"new"}"#;

#[test]
fn the_latest_valid_edit_of_the_sender_is_added_until_the_event_is_redacted() {
    let mut world = world(&["alice", "bob"]);
    let (room, room_id) = world.public_room("alice");
    world.moved("bob", &room_id, Change::Join, "");
    let said = world.say("alice", &room_id, "x");
    let replacement = |world: &World| added(world, "bob", room, said).replacement.map(|edit| edit.position);
    assert_eq!(replacement(&world), None);
    let first = related(&mut world, "alice", &room_id, "m.replace", said, NEW);
    let second = related(&mut world, "alice", &room_id, "m.replace", said, NEW);
    // None of these is valid: by somebody else, without new content, of another type.
    related(&mut world, "bob", &room_id, "m.replace", said, NEW);
    related(&mut world, "alice", &room_id, "m.replace", said, "");
    let target = id::event_id(said);
    let content = format!(r#"{{"m.relates_to":{{"rel_type":"m.replace","event_id":"{target}"}}{NEW}}}"#);
    let other = world.event("alice", &room_id, "m.sticker", None, &content);
    world.accepted(other);
    assert_eq!(replacement(&world), Some(second));
    // An edit cannot be edited.
    related(&mut world, "alice", &room_id, "m.replace", second, NEW);
    assert_eq!(added(&world, "bob", room, second), EventAggregations::default());
    redact(&mut world, "alice", &room_id, second);
    assert_eq!(replacement(&world), Some(first));
    redact(&mut world, "alice", &room_id, said);
    assert_eq!(replacement(&world), None);
}

#[test]
fn a_thread_tells_its_newest_event_its_size_and_who_takes_part() {
    let mut world = world(&["alice", "bob", "carol"]);
    let (room, room_id) = world.public_room("alice");
    for user in ["bob", "carol"] {
        world.moved(user, &room_id, Change::Join, "");
    }
    let root = world.say("alice", &room_id, "root");
    related(&mut world, "bob", &room_id, "m.thread", root, "");
    let last = related(&mut world, "bob", &room_id, "m.thread", root, "");
    let edit = related(&mut world, "bob", &room_id, "m.replace", last, NEW);
    for (user, participated) in [("alice", true), ("bob", true), ("carol", false)] {
        let thread = added(&world, user, room, root).thread.unwrap();
        assert_eq!((thread.latest.position, thread.count, thread.participated), (last, 2, participated), "{user}");
        let latest = thread.latest.aggregations.unwrap();
        assert_eq!(latest.replacement.unwrap().position, edit);
    }
    related(&mut world, "carol", &room_id, "m.thread", root, "");
    let data = log::PutAccountData {
        r#type: "m.ignored_user_list".into(),
        content: r#"{"ignored_users":{"@bob:a.org":{}}}"#.into(),
        ..Default::default()
    };
    let ignore = world.by("alice", Kind::PutAccountData(data));
    world.accepted(ignore);
    assert_eq!(added(&world, "alice", room, root).thread.unwrap().count, 1);
    let query = crate::query::RelationQuery { target: root, relation_type: None, event_type: None };
    let related = |user: &str| {
        let view = world.view();
        let page = view.relations(user, room, query, Position::ZERO, ScanDirection::Forward, 9).unwrap();
        let below = view.relations_below(user, room, query, Position::ZERO, ScanDirection::Forward, 9).unwrap();
        (page.events.len(), below.events.len())
    };
    assert_eq!((related("alice"), related("carol")), ((1, 1), (3, 4)));
    assert_eq!(added(&world, "carol", room, root).thread.unwrap().count, 3);
}

#[test]
fn a_former_member_is_told_of_a_thread_as_it_was() {
    let mut world = world(&["alice", "bob"]);
    let (room, room_id) = world.public_room("alice");
    world.moved("bob", &room_id, Change::Join, "");
    let root = world.say("alice", &room_id, "root");
    let reference = related(&mut world, "alice", &room_id, "m.reference", root, "");
    let last = related(&mut world, "bob", &room_id, "m.thread", root, "");
    world.moved("bob", &room_id, Change::Leave, "");
    related(&mut world, "alice", &room_id, "m.thread", root, "");
    related(&mut world, "alice", &room_id, "m.reference", root, "");
    related(&mut world, "alice", &room_id, "m.replace", root, NEW);
    let found = added(&world, "bob", room, root);
    let thread = found.thread.unwrap();
    assert_eq!((thread.latest.position, thread.count), (last, 1));
    assert_eq!((found.references, found.replacement), (vec![id::event_id(reference)], None));
    let threads = world.view().threads("bob", room, true, Position::MAX, 10).unwrap();
    assert_eq!(threads.events.iter().map(|event| event.position).collect::<Vec<_>>(), [root]);
}

#[test]
fn threads_are_paged_and_those_that_one_takes_part_in_are_found() {
    let mut world = world(&["alice", "bob"]);
    let (room, room_id) = world.public_room("alice");
    world.moved("bob", &room_id, Change::Join, "");
    let roots: Vec<_> = (0..5).map(|n| world.say("alice", &room_id, &n.to_string())).collect();
    for (n, root) in roots.iter().enumerate() {
        let user = if n % 2 == 0 { "bob" } else { "alice" };
        related(&mut world, user, &room_id, "m.thread", *root, "");
    }
    let pages = |participated| {
        let mut from = Position::MAX;
        let mut found = Vec::new();
        loop {
            let page = world.view().threads("bob", room, participated, from, 2).unwrap();
            assert!(page.events.len() <= 2);
            found.extend(page.events.iter().map(|event| event.position));
            match page.next {
                Some(next) => from = next,
                None => return found,
            }
        }
    };
    assert_eq!(pages(false), roots.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(pages(true), [roots[4], roots[2], roots[0]]);
}

#[test]
fn relations_of_relations_are_found_in_one_order() {
    let mut world = world(&["alice"]);
    let (room, room_id) = world.public_room("alice");
    let root = world.say("alice", &room_id, "root");
    let mut all = Vec::new();
    for _ in 0..3 {
        let reply = related(&mut world, "alice", &room_id, "m.thread", root, "");
        let edit = related(&mut world, "alice", &room_id, "m.replace", reply, NEW);
        all.extend([reply, edit]);
    }
    let view = world.view();
    let query = |relation_type| crate::query::RelationQuery { target: root, relation_type, event_type: None };
    for direction in [ScanDirection::Forward, ScanDirection::Backward] {
        let mut from = if direction == ScanDirection::Forward { Position::ZERO } else { Position::MAX };
        let mut found = Vec::new();
        loop {
            let page = view.relations_below("alice", room, query(None), from, direction, 2).unwrap();
            found.extend(page.events.iter().map(|event| event.position));
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        if direction == ScanDirection::Backward {
            found.reverse();
        }
        assert_eq!(found, all, "{direction:?}");
    }
    let edits =
        view.relations_below("alice", room, query(Some("m.replace")), Position::ZERO, ScanDirection::Forward, 9);
    assert_eq!(edits.unwrap().events.len(), 3);
}
