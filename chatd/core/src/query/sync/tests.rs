//! Cases that a client would notice. `chatd/sim` checks for any sequence of commands that nothing is lost or
//! duplicated.

use super::*;
use crate::id;
use crate::proto::log;
use crate::proto::log::set_membership::Change;
use crate::query::EventFilter;
use crate::testing::{SERVER, World, world};

mod left;
mod state_after;

fn sync(world: &World, user: &str, since: Option<Position>, filter: &SyncFilter) -> SyncResponse {
    world.view().sync(&SyncRequest { localpart: user, since, full_state: false, filter }).unwrap()
}

fn types(events: &[RoomEvent]) -> Vec<&str> {
    events.iter().map(|event| event.event_type.as_str()).collect()
}

#[test]
fn an_invited_user_is_shown_the_room_stripped_and_who_invites() {
    let mut world = world(&["alice", "bob"]);
    let create = log::CreateRoom {
        name: "Ops".into(),
        invite: vec![id::user_id("bob", SERVER)],
        is_direct: true,
        ..Default::default()
    };
    let (_, room) = world.create("alice", create);
    let first = sync(&world, "bob", None, &SyncFilter::default());
    let invited = &first.invite[0];
    assert_eq!(invited.room_id, room);
    let expected = ["create", "join_rules", "name", "member", "member"].map(|name| format!("m.room.{name}"));
    assert_eq!(types(&invited.stripped_state), expected);
    assert_eq!(invited.stripped_state.last().unwrap().content, r#"{"is_direct":true,"membership":"invite"}"#);
    world.say("alice", &room, "not for bob");
    assert!(sync(&world, "bob", Some(first.next), &SyncFilter::default()).is_empty());
}

#[test]
fn an_invitation_declined_or_taken_back_is_told_without_the_room() {
    let mut world = world(&["alice", "bob"]);
    let (_, room) = world.create("alice", log::CreateRoom::default());
    for (user, change) in [("bob", Change::Leave), ("alice", Change::Kick)] {
        world.moved("alice", &room, Change::Invite, "bob");
        let since = sync(&world, "bob", None, &SyncFilter::default()).next;
        world.moved(user, &room, change, "bob");
        let left = sync(&world, "bob", Some(since), &SyncFilter::default()).leave.remove(0);
        assert_eq!((types(&left.timeline.events), left.state.len()), (vec!["m.room.member"], 0));
    }
    let asked = SyncFilter { include_leave: true, ..SyncFilter::default() };
    assert_eq!(sync(&world, "bob", None, &asked).leave.len(), 1);
    assert!(sync(&world, "bob", None, &SyncFilter::default()).is_empty());
}

#[test]
fn a_full_timeline_is_limited_and_its_gap_is_paged() {
    let mut world = world(&["alice"]);
    let (room, id) = world.public_room("alice");
    let since = sync(&world, "alice", None, &SyncFilter::default()).next;
    let said: Vec<_> = (0..12).map(|n| world.say("alice", &id, &n.to_string())).collect();
    let joined = sync(&world, "alice", Some(since), &SyncFilter::default()).join.remove(0);
    let shown: Vec<_> = joined.timeline.events.iter().map(|event| event.position).collect();
    assert_eq!((shown.as_slice(), joined.timeline.limited), (&said[2..], true));
    let direction = crate::table::ScanDirection::Backward;
    let page = world.view().timeline("alice", room, joined.timeline.prev_batch, direction, 2).unwrap();
    assert_eq!(page.events.iter().map(|event| event.position).collect::<Vec<_>>(), [said[1], said[0]]);
}

#[test]
fn state_that_a_filter_takes_out_of_the_timeline_is_told_as_state() {
    let mut world = world(&["alice"]);
    let (_, id) = world.public_room("alice");
    let mut filter = SyncFilter::default();
    filter.timeline.types = Some(vec!["m.room.message".into()]);
    let first = sync(&world, "alice", None, &filter);
    assert!(first.join[0].timeline.events.is_empty() && first.join[0].state.len() >= 6);
    world.say("alice", &id, "x");
    world.set("alice", &id, "m.room.name", r#"{"name":"n"}"#);
    let next = sync(&world, "alice", Some(first.next), &filter).join.remove(0);
    assert_eq!((types(&next.timeline.events), types(&next.state)), (vec!["m.room.message"], vec!["m.room.name"]));
}

#[test]
fn members_are_loaded_when_they_speak() {
    let mut world = world(&["alice", "bob", "carol"]);
    let (_, id) = world.public_room("alice");
    for user in ["bob", "carol"] {
        world.moved(user, &id, Change::Join, "");
    }
    world.say("bob", &id, "x");
    let filter = SyncFilter {
        lazy_load_members: true,
        timeline: EventFilter { limit: Some(1), ..Default::default() },
        ..SyncFilter::default()
    };
    let first = sync(&world, "alice", None, &filter).join.remove(0);
    let summary = first.summary.unwrap();
    assert_eq!((summary.heroes, summary.joined_members), (vec!["@bob:a.org".into(), "@carol:a.org".into()], 3));
    let since = world.view().now();
    world.say("carol", &id, "y");
    let next = sync(&world, "alice", Some(since), &filter).join.remove(0);
    let members: Vec<_> = next.state.iter().filter_map(|event| event.state_key.as_deref()).collect();
    assert_eq!((members, next.summary), (vec!["@carol:a.org"], None));
}

#[test]
fn a_room_with_a_name_has_no_heroes() {
    let mut world = world(&["alice", "bob"]);
    let (_, id) = world.public_room("alice");
    world.moved("bob", &id, Change::Join, "");
    for (name, expected) in [("n", vec![]), ("", vec!["@bob:a.org".to_owned()])] {
        let since = world.view().now();
        world.set("alice", &id, "m.room.name", &format!(r#"{{"name":"{name}"}}"#));
        let joined = sync(&world, "alice", Some(since), &SyncFilter::default()).join.remove(0);
        assert_eq!(joined.summary.unwrap().heroes, expected, "name {name:?}");
    }
}

#[test]
fn rooms_that_a_filter_leaves_out_are_left_out() {
    let mut world = world(&["alice"]);
    let (one, id) = world.public_room("alice");
    world.public_room("alice");
    let filter = SyncFilter { rooms: Some(vec![id]), ..SyncFilter::default() };
    let rooms: Vec<_> = sync(&world, "alice", None, &filter).join.iter().map(|room| room.room).collect();
    assert_eq!(rooms, [one]);
}

#[test]
fn a_token_ahead_of_the_view_is_refused() {
    let world = world(&["alice"]);
    let ahead = Position { index: world.index + 1, ..Position::ZERO };
    let request =
        SyncRequest { localpart: "alice", since: Some(ahead), full_state: false, filter: &SyncFilter::default() };
    assert!(matches!(world.view().sync(&request), Err(QueryError::Ahead)));
}
