use super::super::device::MAX_FORGOTTEN;
use super::*;
use crate::apply::AppliedCommand;
use crate::proto::log::Envelope;
use crate::proto::log::command::Kind;
use crate::query::{QueuedMessages, SweepCursor};
use crate::testing::{SERVER, World, command, session, world};

fn to(user: &str, device: &str, n: usize) -> log::DeviceMessage {
    let content = format!("{{\"n\":{n}}}").into();
    log::DeviceMessage { user: id::user_id(user, SERVER), device_id: device.into(), content }
}

fn send_command(messages: Vec<log::DeviceMessage>) -> log::SendToDevice {
    log::SendToDevice { r#type: "m.test".into(), messages, part: "0".into(), ..Default::default() }
}

fn send(world: &mut World, messages: Vec<log::DeviceMessage>) -> AppliedCommand {
    let envelope = world.by("alice", Kind::SendToDevice(send_command(messages)));
    world.apply(vec![envelope]).remove(0)
}

fn open(world: &mut World, user: &str, device: &str) {
    let open = log::OpenSession {
        localpart: user.into(),
        session: Some(session(user, device, 0)),
        password_version: 1,
        ..log::OpenSession::default()
    };
    world.accepted(Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() });
}

fn queued_after(world: &World, user: &str, device: &str, after: Option<Position>) -> QueuedMessages {
    let view = world.view();
    view.queued_messages(user, device, after, view.now()).unwrap()
}

/// Returns the numbers of the messages that wait for a device.
fn queued(world: &World, user: &str, device: &str) -> Vec<String> {
    let messages = queued_after(world, user, device, None).messages.into_iter();
    messages.map(|message| String::from_utf8(message.content.to_vec()).unwrap()).collect()
}

fn delete(world: &mut World, up_to: Position) -> bool {
    let Position { incarnation, index, ordinal } = up_to;
    let up_to = Some(log::Position { incarnation, index, ordinal });
    let mut envelope = world.by("bob", Kind::DeleteToDevice(log::DeleteToDevice { up_to }));
    envelope.transaction_id.clear();
    match world.accepted(envelope).kind {
        Some(outcome::Kind::ToDeviceDeleted(deleted)) => deleted.more,
        other => panic!("{other:?}"),
    }
}

fn rows(world: &World) -> usize {
    world.rows.rows().filter(|(table, ..)| *table == Table::ToDevice).count()
}

