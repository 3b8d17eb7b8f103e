use super::*;
use crate::id;
use crate::proto::log::Envelope;
use crate::proto::log::command::Kind;
use crate::testing::keys::{device_keys, key_input};
use crate::testing::{SERVER, World, command as command_of, session, world};
use bytes::Bytes;

fn put(world: &mut World, device_id: &str, data: &str) -> Envelope {
    let put = log::PutDehydratedDevice {
        device_id: device_id.into(),
        display_name: "asleep".into(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        device_keys: device_keys("alice", device_id, device_id),
        one_time_keys: vec![key_input("1", device_id)],
        fallback_keys: vec![key_input("f", device_id)],
    };
    world.by("alice", Kind::PutDehydratedDevice(put))
}

fn delete(world: &mut World, user: &str) -> Envelope {
    world.by(user, Kind::DeleteDehydratedDevice(log::DeleteDehydratedDevice {}))
}

fn send(world: &mut World, device_id: &str) {
    let user = id::user_id("alice", SERVER);
    let message = log::DeviceMessage { user, device_id: device_id.into(), content: Bytes::from_static(b"{}") };
    let send = log::SendToDevice { r#type: "t".into(), messages: vec![message], ..log::SendToDevice::default() };
    let envelope = world.by("bob", Kind::SendToDevice(send));
    world.accepted(envelope);
}

fn waiting(world: &World, device_id: &str) -> Option<usize> {
    let page = world.view().dehydrated_messages("alice", device_id, None, 100).unwrap();
    page.map(|page| page.messages.len())
}

fn dehydrated(world: &World, user: &str) -> Option<(String, Bytes)> {
    world.view().dehydrated_device(user).unwrap().map(|device| (device.device_id, device.data))
}

fn device_ids(world: &World) -> Vec<String> {
    world.view().devices("alice").unwrap().into_iter().map(|device| device.device_id).collect()
}

fn open(device_id: &str, continues_device: bool, max_devices: u32) -> Envelope {
    let new = log::NewSession { continues_device, max_devices, ..session("alice", device_id, 0) };
    let open = log::OpenSession {
        localpart: "alice".into(),
        session: Some(new),
        password_version: 1,
        ..log::OpenSession::default()
    };
    Envelope { command: command_of(Kind::OpenSession(open)), ..Envelope::default() }
}

#[test]
fn messages_wait_for_a_dehydrated_device_until_another_one_replaces_it() {
    let mut world = world(&["alice", "bob"]);
    let first = put(&mut world, "ONE", r#"{"pickle":1}"#);
    world.accepted(first.clone());
    assert!(world.accepted(first).duplicate);
    assert_eq!(dehydrated(&world, "alice"), Some(("ONE".into(), Bytes::from_static(br#"{"pickle":1}"#))));
    assert_eq!(dehydrated(&world, "bob"), None);
    send(&mut world, "ONE");
    send(&mut world, "*");
    assert_eq!(waiting(&world, "ONE"), Some(2));
    assert_eq!(waiting(&world, "D"), None, "a device with a session reads its own");
    let page = |after| world.view().dehydrated_messages("alice", "ONE", after, 1).unwrap().unwrap();
    let one = page(None);
    let two = page(Some(one.next));
    assert_eq!((one.messages.len(), one.has_more), (1, true));
    assert_eq!((two.messages.len(), two.has_more, two.next), (1, false, world.view().now()));
    assert_eq!(page(Some(two.next)).messages, []);
    let stock = world.view().device_stock("alice", "ONE").unwrap().unwrap();
    assert_eq!(stock.one_time_keys, [("signed_curve25519".to_owned(), 1)]);

    let second = put(&mut world, "TWO", "{}");
    let applied = world.apply(vec![second]).remove(0);
    assert_eq!(applied.touched.keys.len(), 1, "those who share a room are told");
    assert_eq!((waiting(&world, "ONE"), waiting(&world, "TWO")), (None, Some(0)));
    assert_eq!(device_ids(&world), ["D", "TWO"]);
    assert!(world.view().identity_keys("alice", "ONE").unwrap().is_none());
    assert!(world.view().identity_keys("alice", "TWO").unwrap().is_some());
}

/// Returns a command for a device with other keys than [`put`] gives it.
fn put_with_keys(world: &mut World, device_id: &str, keys: &str) -> Envelope {
    let put = log::PutDehydratedDevice {
        device_id: device_id.into(),
        data: Bytes::from_static(b"{}"),
        device_keys: device_keys("alice", device_id, keys),
        one_time_keys: vec![key_input("1", keys)],
        ..log::PutDehydratedDevice::default()
    };
    world.by("alice", Kind::PutDehydratedDevice(put))
}

#[test]
fn a_device_that_is_left_again_with_the_same_keys_keeps_its_messages_and_one_with_others_does_not() {
    let mut world = world(&["alice", "bob"]);
    let first = put(&mut world, "ONE", r#"{"pickle":1}"#);
    world.accepted(first);
    send(&mut world, "ONE");
    let again = put(&mut world, "ONE", r#"{"pickle":2}"#);
    let applied = world.apply(vec![again]).remove(0);
    assert!(applied.touched.keys.is_empty(), "its keys have not changed");
    assert_eq!(dehydrated(&world, "alice"), Some(("ONE".into(), Bytes::from_static(br#"{"pickle":2}"#))));
    assert_eq!(waiting(&world, "ONE"), Some(1));
    let stock = world.view().device_stock("alice", "ONE").unwrap().unwrap();
    assert_eq!(stock.one_time_keys, [("signed_curve25519".to_owned(), 1)]);
    send(&mut world, "ONE");
    assert_eq!(waiting(&world, "ONE"), Some(2));

    let other = put_with_keys(&mut world, "ONE", "other");
    world.accepted(other);
    assert_eq!(waiting(&world, "ONE"), Some(0), "it is another device, which cannot read them");
}

#[test]
fn a_dehydrated_device_is_deleted_once_and_goes_with_the_other_devices() {
    let mut world = world(&["alice", "bob"]);
    let none = delete(&mut world, "alice");
    assert_eq!(world.rejected(none), Reason::DeviceNotFound);
    let one = put(&mut world, "ONE", "{}");
    world.accepted(one);
    let others = delete(&mut world, "bob");
    assert_eq!(world.rejected(others), Reason::DeviceNotFound);
    let removal = delete(&mut world, "alice");
    let deleted = log::DehydratedDeviceDeleted { device_id: "ONE".into() };
    let deleted = Some(outcome::Kind::DehydratedDeviceDeleted(deleted));
    assert_eq!(world.accepted(removal.clone()).kind, deleted);
    assert_eq!(world.accepted(removal).kind, deleted, "a repetition gets the same answer");
    assert_eq!(device_ids(&world), ["D"]);

    let two = put(&mut world, "TWO", "{}");
    world.accepted(two);
    let named = world.by("alice", Kind::RemoveDevices(log::RemoveDevices { device_ids: vec!["TWO".into()] }));
    world.accepted(named);
    assert_eq!(dehydrated(&world, "alice"), None);
    let three = put(&mut world, "THREE", "{}");
    world.accepted(three);
    let close = log::CloseSession { all_devices: true, ..log::CloseSession::default() };
    let close = world.by("alice", Kind::CloseSession(close));
    world.accepted(close);
    assert_eq!((dehydrated(&world, "alice"), device_ids(&world)), (None, Vec::new()));
}

#[test]
fn what_a_session_of_its_id_still_sends_is_refused() {
    let mut world = world(&["alice", "bob"]);
    world.accepted(open("E", false, 0));
    let mut late = world.by("alice", Kind::CreateRoom(log::CreateRoom::default()));
    late.device_id = "E".into();
    let ended = world.by("alice", Kind::RemoveDevices(log::RemoveDevices { device_ids: vec!["E".into()] }));
    world.accepted(ended);
    let asleep = put(&mut world, "E", "{}");
    world.accepted(asleep);
    assert_eq!(world.rejected(late), Reason::SessionEnded);
    assert_eq!(world.view().devices("alice").unwrap().iter().filter(|device| !device.has_session).count(), 1);
}

#[test]
fn what_is_no_dehydrated_device_is_refused_and_the_one_before_stays() {
    let mut world = world(&["alice", "bob"]);
    let one = put(&mut world, "ONE", "{}");
    world.accepted(one);
    let logged_in = put(&mut world, "D", "{}");
    assert_eq!(world.rejected(logged_in), Reason::Invalid);
    let no_object = put(&mut world, "TWO", "[]");
    assert_eq!(world.rejected(no_object), Reason::BadJson);
    let large = put(&mut world, "TWO", &format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_DATA_BYTES)));
    assert_eq!(world.rejected(large), Reason::TooLarge);
    let nameless = put(&mut world, "", "{}");
    assert_eq!(world.rejected(nameless), Reason::Invalid);
    let of_another = log::PutDehydratedDevice {
        device_id: "TWO".into(),
        data: Bytes::from_static(b"{}"),
        device_keys: device_keys("alice", "ONE", "ONE"),
        ..log::PutDehydratedDevice::default()
    };
    let without_keys = log::PutDehydratedDevice { device_keys: Bytes::new(), ..of_another.clone() };
    let of_another = world.by("alice", Kind::PutDehydratedDevice(of_another));
    assert_eq!(world.rejected(of_another), Reason::Invalid);
    let without_keys = world.by("alice", Kind::PutDehydratedDevice(without_keys));
    assert_eq!(world.rejected(without_keys), Reason::BadJson);
    assert_eq!(dehydrated(&world, "alice").map(|(device_id, _)| device_id).as_deref(), Some("ONE"));
}

#[test]
fn a_login_with_its_id_replaces_it_and_logins_beyond_the_limit_do_not_remove_it() {
    let mut world = world(&["alice", "bob"]);
    let one = put(&mut world, "ONE", "{}");
    world.accepted(one);
    world.accepted(open("E", false, 2));
    world.accepted(open("F", false, 2));
    assert_eq!(device_ids(&world), ["E", "F", "ONE"]);
    world.accepted(open("ONE", true, 0));
    assert_eq!(dehydrated(&world, "alice"), None);
    assert_eq!(waiting(&world, "ONE"), None);
    assert!(world.view().identity_keys("alice", "ONE").unwrap().is_none(), "it is a new device");
}
