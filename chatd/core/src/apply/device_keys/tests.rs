use super::*;
use crate::proto::log::Envelope;
use crate::proto::log::command::Kind;
use crate::testing::keys::device_keys;
use crate::testing::{World, world};

fn put(world: &mut World, user: &str, device_keys: Bytes) -> Envelope {
    world.by(user, Kind::PutDeviceKeys(log::PutDeviceKeys { device_keys, ..Default::default() }))
}

fn keys_of(world: &World, caller: &str, user: &str) -> Vec<String> {
    let keys = world.view().keys_of(caller, user, &[]).unwrap().unwrap();
    keys.devices.into_iter().map(|(_, keys)| String::from_utf8(keys.to_vec()).unwrap()).collect()
}

#[test]
fn keys_are_shown_with_all_that_was_uploaded_and_the_devices_name() {
    let mut world = world(&["alice", "bob"]);
    let envelope = put(&mut world, "alice", device_keys("alice", "D", "one"));
    world.accepted(envelope);
    let expected = concat!(
        r#"{"algorithms":["m.olm"],"device_id":"D","keys":{"ed25519:D":"one"},"#,
        r#""signatures":{"@alice:a.org":{"ed25519:D":"by itself"}},"unsigned":{},"#,
        r#""user_id":"@alice:a.org","x.unknown":[1]}"#
    );
    assert_eq!(keys_of(&world, "bob", "alice"), [expected]);
    assert!(keys_of(&world, "alice", "bob").is_empty());
    assert_eq!(world.view().keys_of("bob", "eve", &[]).unwrap(), None);
    let other = world.view().keys_of("bob", "alice", &["E".to_owned()]).unwrap().unwrap();
    assert!(other.devices.is_empty());
}

#[test]
fn keys_of_another_user_or_device_or_without_a_part_are_refused() {
    let mut world = world(&["alice", "bob"]);
    for (keys, reason) in [
        (device_keys("bob", "D", "one"), Reason::Invalid),
        (device_keys("alice", "E", "one"), Reason::Invalid),
        (Bytes::from_static(br#"{"user_id":"@alice:a.org","device_id":"D"}"#), Reason::BadJson),
        (Bytes::from_static(b"[]"), Reason::BadJson),
        (
            Bytes::from(format!(r#"{{"user_id":"@alice:a.org","x":"{}"}}"#, "x".repeat(MAX_OBJECT_BYTES))),
            Reason::TooLarge,
        ),
    ] {
        let envelope = put(&mut world, "alice", keys);
        assert_eq!(world.rejected(envelope), reason);
    }
}

#[test]
fn only_other_keys_are_a_change_and_it_is_told_in_the_users_rooms() {
    let mut world = world(&["alice", "bob"]);
    let (room, _) = world.public_room("alice");
    let told = |world: &mut World, key: &str| {
        let envelope = put(world, "alice", device_keys("alice", "D", key));
        world.apply(vec![envelope]).remove(0).touched.keys
    };
    let hints = told(&mut world, "one");
    assert_eq!(hints.len(), 1);
    assert_eq!((hints[0].localpart.as_str(), hints[0].rooms.as_deref()), ("alice", Some(&[room][..])));
    assert!(told(&mut world, "one").is_empty());
    assert_eq!(told(&mut world, "two").len(), 1);
    let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
    assert_eq!(world.apply(vec![close]).remove(0).touched.keys.len(), 1);
    assert!(keys_of(&world, "bob", "alice").is_empty());
}

#[test]
fn the_number_of_added_signatures_is_bounded_and_the_oldest_goes() {
    let mut all = Vec::new();
    for n in 0..MAX_ADDED_SIGNATURES + 3 {
        put_signature(&mut all, &format!("ed25519:{n}"), "x");
    }
    put_signature(&mut all, "ed25519:3", "y");
    assert_eq!((all.len(), all.last().unwrap().signature.as_str()), (MAX_ADDED_SIGNATURES, "y"));
}
