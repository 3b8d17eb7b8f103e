use super::*;
use crate::proto::log::Envelope;
use crate::proto::log::administer::Action;
use crate::proto::log::command::Kind as Command;
use crate::testing::{World, command, world};

fn act(action: Action) -> Envelope {
    let act = log::Administer { configured: false, action: Some(action) };
    Envelope { command: command(Command::Administer(act)), ..Envelope::default() }
}

fn block(room_id: &str, blocked: bool) -> Envelope {
    act(Action::BlockRoom(log::BlockRoom { room_id: room_id.into(), blocked }))
}

fn delete(room_id: &str) -> Envelope {
    act(Action::DeleteRoom(log::DeleteRoom { room_id: room_id.into(), reason: "spam".into() }))
}

fn cleared(world: &mut World, room_id: &str) -> log::RoomCleared {
    match world.accepted(delete(room_id)).kind {
        Some(outcome::Kind::RoomCleared(cleared)) => cleared,
        other => panic!("{other:?}"),
    }
}

fn membership(world: &World, user: &str, room: RoomNumber) -> Kind {
    let rooms = world.view().rooms_of(user).unwrap();
    rooms.into_iter().find(|entry| entry.room == room).map_or(Kind::Unspecified, |entry| entry.kind)
}

#[test]
fn nobody_enters_a_blocked_room_until_it_is_unblocked_and_those_inside_go_on() {
    let mut world = world(&["alice", "bob"]);
    let (_, room) = world.public_room("alice");
    world.accepted(block(&room, true));
    world.accepted(block(&room, true));
    let join = world.membership("bob", &room, Change::Join, "");
    assert_eq!(world.rejected(join), Reason::Forbidden);
    let invite = world.membership("alice", &room, Change::Invite, "bob");
    assert_eq!(world.rejected(invite), Reason::Forbidden);
    world.say("alice", &room, "still here");
    let upgrade = log::UpgradeRoom { room_id: room.clone(), new_version: "12".into(), ..Default::default() };
    let upgrade = world.by("alice", Command::UpgradeRoom(upgrade));
    assert_eq!(world.rejected(upgrade), Reason::Forbidden, "nobody enters a room in its place");
    world.accepted(block(&room, false));
    world.accepted(block(&room, false));
    world.moved("bob", &room, Change::Join, "");
    let missing = block("!none:a.org", true);
    assert_eq!(world.rejected(missing), Reason::RoomNotFound);
}

