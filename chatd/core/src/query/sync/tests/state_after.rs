//! Checks what a client is told that takes no state from timelines, but only the state after them.

use super::*;

fn after() -> SyncFilter {
    SyncFilter { state_after: true, ..SyncFilter::default() }
}

fn limited(limit: usize) -> EventFilter {
    EventFilter { limit: Some(limit), ..EventFilter::default() }
}

fn positions(events: &[RoomEvent]) -> Vec<Position> {
    let mut positions: Vec<_> = events.iter().map(|event| event.position).collect();
    positions.sort_unstable();
    positions
}

fn state_of(world: &World, room: RoomNumber) -> Vec<Position> {
    positions(&world.view().state(room, None).unwrap())
}

fn members(events: &[RoomEvent]) -> Vec<&str> {
    let members = events.iter().filter(|event| event.event_type == "m.room.member");
    let mut members: Vec<_> = members.filter_map(|event| event.state_key.as_deref()).collect();
    members.sort_unstable();
    members
}

#[test]
fn all_state_is_told_however_much_of_it_the_timeline_has() {
    let mut world = world(&["alice"]);
    let (room, id) = world.public_room("alice");
    world.set("alice", &id, "m.room.topic", r#"{"topic":"one"}"#);
    world.set("alice", &id, "m.room.topic", r#"{"topic":"two"}"#);
    for limit in [0, 2, 100] {
        let filter = SyncFilter { timeline: limited(limit), ..after() };
        let first = SyncRequest { localpart: "alice", since: None, full_state: false, filter: &filter };
        let full = SyncRequest { since: Some(world.view().now()), full_state: true, ..first };
        for request in [first, full] {
            let told = world.view().sync(&request).unwrap().join.remove(0);
            assert_eq!(positions(&told.state), state_of(&world, room), "{request:?}");
        }
    }
}

#[test]
fn a_change_of_state_is_told_in_both_places_and_only_its_newest_version_as_state() {
    let mut world = world(&["alice"]);
    let (_, id) = world.public_room("alice");
    let since = world.view().now();
    let one = world.set("alice", &id, "m.room.topic", r#"{"topic":"one"}"#);
    let two = world.set("alice", &id, "m.room.topic", r#"{"topic":"two"}"#);
    let said = world.say("alice", &id, "x");
    let next = sync(&world, "alice", Some(since), &after()).join.remove(0);
    assert_eq!((positions(&next.state), positions(&next.timeline.events)), (vec![two], vec![one, two, said]));
    let before = sync(&world, "alice", Some(since), &SyncFilter::default()).join.remove(0);
    assert!(before.state.is_empty() && before.timeline == next.timeline);
    // A gap, and what is after it.
    let name = world.set("alice", &id, "m.room.name", r#"{"name":"n"}"#);
    let filter = SyncFilter { timeline: limited(1), ..after() };
    let gap = sync(&world, "alice", Some(since), &filter).join.remove(0);
    assert_eq!((positions(&gap.state), positions(&gap.timeline.events)), (vec![two, name], vec![name]));
    assert!(gap.timeline.limited);
}

#[test]
fn a_version_that_a_filter_takes_out_of_the_timeline_does_not_hide_a_newer_one() {
    let mut world = world(&["alice", "bob"]);
    let (_, id) = world.public_room("alice");
    world.moved("bob", &id, Change::Join, "");
    world.set("alice", &id, "m.room.power_levels", r#"{"users":{"@alice:a.org":100},"users_default":50}"#);
    let since = world.view().now();
    world.set("alice", &id, "m.room.topic", r#"{"topic":"of alice"}"#);
    let newer = world.set("bob", &id, "m.room.topic", r#"{"topic":"of bob"}"#);
    let timeline = EventFilter { not_senders: vec!["@alice:a.org".into()], ..EventFilter::default() };
    let next = sync(&world, "alice", Some(since), &SyncFilter { timeline, ..after() }).join.remove(0);
    assert_eq!((positions(&next.timeline.events), positions(&next.state)), (vec![newer], vec![newer]));
    let timeline = EventFilter { not_senders: vec!["@bob:a.org".into()], ..EventFilter::default() };
    let next = sync(&world, "alice", Some(since), &SyncFilter { timeline, ..after() }).join.remove(0);
    assert_eq!((next.timeline.events.len(), positions(&next.state)), (1, vec![newer]));
}

#[test]
fn members_are_loaded_when_they_speak_or_their_memberships_are_in_the_timeline() {
    let mut world = world(&["alice", "bob", "carol", "dave"]);
    let (_, id) = world.public_room("alice");
    world.moved("dave", &id, Change::Join, "");
    world.set("alice", &id, "m.room.name", r#"{"name":"no heroes"}"#);
    for n in 0..9 {
        world.say("alice", &id, &n.to_string());
    }
    world.moved("bob", &id, Change::Join, "");
    world.moved("alice", &id, Change::Invite, "carol");
    let filter = SyncFilter { lazy_load_members: true, timeline: limited(5), ..after() };
    let first = sync(&world, "alice", None, &filter).join.remove(0);
    assert_eq!(members(&first.state), ["@alice:a.org", "@bob:a.org", "@carol:a.org"]);
    let since = world.view().now();
    let left = world.moved("bob", &id, Change::Leave, "");
    world.say("dave", &id, "y");
    let next = sync(&world, "alice", Some(since), &filter).join.remove(0);
    assert_eq!(members(&next.state), ["@bob:a.org", "@dave:a.org"]);
    assert!(next.state.iter().any(|event| event.position == left));
}

#[test]
fn a_withdrawn_invitation_is_told_as_state_unless_the_filter_wants_none() {
    let mut world = world(&["alice", "bob"]);
    let (_, id) = world.create("alice", log::CreateRoom::default());
    world.moved("alice", &id, Change::Invite, "bob");
    let since = world.view().now();
    let withdrawn = world.moved("alice", &id, Change::Kick, "bob");
    let left = sync(&world, "bob", Some(since), &after()).leave.remove(0);
    assert_eq!((positions(&left.state), positions(&left.timeline.events)), (vec![withdrawn], vec![withdrawn]));
    let nothing = EventFilter { types: Some(Vec::new()), ..EventFilter::default() };
    let left = sync(&world, "bob", Some(since), &SyncFilter { state: nothing, ..after() }).leave.remove(0);
    assert!(left.state.is_empty());
}

#[test]
fn what_a_former_member_is_now_is_told_as_state_whatever_a_filter_takes_out() {
    let mut world = world(&["alice", "bob"]);
    let (_, id) = world.public_room("alice");
    world.moved("bob", &id, Change::Join, "");
    world.moved("bob", &id, Change::Leave, "");
    let since = world.view().now();
    world.moved("alice", &id, Change::Invite, "bob");
    let declined = world.moved("bob", &id, Change::Leave, "");
    let timeline = EventFilter { not_senders: vec!["@alice:a.org".into()], ..EventFilter::default() };
    let left = sync(&world, "bob", Some(since), &SyncFilter { timeline, ..after() }).leave.remove(0);
    assert_eq!((positions(&left.state), positions(&left.timeline.events)), (vec![declined], vec![declined]));
}
