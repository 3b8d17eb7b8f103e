use super::*;
use crate::id::Position;
use crate::proto::log::Envelope;
use crate::proto::log::command::Kind;
use crate::query::{SigningUsage, StoredKey};
use crate::testing::keys::{device_keys, signing_key};
use crate::testing::{World, world};

fn upload(world: &mut World, user: &str, key: &str, authenticated: bool) -> Envelope {
    let put = log::PutSigningKeys {
        master: signing_key(user, "master", &format!("m{key}")),
        self_signing: signing_key(user, "self_signing", &format!("s{key}")),
        user_signing: signing_key(user, "user_signing", &format!("u{key}")),
        authenticated,
    };
    world.by(user, Kind::PutSigningKeys(put))
}

fn master(world: &World, user: &str) -> StoredKey {
    world.view().cross_signing_key(user, SigningUsage::Master).unwrap().unwrap()
}

fn sign(world: &mut World, signer: &str, signed: &str, target: &str, seen: Position) -> Vec<u32> {
    let input = log::SignatureInput {
        localpart: signed.into(),
        target: target.into(),
        seen: table::position_field(seen),
        key_id: "ed25519:key".into(),
        signature: format!("by {signer}"),
    };
    let put = world.by(signer, Kind::PutSignatures(log::PutSignatures { signatures: vec![input] }));
    match world.accepted(put).kind {
        Some(outcome::Kind::SignaturesPut(put)) => put.outdated,
        other => panic!("{other:?}"),
    }
}

fn shown_master(world: &World, caller: &str, user: &str) -> String {
    let keys = world.view().keys_of(caller, user, &[]).unwrap().unwrap();
    String::from_utf8(keys.master.unwrap().to_vec()).unwrap()
}

#[test]
fn the_first_keys_need_no_password_nor_do_the_same_again_and_others_do() {
    let mut world = world(&["alice"]);
    for (key, authenticated, accepted) in
        [("1", false, true), ("1", false, true), ("2", false, false), ("2", true, true)]
    {
        let envelope = upload(&mut world, "alice", key, authenticated);
        if accepted {
            world.accepted(envelope);
        } else {
            assert_eq!(world.rejected(envelope), Reason::Forbidden);
            assert!(shown_master(&world, "alice", "alice").contains("m1"));
        }
    }
    assert!(shown_master(&world, "alice", "alice").contains("m2"));
}

#[test]
fn only_its_owner_is_shown_the_key_that_signs_users() {
    let mut world = world(&["alice", "bob"]);
    let envelope = upload(&mut world, "alice", "1", false);
    world.accepted(envelope);
    let of = |caller: &str| world.view().keys_of(caller, "alice", &[]).unwrap().unwrap();
    assert!(of("alice").user_signing.is_some() && of("bob").user_signing.is_none());
    assert!(of("bob").master.is_some() && of("bob").self_signing.is_some());
}

#[test]
fn keys_of_another_user_or_usage_and_keys_without_a_master_key_are_refused() {
    let mut world = world(&["alice", "bob"]);
    let put = |master: Bytes, self_signing: Bytes| log::PutSigningKeys { master, self_signing, ..Default::default() };
    for bad in [
        put(Bytes::new(), signing_key("alice", "self_signing", "s")),
        put(signing_key("bob", "master", "m"), Bytes::new()),
        put(signing_key("alice", "self_signing", "m"), Bytes::new()),
        put(Bytes::from_static(br#"{"user_id":"@alice:a.org","usage":["master"],"keys":{}}"#), Bytes::new()),
    ] {
        let envelope = world.by("alice", Kind::PutSigningKeys(bad));
        assert_eq!(world.rejected(envelope), Reason::Invalid);
    }
}

#[test]
fn a_signature_under_anothers_key_is_shown_to_the_signer_alone_and_ends_with_the_key() {
    let mut world = world(&["alice", "bob", "carol"]);
    let envelope = upload(&mut world, "bob", "1", false);
    world.accepted(envelope);
    let seen = master(&world, "bob").position;
    assert_eq!(sign(&mut world, "alice", "bob", "m1", seen), [] as [u32; 0]);
    let shown = |world: &World, caller: &str| shown_master(world, caller, "bob").contains("by alice");
    assert_eq!(["alice", "bob", "carol"].map(|caller| shown(&world, caller)), [true, false, false]);
    let envelope = upload(&mut world, "bob", "2", true);
    world.accepted(envelope);
    assert!(!shown(&world, "alice"));
    assert_eq!(sign(&mut world, "alice", "bob", "m1", seen), [0], "of the key that was replaced");
}

#[test]
fn a_users_own_signatures_are_shown_to_all_until_the_signed_keys_change() {
    let mut world = world(&["alice", "bob"]);
    let envelope = upload(&mut world, "alice", "1", false);
    world.accepted(envelope);
    let put = |world: &mut World, key: &str| {
        let put = log::PutDeviceKeys { device_keys: device_keys("alice", "D", key), ..Default::default() };
        let put = world.by("alice", Kind::PutDeviceKeys(put));
        world.accepted(put);
        world.view().identity_keys("alice", "D").unwrap().unwrap().position
    };
    let seen = put(&mut world, "one");
    assert!(sign(&mut world, "alice", "alice", "D", seen).is_empty());
    let seen_master = master(&world, "alice").position;
    assert!(sign(&mut world, "alice", "alice", "m1", seen_master).is_empty());
    let device = |world: &World| {
        let keys = world.view().keys_of("bob", "alice", &[]).unwrap().unwrap();
        String::from_utf8(keys.devices[0].1.to_vec()).unwrap()
    };
    assert!(device(&world).contains("by alice") && device(&world).contains("by itself"));
    assert!(shown_master(&world, "bob", "alice").contains("by alice"));
    put(&mut world, "two");
    assert!(!device(&world).contains("by alice"));
    assert_eq!(sign(&mut world, "alice", "alice", "D", seen), [0]);
    assert_eq!(sign(&mut world, "alice", "alice", "X", seen), [0], "there is no such device");
}