#[test]
fn a_deleted_room_loses_its_names_its_members_and_what_was_said_in_parts() {
    let names: Vec<String> = (0..PART_MEMBERS + 3).map(|n| format!("user{n:03}")).collect();
    let all: Vec<&str> = ["alice", "zoe"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut world = world(&all);
    let create = log::CreateRoom {
        preset: log::create_room::Preset::Public.into(),
        alias: "den".into(),
        listed: true,
        ..log::CreateRoom::default()
    };
    let (room, room_id) = world.create("alice", create);
    let (other, other_id) = world.public_room("alice");
    for name in &names {
        world.moved(name, &room_id, Change::Join, "");
    }
    world.moved("alice", &room_id, Change::Invite, "zoe");
    let said = world.say("alice", &room_id, "hidden");
    let kept = world.say("alice", &other_id, "kept");

    let first = cleared(&mut world, &room_id);
    assert_eq!(first, log::RoomCleared { members: PART_MEMBERS as u64, events: 0, more: true });
    assert_eq!(world.view().unfinished_clearings(8).unwrap(), [room_id.as_str()]);
    assert!(world.view().resolve_room("#den:a.org").is_err());
    assert_eq!(world.view().directory_size().unwrap(), 0);
    let join = world.membership("alice", &room_id, Change::Join, "");
    assert_eq!(world.rejected(join), Reason::Forbidden);
    let inside = names.last().unwrap();
    let named = log::SetAlias { alias: "den".into(), room_id: room_id.clone() };
    let named = world.by(inside, Command::SetAlias(named));
    assert_eq!(world.rejected(named), Reason::Forbidden, "the name does not lead there again");
    let listed = log::SetListed { room_id: room_id.clone(), listed: true };
    let listed = world.by(inside, Command::SetListed(listed));
    assert_eq!(world.rejected(listed), Reason::Forbidden);
    let second = cleared(&mut world, &room_id);
    assert_eq!((second.members, second.more), (5, true));
    assert_eq!(membership(&world, "zoe", room), Kind::Leave);
    assert_eq!(world.view().summary(room).unwrap().joined_members, 0);
    let third = cleared(&mut world, &room_id);
    assert_eq!((third.members, third.more), (0, false));
    assert!(third.events >= 1);
    assert!(world.view().unfinished_clearings(8).unwrap().is_empty());
    assert_eq!(cleared(&mut world, &room_id), log::RoomCleared::default());

    let view = world.view();
    assert!(view.event("alice", &crate::id::event_id(said)).is_err());
    assert!(view.event("alice", &crate::id::event_id(kept)).is_ok());
    assert_eq!(membership(&world, "alice", other), Kind::Join);
    let unblock = block(&room_id, false);
    assert_eq!(world.rejected(unblock), Reason::Forbidden);
}

#[test]
fn a_deleted_room_that_anyone_could_read_is_shown_to_nobody_who_was_not_in_it() {
    let mut world = world(&["alice", "bob", "carol"]);
    let (room, room_id) = world.public_room("alice");
    world.moved("bob", &room_id, Change::Join, "");
    world.set("alice", &room_id, "m.room.history_visibility", r#"{"history_visibility":"world_readable"}"#);
    let shown = |world: &World, user: &str| world.view().state_place(user, room).is_ok();
    assert!(shown(&world, "carol") && world.view().room_preview(Some("carol"), room).is_ok());
    while cleared(&mut world, &room_id).more {}
    assert!(shown(&world, "bob") && !shown(&world, "carol"));
    for user in [Some("bob"), Some("carol"), None] {
        assert!(world.view().room_preview(user, room).is_err(), "{user:?}");
    }
}

#[test]
fn a_page_of_rooms_is_small_enough_for_a_message() {
    let mut world = world(&["alice"]);
    let create = log::CreateRoom { name: "n".repeat(60_000), ..log::CreateRoom::default() };
    for _ in 0..20 {
        world.create("alice", create.clone());
    }
    let first = world.view().list_rooms("", None, 100).unwrap();
    let rest = world.view().list_rooms("", first.next, 100).unwrap();
    assert!(!rest.rooms.is_empty());
    assert_eq!((first.rooms.len() + rest.rooms.len(), rest.next), (20, None));
}

#[test]
fn rooms_are_listed_with_what_became_of_them() {
    let mut world = world(&["alice"]);
    let named = |name: &str| log::CreateRoom { name: name.into(), ..log::CreateRoom::default() };
    let (first, _) = world.create("alice", named("Fireside"));
    let (_, second) = world.create("alice", named("Fire drill"));
    let (_, third) = world.create("alice", named("Garden"));
    world.accepted(block(&second, true));
    cleared(&mut world, &third);
    let page = world.view().list_rooms("fire", None, 1).unwrap();
    let names: Vec<_> = page.rooms.iter().map(|room| room.summary.name.as_str()).collect();
    assert_eq!((names, page.next), (vec!["Fireside"], Some(first)));
    let rest = world.view().list_rooms("", Some(first), 10).unwrap();
    let standing: Vec<_> =
        rest.rooms.iter().map(|room| (room.summary.room_id.as_str(), room.blocked, room.deleted)).collect();
    assert_eq!(standing, [(second.as_str(), true, false), (third.as_str(), true, true)]);
    assert_eq!(rest.next, None);
    assert_eq!(world.view().find_room(&second).unwrap().unwrap().creator, "alice");
    assert!(world.view().find_room("!none:a.org").unwrap().is_none());
}
