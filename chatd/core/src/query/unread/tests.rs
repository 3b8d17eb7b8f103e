use super::*;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{Redact, SetProfile, SetReceipts, command};
use crate::testing::{World, position, world};

/// Bob reads what Alice writes.
fn room_of_two() -> (World, RoomNumber, String) {
    let mut world = world(&["alice", "bob"]);
    let (room, room_id) = world.public_room("alice");
    world.moved("bob", &room_id, Change::Join, "");
    (world, room, room_id)
}

/// Returns the unread events of a user with their threads, oldest first.
fn unread(world: &World, user: &str, room: RoomNumber) -> Vec<(Position, Option<Position>)> {
    let view = world.view();
    let reading = view.member_reading(user, room).unwrap().unwrap();
    let mut found = Vec::new();
    view.walk_unread(user, &reading, Position::ZERO, usize::MAX, &mut |unread| {
        found.push((unread.event.position, unread.thread));
        Ok(())
    })
    .unwrap();
    found.reverse();
    found
}

fn related(world: &mut World, user: &str, room: &str, target: Position, kind: &str) -> Position {
    let target = id::event_id(target);
    let content = format!(r#"{{"body":"x","m.relates_to":{{"event_id":"{target}","rel_type":"{kind}"}}}}"#);
    let envelope = world.event(user, room, "m.room.message", None, &content);
    position(&world.accepted(envelope))
}

fn read(world: &mut World, user: &str, room: &str, at: Position, thread_id: &str, private: bool) {
    let event_id = id::event_id(at);
    let mut receipts = SetReceipts { room_id: room.into(), thread_id: thread_id.into(), ..SetReceipts::default() };
    if private {
        receipts.read_private = event_id;
    } else {
        receipts.read = event_id;
    }
    let envelope = world.by(user, command::Kind::SetReceipts(receipts));
    world.accepted(envelope);
}

#[test]
fn what_was_sent_before_the_join_and_by_oneself_is_read() {
    let (mut world, room, room_id) = room_of_two();
    assert_eq!(unread(&world, "bob", room), []);
    let one = world.say("alice", &room_id, "one");
    assert_eq!(unread(&world, "bob", room), [(one, None)]);
    world.say("bob", &room_id, "mine");
    assert_eq!(unread(&world, "bob", room), []);
    let two = world.say("alice", &room_id, "two");
    assert_eq!(unread(&world, "bob", room), [(two, None)]);
    assert!(world.view().member_reading("carol", room).unwrap().is_none());
}

#[test]
fn a_change_of_the_profile_reads_nothing() {
    let (mut world, room, room_id) = room_of_two();
    let one = world.say("alice", &room_id, "one");
    let name = SetProfile { display_name: Some("Robert".into()), ..SetProfile::default() };
    let name = world.by("bob", command::Kind::SetProfile(name));
    world.accepted(name);
    assert_eq!(world.view().member_name(room, "bob").unwrap(), "Robert", "there is a new member event");
    assert_eq!(unread(&world, "bob", room), [(one, None)]);
}

#[test]
fn receipts_with_and_without_threads_mark_what_they_name() {
    let (mut world, room, room_id) = room_of_two();
    let root = world.say("alice", &room_id, "root");
    let first = related(&mut world, "alice", &room_id, root, "m.thread");
    let main = world.say("alice", &room_id, "main");
    let second = related(&mut world, "alice", &room_id, root, "m.thread");
    let reply = related(&mut world, "alice", &room_id, second, "m.reference");
    let thread = Some(root);
    let all = [(root, None), (first, thread), (main, None), (second, thread), (reply, thread)];
    assert_eq!(unread(&world, "bob", room), all);
    read(&mut world, "bob", &room_id, root, MAIN_TIMELINE, false);
    assert_eq!(unread(&world, "bob", room), all[1..]);
    read(&mut world, "bob", &room_id, first, &id::event_id(root), true);
    assert_eq!(unread(&world, "bob", room), all[2..]);
    read(&mut world, "bob", &room_id, second, "", false);
    assert_eq!(unread(&world, "bob", room), all[4..]);
}

#[test]
fn whoever_writes_in_a_thread_has_read_that_thread_alone() {
    let (mut world, room, room_id) = room_of_two();
    let root = world.say("alice", &room_id, "root");
    related(&mut world, "alice", &room_id, root, "m.thread");
    related(&mut world, "bob", &room_id, root, "m.thread");
    assert_eq!(unread(&world, "bob", room), [(root, None)]);
}

#[test]
fn a_redacted_event_is_not_unread_and_a_walk_says_that_there_was_a_redaction() {
    let (mut world, room, room_id) = room_of_two();
    let gone = world.say("alice", &room_id, "gone");
    let kept = world.say("alice", &room_id, "kept");
    let redact = Redact { room_id: room_id.clone(), event_id: id::event_id(gone), ..Redact::default() };
    let envelope = world.by("alice", command::Kind::Redact(redact));
    let redaction = position(&world.accepted(envelope));
    assert_eq!(unread(&world, "bob", room), [(kept, None), (redaction, None)]);
    let view = world.view();
    let reading = view.member_reading("bob", room).unwrap().unwrap();
    let walk = view.walk_unread("bob", &reading, kept, 10, &mut |_| Ok(())).unwrap();
    assert!(walk.redacted && !walk.cut && walk.examined == 1);
    let walk = view.walk_unread("bob", &reading, Position::ZERO, 1, &mut |_| Ok(())).unwrap();
    assert!(walk.cut);
}

#[test]
fn a_walk_ends_when_nobody_waits_for_it() {
    let (mut world, room, room_id) = room_of_two();
    world.say("alice", &room_id, "one");
    let stop = std::sync::atomic::AtomicBool::new(true);
    let view = world.view().stopping(&stop);
    let reading = view.member_reading("bob", room).unwrap().unwrap();
    let walked = view.walk_unread("bob", &reading, Position::ZERO, 10, &mut |_| panic!("nobody waits"));
    assert!(matches!(walked, Err(QueryError::Stopped)));
}

#[test]
fn power_is_that_at_the_time_of_the_event() {
    let (mut world, room, room_id) = room_of_two();
    let before = world.say("bob", &room_id, "@room");
    let bob = id::user_id("bob", crate::testing::SERVER);
    let alice = id::user_id("alice", crate::testing::SERVER);
    let levels = format!(r#"{{"users":{{"{alice}":100,"{bob}":7}},"notifications":{{"room":7}}}}"#);
    let after = world.set("alice", &room_id, event_type::POWER_LEVELS, &levels);
    let view = world.view();
    let power = |at| view.notification_power(room, &bob, at).unwrap();
    assert_eq!(power(before), NotificationPower { sender: 0, needed: 50 });
    assert_eq!(power(after), NotificationPower { sender: 7, needed: 7 });
}
