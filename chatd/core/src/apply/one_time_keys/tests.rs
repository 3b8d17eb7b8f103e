use super::*;
use crate::proto::log::command::Kind;
use crate::proto::log::{Envelope, Outcome};
use crate::query::DeviceStock;
use crate::testing::keys::{device_keys, key_input};
use crate::testing::{World, world};

fn upload(world: &mut World, user: &str, keys: Vec<log::KeyInput>) -> Envelope {
    world.by(user, Kind::PutDeviceKeys(log::PutDeviceKeys { one_time_keys: keys, ..Default::default() }))
}

fn put(world: &mut World, user: &str, keys: &[(&str, &str)]) {
    let keys = keys.iter().map(|(key_id, key)| key_input(key_id, key)).collect();
    let envelope = upload(world, user, keys);
    world.accepted(envelope);
}

fn put_fallback(world: &mut World, key_id: &str, key: &str) {
    let put = log::PutDeviceKeys { fallback_keys: vec![key_input(key_id, key)], ..Default::default() };
    let envelope = world.by("alice", Kind::PutDeviceKeys(put));
    world.accepted(envelope);
}

fn claim_of_alice(world: &mut World) -> Envelope {
    let algorithm = "signed_curve25519".to_owned();
    let claim = log::KeyClaim { localpart: "alice".into(), device_id: "D".into(), algorithm };
    world.by("bob", Kind::ClaimKeys(log::ClaimKeys { claims: vec![claim] }))
}

fn ids(outcome: Outcome) -> Vec<String> {
    match outcome.kind {
        Some(outcome::Kind::KeysClaimed(claimed)) => claimed.keys.into_iter().map(|key| key.key_id).collect(),
        other => panic!("{other:?}"),
    }
}

fn claim(world: &mut World) -> Vec<String> {
    let envelope = claim_of_alice(world);
    ids(world.accepted(envelope))
}

fn stock(world: &World) -> DeviceStock {
    world.view().device_stock("alice", "D").unwrap().unwrap()
}

fn left(world: &World) -> u32 {
    stock(world).one_time_keys.iter().map(|(_, count)| count).sum()
}

fn rows(world: &World) -> usize {
    world.rows.rows().filter(|(table, ..)| *table == Table::OneTimeKey).count()
}

#[test]
fn each_key_is_claimed_once_and_the_oldest_first() {
    let mut world = world(&["alice", "bob"]);
    put(&mut world, "alice", &[("9", "a"), ("1", "b")]);
    put(&mut world, "alice", &[("0", "c")]);
    let claimed: Vec<_> = (0..4).flat_map(|_| claim(&mut world)).collect();
    assert_eq!(claimed, ["9", "1", "0"]);
    assert_eq!(left(&world), 0);
}

#[test]
fn a_claim_that_is_repeated_takes_no_second_key_and_gives_the_same_one() {
    let mut world = world(&["alice", "bob"]);
    put(&mut world, "alice", &[("1", "a"), ("2", "b")]);
    let envelope = claim_of_alice(&mut world);
    let first = world.accepted(envelope.clone());
    let again = world.accepted(envelope);
    assert_eq!(again, Outcome { duplicate: true, ..first });
    assert_eq!((ids(again), left(&world)), (vec!["1".to_owned()], 1));
}

#[test]
fn an_upload_that_is_repeated_adds_nothing_even_after_its_keys_were_claimed() {
    let mut world = world(&["alice", "bob"]);
    put(&mut world, "alice", &[("1", "a"), ("2", "b")]);
    assert_eq!(claim(&mut world), ["1"]);
    put(&mut world, "alice", &[("1", "a"), ("2", "b"), ("3", "c")]);
    assert_eq!(left(&world), 2);
    let claimed: Vec<_> = (0..3).flat_map(|_| claim(&mut world)).collect();
    assert_eq!(claimed, ["2", "3"]);
    put(&mut world, "alice", &[("1", "another")]);
    assert_eq!(claim(&mut world), ["1"], "a new key, though its id is an old one");
}

