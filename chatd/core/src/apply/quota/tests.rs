use super::*;
use crate::proto::log::Envelope;
use crate::proto::log::command::Kind;
use crate::query::{SessionState, SweepCursor};
use crate::testing::{World, command, session, world};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn token(device: &str, n: u32) -> String {
    format!("{:.>32}", format!("{device}{n}"))
}

/// Returns the `n`th login of a device.
fn open(device: &str, n: u32, lifetime_ms: u64, max_devices: u32) -> Envelope {
    let new = log::NewSession {
        token_hash: token(device, n).into(),
        continues_device: true,
        max_devices,
        ..session("alice", device, lifetime_ms)
    };
    let open =
        log::OpenSession { localpart: "alice".into(), session: Some(new), password_version: 1, ..Default::default() };
    Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() }
}

fn devices_of(world: &World) -> Vec<String> {
    world.view().devices("alice").unwrap().into_iter().map(|device| device.device_id).collect()
}

fn dedup_rows(world: &World) -> usize {
    world.rows.rows().filter(|(table, ..)| *table == Table::Dedup).count()
}

fn sweep(world: &mut World, device: &str) -> bool {
    let sweep = log::SweepDevice { localpart: "alice".into(), device_id: device.into(), kept_ms: DAY_MS };
    let envelope = Envelope { command: command(Kind::SweepDevice(sweep)), ..Envelope::default() };
    match world.accepted(envelope).kind {
        Some(outcome::Kind::DeviceSwept(swept)) => swept.more,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_that_logs_in_again_goes_on_with_its_transaction_ids() {
    let mut world = world(&["alice"]);
    let (_, room) = world.public_room("alice");
    let envelope = world.event("alice", &room, "t", None, "{}");
    let first = world.accepted(envelope.clone());
    let again = open("D", 1, 0, 0);
    world.accepted(again.clone());
    assert_eq!(world.accepted(envelope.clone()), log::Outcome { duplicate: true, ..first });
    let repeated = world.accepted(again.clone());
    assert!(repeated.duplicate && repeated.position != world.accepted(open("D", 2, 0, 0)).position);
    assert!(world.accepted(envelope.clone()).duplicate, "after any number of logins");
    // A logout removes the device; another login with its id creates another device.
    let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
    world.accepted(close);
    world.accepted(open("D", 3, 0, 0));
    assert!(!world.accepted(envelope).duplicate);
}

#[test]
fn the_old_sessions_token_ends_with_the_new_login_and_an_expired_device_goes_on() {
    let mut world = world(&["alice"]);
    world.accepted(open("E", 1, 100, 0));
    world.time_ms += 1000;
    let state = |world: &World, n| world.view().session(token("E", n).as_bytes(), world.time_ms).unwrap();
    assert_eq!(state(&world, 1), SessionState::Expired);
    world.accepted(open("E", 2, 100, 0));
    assert_eq!(state(&world, 1), SessionState::Unknown);
    assert!(matches!(state(&world, 2), SessionState::Alive(_)));
}

#[test]
fn a_known_device_keeps_its_name() {
    let mut world = world(&["alice"]);
    let named = |n: u32, name: &str| {
        let mut envelope = open("E", n, 0, 0);
        if let Some(log::Command { kind: Some(Kind::OpenSession(open)) }) = &mut envelope.command {
            open.session.as_mut().unwrap().display_name = name.into();
        }
        envelope
    };
    world.accepted(named(1, "phone"));
    world.accepted(named(2, "another"));
    let devices = world.view().devices("alice").unwrap();
    assert_eq!(devices.iter().find(|device| device.device_id == "E").unwrap().display_name, "phone");
}

#[test]
fn what_was_not_used_for_longest_goes_for_a_new_device() {
    let mut world = world(&["alice"]);
    for (device, lifetime_ms) in [("A", DAY_MS), ("B", 0), ("C", 2 * DAY_MS)] {
        world.accepted(open(device, 1, lifetime_ms, 4));
    }
    assert_eq!(devices_of(&world), ["A", "B", "C", "D"]);
    let extend = log::ExtendSession { token_hash: token("A", 1).into(), lifetime_ms: DAY_MS };
    let mut extend = world.by("alice", Kind::ExtendSession(extend));
    extend.device_id = "A".into();
    world.accepted(extend);
    world.accepted(open("E", 1, 0, 4));
    assert_eq!(devices_of(&world), ["A", "B", "C", "E"], "D was the first, and A was used");
    world.accepted(open("F", 1, 0, 4));
    assert_eq!(devices_of(&world), ["A", "C", "E", "F"]);
    world.accepted(open("A", 2, 0, 4));
    assert_eq!(devices_of(&world), ["A", "C", "E", "F"], "a known device is no new one");
}

#[test]
fn an_account_with_too_many_devices_comes_down_step_by_step() {
    let mut world = world(&["alice"]);
    for n in 0..40 {
        world.accepted(open(&format!("X{n:02}"), 1, 0, 0));
    }
    world.accepted(open("Y", 1, 0, 5));
    assert_eq!(devices_of(&world).len(), 42 - MAX_REMOVED);
    for n in 0..3 {
        world.accepted(open(&format!("Z{n}"), 1, 0, 5));
    }
    assert_eq!(devices_of(&world).len(), 5);
}

#[test]
fn all_sessions_are_closed_in_parts_and_the_callers_own_last() {
    let mut world = world(&["alice"]);
    for device in ["A", "B", "C", "E", "F"] {
        world.accepted(open(device, 1, 0, 0));
    }
    let mut parts = Vec::new();
    loop {
        let close = log::CloseSession { all_devices: true, at_most: 2, ..Default::default() };
        let close = world.by("alice", Kind::CloseSession(close));
        match world.accepted(close).kind {
            Some(outcome::Kind::SessionsClosed(closed)) => parts.push((devices_of(&world).len(), closed.more)),
            other => panic!("{other:?}"),
        }
        if parts.last().is_some_and(|(_, more)| !more) {
            break;
        }
    }
    assert_eq!(parts, [(4, true), (2, true), (0, false)]);
    assert_eq!(dedup_rows(&world), 0);
}

#[test]
fn a_device_is_swept_long_after_it_expired_and_never_before() {
    let mut world = world(&["alice"]);
    world.accepted(open("E", 1, 1000, 0));
    world.time_ms += DAY_MS;
    assert!(!sweep(&mut world, "E") && !sweep(&mut world, "D"));
    assert_eq!(devices_of(&world), ["D", "E"], "it is kept for a day, and one that never expires for ever");
    assert!(!quota_is_due(&world, "E"));
    world.time_ms += 1000;
    assert!(quota_is_due(&world, "E"));
    assert!(!sweep(&mut world, "E"));
    assert_eq!(devices_of(&world), ["D"]);
    let by_a_user = world.by("alice", Kind::SweepDevice(log::SweepDevice::default()));
    assert_eq!(world.rejected(by_a_user), Reason::Invalid);
}

fn quota_is_due(world: &World, device: &str) -> bool {
    let found = world.view().devices_to_sweep(&SweepCursor::default(), world.time_ms, DAY_MS, 100).unwrap().found;
    found.contains(&("alice".to_owned(), device.to_owned()))
}

#[test]
fn what_a_device_left_behind_is_found_and_swept_in_parts() {
    let mut world = world(&["alice"]);
    let (_, room) = world.public_room("alice");
    for _ in 0..21 {
        let envelopes = (0..60).map(|_| world.event("alice", &room, "t", None, "{}")).collect();
        world.apply(envelopes);
    }
    assert!(!quota_is_due(&world, "D"), "the device lives");
    let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
    world.accepted(close);
    let left = 21 * 60 + 1 - MAX_FORGOTTEN;
    assert_eq!(dedup_rows(&world), left);
    assert!(quota_is_due(&world, "D"));
    assert!(!sweep(&mut world, "D"), "they are fewer than one command may remove");
    assert_eq!(dedup_rows(&world), 0);
    assert!(!quota_is_due(&world, "D"));
}

#[test]
fn the_search_for_devices_goes_on_where_it_stopped() {
    let mut world = world(&["alice", "bob", "carol"]);
    world.accepted(open("E", 1, 1, 0));
    world.accepted(open("F", 1, 1, 0));
    world.time_ms += 2 * DAY_MS;
    let (mut from, mut found, mut looks) = (SweepCursor::default(), Vec::new(), 0);
    loop {
        let part = world.view().devices_to_sweep(&from, world.time_ms, DAY_MS, 2).unwrap();
        found.extend(part.found.into_iter().map(|(_, device)| device));
        looks += 1;
        from = part.next;
        if from == SweepCursor::default() {
            break;
        }
    }
    assert_eq!((found, looks), (vec!["E".to_owned(), "F".to_owned()], 3));
}
