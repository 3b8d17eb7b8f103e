use super::*;
use crate::proto::log::Envelope;
use crate::proto::log::command::Kind;
use crate::testing::{World, command, session, world};

fn pusher(kind: &str, pushkey: &str, append: bool) -> log::SetPusher {
    log::SetPusher {
        app_id: "app".into(),
        pushkey: pushkey.into(),
        kind: kind.into(),
        lang: "en".into(),
        data: Bytes::from_static(br#"{"url":"https://a.org/_matrix/push/v1/notify"}"#),
        append,
        max_pushers: 2,
        ..log::SetPusher::default()
    }
}

fn set(world: &mut World, user: &str, set: log::SetPusher) -> Envelope {
    world.by(user, Kind::SetPusher(set))
}

fn keys(world: &World, user: &str) -> Vec<String> {
    world.view().pushers_of(user).unwrap().into_iter().map(|found| found.pusher.pushkey).collect()
}

#[test]
fn a_pusher_is_set_changed_and_removed_by_its_user_alone() {
    let mut world = world(&["alice", "bob"]);
    let envelope = set(&mut world, "alice", pusher(HTTP, "one", false));
    world.accepted(envelope.clone());
    assert!(world.accepted(envelope).duplicate);
    let first = world.view().pushers_of("alice").unwrap();
    let envelope = set(&mut world, "alice", log::SetPusher { lang: "de".into(), ..pusher(HTTP, "one", false) });
    world.accepted(envelope);
    let second = world.view().pushers_of("alice").unwrap();
    assert_eq!((second.len(), second[0].pusher.lang.as_str()), (1, "de"));
    assert_eq!(second[0].added_at, first[0].added_at, "what waits is kept");
    let others = set(&mut world, "bob", pusher("", "one", false));
    world.accepted(others);
    assert_eq!(keys(&world, "alice"), ["one"], "bob has no such pusher");
    let removed = set(&mut world, "alice", pusher("", "one", false));
    world.accepted(removed);
    assert!(keys(&world, "alice").is_empty());
}

#[test]
fn another_user_of_the_same_phone_takes_the_pusher_over_unless_both_are_kept() {
    let mut world = world(&["alice", "bob", "carol"]);
    for (user, append) in [("alice", false), ("bob", true)] {
        let envelope = set(&mut world, user, pusher(HTTP, "phone", append));
        world.accepted(envelope);
    }
    assert_eq!((keys(&world, "alice").len(), keys(&world, "bob").len()), (1, 1));
    let envelope = set(&mut world, "carol", pusher(HTTP, "phone", false));
    world.accepted(envelope);
    assert_eq!(["alice", "bob", "carol"].map(|user| keys(&world, user).len()), [0, 0, 1]);
}

#[test]
fn the_pushers_of_a_device_go_with_it() {
    let mut world = world(&["alice"]);
    let new = Some(session("alice", "E", 0));
    let open = log::OpenSession { localpart: "alice".into(), session: new, password_version: 1, ..Default::default() };
    world.accepted(Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() });
    let own = set(&mut world, "alice", pusher(HTTP, "one", false));
    let other = Envelope { device_id: "E".into(), ..set(&mut world, "alice", pusher(HTTP, "two", false)) };
    world.apply(vec![own, other]);
    assert_eq!(keys(&world, "alice"), ["one", "two"]);
    let change = log::ChangePassword { password_hash: "h".into(), password_version: 1, end_others: 8 };
    let change = world.by("alice", Kind::ChangePassword(change));
    world.accepted(change);
    assert_eq!(keys(&world, "alice"), ["one"]);
    let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
    world.accepted(close);
    assert!(keys(&world, "alice").is_empty());
}

#[test]
fn pushers_that_cannot_be_and_too_many_of_them_are_refused() {
    let mut world = world(&["alice"]);
    let mut refused = |wanted: log::SetPusher| {
        let envelope = set(&mut world, "alice", wanted);
        world.rejected(envelope)
    };
    assert_eq!(refused(pusher(HTTP, "", false)), Reason::Invalid);
    assert_eq!(refused(pusher("email", "a@b", false)), Reason::Invalid);
    assert_eq!(refused(pusher(HTTP, &"x".repeat(MAX_PUSHKEY_BYTES + 1), false)), Reason::TooLarge);
    assert_eq!(refused(log::SetPusher { data: "[]".into(), ..pusher(HTTP, "one", false) }), Reason::BadJson);
    for key in ["one", "two"] {
        let envelope = set(&mut world, "alice", pusher(HTTP, key, false));
        world.accepted(envelope);
    }
    let third = set(&mut world, "alice", pusher(HTTP, "three", false));
    assert_eq!(world.rejected(third), Reason::QuotaReached);
    let changed = set(&mut world, "alice", pusher(HTTP, "two", false));
    world.accepted(changed);
}