#[test]
fn another_key_of_the_same_id_is_refused_and_other_signatures_are_not() {
    let mut world = world(&["alice", "bob"]);
    put(&mut world, "alice", &[("1", "a")]);
    let other = upload(&mut world, "alice", vec![key_input("2", "b"), key_input("1", "b")]);
    assert_eq!(world.rejected(other), Reason::KeyExists);
    assert_eq!(left(&world), 1, "nor was the first of them added");
    let mut signed = key_input("1", "a");
    signed.key = Bytes::from_static(br#"{"key":"a","signatures":{"@alice:a.org":{"ed25519:D":"x"}}}"#);
    let signed = upload(&mut world, "alice", vec![signed]);
    world.accepted(signed);
    assert_eq!(left(&world), 1);
}

#[test]
fn a_fallback_key_is_given_when_there_is_no_other_and_counts_as_used_from_then_on() {
    let mut world = world(&["alice", "bob"]);
    put(&mut world, "alice", &[("1", "a")]);
    put_fallback(&mut world, "f", "x");
    assert_eq!(claim(&mut world), ["1"]);
    assert_eq!(stock(&world).unused_fallback_keys, ["signed_curve25519"]);
    assert_eq!([claim(&mut world), claim(&mut world)].concat(), ["f", "f"]);
    assert!(stock(&world).unused_fallback_keys.is_empty());
    put_fallback(&mut world, "f", "x");
    assert!(stock(&world).unused_fallback_keys.is_empty(), "uploaded again it is no newer");
    put_fallback(&mut world, "g", "y");
    assert_eq!(stock(&world).unused_fallback_keys, ["signed_curve25519"]);
    assert_eq!(claim(&mut world), ["g"]);
}

#[test]
fn claimed_keys_are_remembered_up_to_a_bound() {
    let mut world = world(&["alice", "bob"]);
    let many = usize::try_from(REMEMBERED).unwrap() + 20;
    let keys: Vec<_> = (0..many).map(|n| key_input(&n.to_string(), "k")).collect();
    let envelope = upload(&mut world, "alice", keys);
    world.accepted(envelope);
    let claimed: Vec<_> = (0..many).flat_map(|_| claim(&mut world)).collect();
    assert_eq!(claimed.len(), many);
    assert_eq!(rows(&world), usize::try_from(REMEMBERED).unwrap());
}

#[test]
fn what_is_too_much_or_malformed_is_refused() {
    let mut world = world(&["alice"]);
    let keys: Vec<_> = (0..MAX_KEYS).map(|n| key_input(&n.to_string(), "k")).collect();
    let full = upload(&mut world, "alice", keys);
    world.accepted(full);
    let one_more = upload(&mut world, "alice", vec![key_input("more", "k")]);
    assert_eq!(world.rejected(one_more), Reason::TooLarge);
    for (key_id, key, reason) in [
        ("", "{}".to_owned(), Reason::Invalid),
        ("a\0b", "{}".to_owned(), Reason::Invalid),
        ("a", "[]".to_owned(), Reason::BadJson),
        ("a", "1".to_owned(), Reason::BadJson),
        ("a", r#"{"key":1.5}"#.to_owned(), Reason::BadJson),
        ("a", format!("{:?}", "x".repeat(MAX_KEY_BYTES)), Reason::TooLarge),
    ] {
        let input = log::KeyInput { algorithm: "x".into(), key_id: key_id.into(), key: key.clone().into() };
        let envelope = upload(&mut world, "alice", vec![input]);
        assert_eq!(world.rejected(envelope), reason, "{key_id:?} {key}");
    }
    let claim = log::KeyClaim { localpart: "alice".into(), device_id: "D".into(), algorithm: "x".into() };
    let claims = log::ClaimKeys { claims: vec![claim; MAX_CLAIMS + 1] };
    let claims = world.by("alice", Kind::ClaimKeys(claims));
    assert_eq!(world.rejected(claims), Reason::TooLarge);
}

#[test]
fn keys_go_with_their_device_and_what_is_left_behind_is_not_given_out_and_is_swept() {
    let mut world = world(&["alice", "bob"]);
    put(&mut world, "alice", &[("1", "a")]);
    let put_identity = log::PutDeviceKeys { device_keys: device_keys("alice", "D", "one"), ..Default::default() };
    let put_identity = world.by("alice", Kind::PutDeviceKeys(put_identity));
    world.accepted(put_identity);
    // As after a logout that had too much to remove.
    let (key, value) = world
        .rows
        .rows()
        .find(|(table, ..)| *table == Table::OneTimeKey)
        .map(|(_, k, v)| (k.to_vec(), v.clone()))
        .unwrap();
    let close = world.by("alice", Kind::CloseSession(log::CloseSession::default()));
    world.accepted(close);
    assert_eq!(rows(&world), 0);
    assert_eq!(world.rows.get(Table::KeyStock, b"alice\0D").unwrap(), None);
    crate::table::TableWrite::put(&mut world.rows, Table::OneTimeKey, key, value);
    let found = world.view().devices_to_sweep(&Default::default(), world.time_ms, 0, 100).unwrap().found;
    assert_eq!(found, [("alice".to_owned(), "D".to_owned())]);

    let open = log::OpenSession {
        localpart: "alice".into(),
        session: Some(crate::testing::session("alice", "D", 0)),
        password_version: 1,
        ..log::OpenSession::default()
    };
    world.accepted(Envelope { command: crate::testing::command(Kind::OpenSession(open)), ..Envelope::default() });
    assert!(claim(&mut world).is_empty());
    put(&mut world, "alice", &[("1", "b")]);
    assert_eq!((claim(&mut world), rows(&world)), (vec!["1".to_owned()], 1));
}

#[test]
fn other_identity_keys_make_the_one_time_keys_of_the_old_ones_go() {
    let mut world = world(&["alice", "bob"]);
    for key in ["one", "two"] {
        let put = log::PutDeviceKeys {
            device_keys: device_keys("alice", "D", key),
            one_time_keys: vec![key_input("1", key)],
            fallback_keys: Vec::new(),
        };
        let put = world.by("alice", Kind::PutDeviceKeys(put));
        world.accepted(put);
    }
    assert_eq!((left(&world), rows(&world)), (1, 1));
}
