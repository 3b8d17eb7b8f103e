use super::*;
use crate::proto::log;
use crate::proto::log::command::Kind;
use crate::proto::log::set_membership::Change;
use crate::testing::keys::{device_keys, signing_key};
use crate::testing::{World, world};

/// A room of Alice and Bob, and Carol who is in none.
fn shared_room() -> (World, RoomNumber, String) {
    let mut world = world(&["alice", "bob", "carol"]);
    let (room, room_id) = world.public_room("alice");
    world.moved("bob", &room_id, Change::Join, "");
    (world, room, room_id)
}

fn put_keys(world: &mut World, user: &str, key: &str) {
    let put = log::PutDeviceKeys { device_keys: device_keys(user, "D", key), ..Default::default() };
    let put = world.by(user, Kind::PutDeviceKeys(put));
    world.accepted(put);
}

fn changes(world: &World, user: &str, since: Position) -> DeviceListChanges {
    let changes = world.view().device_list_changes(user, since).unwrap();
    let request =
        SyncRequest { localpart: user, since: Some(since), full_state: false, filter: &SyncFilter::default() };
    assert_eq!(world.view().sync(&request).unwrap().device_lists, changes, "a sync tells the same");
    changes
}

/// Returns the localparts of changed and left users.
fn told(world: &World, user: &str, since: Position) -> (Vec<String>, Vec<String>) {
    let names = |users: Vec<String>| users.iter().map(|user| user[1..].replace(":a.org", "")).collect();
    let DeviceListChanges { changed, left } = changes(world, user, since);
    (names(changed), names(left))
}

fn users(changed: &[&str], left: &[&str]) -> (Vec<String>, Vec<String>) {
    [changed, left].map(|users| users.iter().map(|user| (*user).to_owned()).collect()).into()
}

#[test]
fn changed_keys_are_told_to_those_who_share_a_room_and_to_the_user() {
    let (mut world, _, _) = shared_room();
    let since = world.view().now();
    put_keys(&mut world, "bob", "one");
    for (user, expected) in [("alice", users(&["bob"], &[])), ("bob", users(&["bob"], &[])), ("carol", users(&[], &[]))]
    {
        assert_eq!(told(&world, user, since), expected, "{user}");
    }
    let since = world.view().now();
    put_keys(&mut world, "bob", "one");
    assert!(changes(&world, "alice", since).is_empty(), "the same keys");
    put_keys(&mut world, "bob", "two");
    put_keys(&mut world, "bob", "three");
    assert_eq!(told(&world, "alice", since), users(&["bob"], &[]));
    let close = world.by("bob", Kind::CloseSession(log::CloseSession::default()));
    let since = world.view().now();
    world.accepted(close);
    assert_eq!(told(&world, "alice", since), users(&["bob"], &[]), "the device is gone");
}

#[test]
fn who_comes_is_changed_for_those_who_were_there_and_they_for_the_one_who_came() {
    let (mut world, _, room_id) = shared_room();
    let since = world.view().now();
    world.moved("carol", &room_id, Change::Join, "");
    assert_eq!(told(&world, "alice", since), users(&["carol"], &[]));
    assert_eq!(told(&world, "carol", since), users(&["alice", "bob"], &[]));
    let since = world.view().now();
    let name = log::SetProfile { display_name: Some("Carol".into()), in_parts: true, ..Default::default() };
    let name = world.by("carol", Kind::SetProfile(name));
    world.accepted(name);
    assert!(changes(&world, "alice", since).is_empty(), "a new name is no new member");
    world.moved("alice", &room_id, Change::Kick, "carol");
    world.moved("carol", &room_id, Change::Join, "");
    assert_eq!(told(&world, "alice", since), users(&["carol"], &[]), "who knows what happened meanwhile");
}

#[test]
fn who_leaves_the_last_shared_room_is_left_on_both_sides() {
    let (mut world, _, room_id) = shared_room();
    let (_, other) = world.public_room("alice");
    world.moved("bob", &other, Change::Join, "");
    let since = world.view().now();
    world.moved("bob", &other, Change::Leave, "");
    assert!(changes(&world, "alice", since).is_empty(), "there is another room");
    let since = world.view().now();
    world.moved("bob", &room_id, Change::Leave, "");
    put_keys(&mut world, "bob", "one");
    assert_eq!(told(&world, "alice", since), users(&[], &["bob"]));
    assert_eq!(told(&world, "bob", since), users(&["bob"], &["alice"]));
    let since = world.view().now();
    put_keys(&mut world, "bob", "two");
    assert!(changes(&world, "alice", since).is_empty());
}

#[test]
fn one_who_has_left_is_not_told_who_came_later() {
    let (mut world, _, room_id) = shared_room();
    let since = world.view().now();
    world.moved("bob", &room_id, Change::Leave, "");
    world.moved("carol", &room_id, Change::Join, "");
    assert_eq!(told(&world, "bob", since), users(&[], &["alice"]));
    world.moved("alice", &room_id, Change::Leave, "");
    assert_eq!(told(&world, "bob", since), users(&[], &["alice"]), "who was there when Bob left");
}

#[test]
fn an_invitation_that_is_declined_is_no_leave() {
    let (mut world, _, room_id) = shared_room();
    world.moved("alice", &room_id, Change::Invite, "carol");
    let since = world.view().now();
    world.moved("carol", &room_id, Change::Leave, "");
    assert!(changes(&world, "alice", since).is_empty());
}

#[test]
fn a_signature_under_anothers_key_is_told_to_the_signer_alone() {
    let (mut world, _, _) = shared_room();
    let put = log::PutSigningKeys { master: signing_key("bob", "master", "m"), ..Default::default() };
    let put = world.by("bob", Kind::PutSigningKeys(put));
    world.accepted(put);
    let since = world.view().now();
    let seen = world.view().cross_signing_key("bob", crate::query::SigningUsage::Master).unwrap().unwrap().position;
    for signature in ["one", "two"] {
        let input = log::SignatureInput {
            localpart: "bob".into(),
            target: "m".into(),
            seen: table::position_field(seen),
            key_id: "ed25519:u".into(),
            signature: signature.into(),
        };
        let put = world.by("alice", Kind::PutSignatures(log::PutSignatures { signatures: vec![input] }));
        world.accepted(put);
    }
    assert_eq!(told(&world, "alice", since), users(&["bob"], &[]));
    assert!(changes(&world, "bob", since).is_empty());
}

#[test]
fn a_first_sync_tells_nothing() {
    let (mut world, _, _) = shared_room();
    put_keys(&mut world, "bob", "one");
    let request = SyncRequest { localpart: "alice", since: None, full_state: false, filter: &SyncFilter::default() };
    assert!(world.view().sync(&request).unwrap().device_lists.is_empty());
}

#[test]
fn those_who_follow_a_room_are_told_alike_by_its_moves() {
    let (mut world, room, room_id) = shared_room();
    let (elsewhere, other) = world.public_room("carol");
    world.moved("bob", &other, Change::Join, "");
    let since = world.view().now();
    world.moved("carol", &room_id, Change::Join, "");
    world.moved("bob", &room_id, Change::Leave, "");
    let moves = world.view().member_moves(room, since).unwrap();
    let bob = MemberMove { user_id: "@bob:a.org".into(), stays_in: Some(BTreeSet::from([elsewhere])) };
    let carol = MemberMove { user_id: "@carol:a.org".into(), stays_in: None };
    assert_eq!(moves, [bob, carol]);
}