#[test]
fn messages_reach_the_devices_that_they_name_as_far_as_they_exist() {
    let mut world = world(&["alice", "bob"]);
    open(&mut world, "bob", "E");
    let messages = vec![to("bob", "D", 1), to("bob", "X", 2), to("nobody", "*", 3), to("alice", "*", 4)];
    assert_eq!(send(&mut world, messages).touched.users, ["bob", "alice"]);
    assert_eq!(queued(&world, "bob", "D"), [r#"{"n":1}"#]);
    assert_eq!(queued(&world, "bob", "E"), Vec::<String>::new());
    assert_eq!(queued(&world, "bob", "X"), Vec::<String>::new());
    assert_eq!(queued(&world, "alice", "D"), [r#"{"n":4}"#]);
    send(&mut world, vec![to("bob", "*", 5)]);
    assert_eq!(queued(&world, "bob", "D"), [r#"{"n":1}"#, r#"{"n":5}"#]);
    assert_eq!(queued(&world, "bob", "E"), [r#"{"n":5}"#]);
    let shown = queued_after(&world, "bob", "E", None).messages.remove(0);
    assert_eq!((shown.sender.as_str(), shown.event_type.as_str()), ("@alice:a.org", "m.test"));
}

#[test]
fn a_repetition_sends_nothing_and_another_part_or_type_is_another_message() {
    let mut world = world(&["alice", "bob"]);
    let first = world.by("alice", Kind::SendToDevice(send_command(vec![to("bob", "D", 1)])));
    assert!(!world.accepted(first.clone()).duplicate);
    let again = world.apply(vec![first.clone()]).remove(0);
    assert!(again.outcome.duplicate && again.touched.users.is_empty());
    for (part, event_type) in [("1", "m.test"), ("0", "m.other")] {
        let mut send = send_command(vec![to("bob", "D", 2)]);
        send.part = part.into();
        send.r#type = event_type.into();
        let other = Envelope { command: command(Kind::SendToDevice(send)), ..first.clone() };
        assert!(!world.accepted(other).duplicate);
    }
    assert_eq!(rows(&world), 3);
}

#[test]
fn a_bad_message_is_refused_with_all_others() {
    let mut world = world(&["alice", "bob"]);
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_CONTENT_BYTES));
    for (content, reason) in [("1", Reason::BadJson), ("{\"a\":1,\"a\":1}", Reason::BadJson), (&long, Reason::TooLarge)]
    {
        let bad = log::DeviceMessage { content: content.to_owned().into(), ..to("bob", "D", 2) };
        let envelope = world.by("alice", Kind::SendToDevice(send_command(vec![to("bob", "D", 1), bad])));
        assert_eq!(world.rejected(envelope), reason);
    }
    let nameless = log::SendToDevice { r#type: String::new(), ..send_command(vec![to("bob", "D", 1)]) };
    let envelope = world.by("alice", Kind::SendToDevice(nameless));
    assert_eq!(world.rejected(envelope), Reason::Invalid);
    let many = (0..=MAX_DELIVERIES).map(|n| to("bob", "D", n)).collect();
    let envelope = world.by("alice", Kind::SendToDevice(send_command(many)));
    assert_eq!(world.rejected(envelope), Reason::TooLarge);
}

#[test]
fn the_oldest_messages_go_when_too_many_wait() {
    let mut world = world(&["alice", "bob"]);
    for n in 1..6 {
        let send = log::SendToDevice { max_messages: 3, ..send_command(vec![to("bob", "D", n)]) };
        let envelope = world.by("alice", Kind::SendToDevice(send));
        world.accepted(envelope);
    }
    assert_eq!(queued(&world, "bob", "D"), [r#"{"n":3}"#, r#"{"n":4}"#, r#"{"n":5}"#]);
    // A message takes 32 bytes or so.
    let send = log::SendToDevice { max_bytes: 80, ..send_command(vec![to("bob", "D", 6)]) };
    let envelope = world.by("alice", Kind::SendToDevice(send));
    world.accepted(envelope);
    assert_eq!(queued(&world, "bob", "D"), [r#"{"n":5}"#, r#"{"n":6}"#]);
}

#[test]
fn what_was_received_is_not_given_again_and_is_removed_in_parts() {
    let mut world = world(&["alice", "bob"]);
    send(&mut world, vec![to("bob", "D", 1)]);
    let first = queued_after(&world, "bob", "D", None);
    let given_to = first.given_to.unwrap();
    assert_eq!(queued_after(&world, "bob", "D", None), first, "until the token comes back");
    send(&mut world, (2..MAX_DELETED + 10).map(|n| to("bob", "D", n)).collect());
    let second = queued_after(&world, "bob", "D", Some(given_to));
    assert!(second.has_received && second.messages[0].content == r#"{"n":2}"#);
    assert_eq!(second.messages.len(), crate::query::MAX_QUEUED_MESSAGES);
    let third = queued_after(&world, "bob", "D", second.given_to);
    assert_eq!(third.messages[0].content, r#"{"n":102}"#);

    assert!(!delete(&mut world, given_to));
    assert_eq!(queued_after(&world, "bob", "D", Some(given_to)), QueuedMessages { has_received: false, ..second });
    assert!(!world.view().has_received_messages("bob", "D", given_to).unwrap());
    let now = world.view().now();
    assert!(world.view().has_received_messages("bob", "D", now).unwrap());
    assert!(!world.view().has_received_messages("alice", "D", now).unwrap());
    assert_eq!(queued_after(&world, "bob", "D", Some(now)).given_to, None, "nothing is given");
    assert!(delete(&mut world, now) && !delete(&mut world, now) && !delete(&mut world, now));
    assert_eq!(rows(&world), 0);
}

#[test]
fn a_removal_leaves_messages_to_others_and_later_ones() {
    let mut world = world(&["alice", "bob"]);
    open(&mut world, "bob", "E");
    send(&mut world, vec![to("bob", "*", 1), to("alice", "D", 2)]);
    let up_to = world.view().now();
    send(&mut world, vec![to("bob", "*", 3)]);
    assert!(!delete(&mut world, up_to));
    assert_eq!(queued(&world, "bob", "D"), [r#"{"n":3}"#]);
    assert_eq!((queued(&world, "bob", "E").len(), queued(&world, "alice", "D").len()), (2, 1));
    assert!(!delete(&mut world, Position::MAX));
    send(&mut world, vec![to("bob", "D", 4)]);
    assert_eq!(queued(&world, "bob", "D"), [r#"{"n":4}"#]);
}

#[test]
fn a_device_that_goes_takes_its_messages_along_in_parts() {
    let mut world = world(&["alice", "bob"]);
    for _ in 0..2 {
        send(&mut world, (0..MAX_FORGOTTEN).map(|n| to("bob", "D", n)).collect());
    }
    let close = |world: &mut World| {
        let close = world.by("bob", Kind::CloseSession(log::CloseSession::default()));
        world.accepted(close);
    };
    close(&mut world);
    assert_eq!(rows(&world), MAX_FORGOTTEN);
    open(&mut world, "bob", "D");
    assert_eq!(queued(&world, "bob", "D"), Vec::<String>::new(), "they were for the device before");
    send(&mut world, vec![to("bob", "D", 7)]);
    assert_eq!(queued(&world, "bob", "D"), [r#"{"n":7}"#]);

    close(&mut world);
    send(&mut world, vec![to("bob", "D", 8)]);
    assert_eq!(rows(&world), 1);
    let found = world.view().devices_to_sweep(&SweepCursor::default(), world.time_ms, 0, 100).unwrap().found;
    assert_eq!(found, [("bob".to_owned(), "D".to_owned())]);
    let sweep = log::SweepDevice { localpart: "bob".into(), device_id: "D".into(), kept_ms: 0 };
    world.accepted(Envelope { command: command(Kind::SweepDevice(sweep)), ..Envelope::default() });
    assert_eq!(rows(&world), 0);
}
