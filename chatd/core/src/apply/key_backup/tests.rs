use super::*;
use crate::proto::log::command::Kind;
use crate::testing::{World, world};

const MEGOLM: &str = "m.megolm_backup.v1";

fn create(world: &mut World, max_versions: u32) -> u64 {
    let create = log::CreateBackup { algorithm: MEGOLM.into(), auth_data: r#"{"a":1}"#.into(), max_versions };
    let envelope = world.by("alice", Kind::CreateBackup(create));
    match world.accepted(envelope).kind {
        Some(outcome::Kind::BackupCreated(created)) => created.version,
        other => panic!("{other:?}"),
    }
}

fn key(room: &str, session: &str, rank: (bool, u64, u64)) -> log::BackupKeyInput {
    let (is_verified, first_message_index, forwarded_count) = rank;
    log::BackupKeyInput {
        room_id: room.into(),
        session_id: session.into(),
        first_message_index,
        forwarded_count,
        is_verified,
        session_data: r#"{"c":"x"}"#.into(),
    }
}

fn put(version: u64, keys: Vec<log::BackupKeyInput>) -> Kind {
    Kind::PutBackupKeys(log::PutBackupKeys { version, keys, ..Default::default() })
}

fn changed(world: &mut World, kind: Kind) -> log::BackupChanged {
    let envelope = world.by("alice", kind);
    match world.accepted(envelope).kind {
        Some(outcome::Kind::BackupChanged(changed)) => changed,
        other => panic!("{other:?}"),
    }
}

fn refused(world: &mut World, kind: Kind) -> Reason {
    let envelope = world.by("alice", kind);
    world.rejected(envelope)
}

fn filled(world: &mut World, version: u64, keys: usize) {
    let all: Vec<_> = (0..keys).map(|n| key(&format!("!{}", n % 3), &n.to_string(), (true, 0, 0))).collect();
    for part in all.chunks(1000) {
        changed(world, put(version, part.to_vec()));
    }
}

fn key_rows(world: &World) -> usize {
    world.rows.rows().filter(|(table, ..)| *table == Table::BackupKey).count()
}

fn delete_keys(room_id: &str, session_id: &str) -> Kind {
    let (room_id, session_id) = (room_id.to_owned(), session_id.to_owned());
    Kind::DeleteBackupKeys(log::DeleteBackupKeys { version: 1, room_id, session_id, continues: false })
}

#[test]
fn the_newest_version_is_the_current_one_and_no_number_is_used_again() {
    let mut world = world(&["alice", "bob"]);
    assert!(world.view().key_backup("alice", None).unwrap().is_none());
    assert_eq!((create(&mut world, 0), create(&mut world, 0)), (1, 2));
    let current = |world: &World| world.view().key_backup("alice", None).unwrap().map(|found| found.version);
    assert_eq!(current(&world), Some(2));
    changed(&mut world, Kind::DeleteBackup(log::DeleteBackup { version: 2, continues: false }));
    assert_eq!(current(&world), Some(1));
    assert!(world.view().key_backup("alice", Some(2)).unwrap().is_none());
    assert_eq!(create(&mut world, 0), 3);
    let again = Kind::DeleteBackup(log::DeleteBackup { version: 2, continues: false });
    assert_eq!(refused(&mut world, again), Reason::BackupNotFound);
    assert!(world.view().key_backup("bob", None).unwrap().is_none());
}

#[test]
fn the_oldest_versions_go_for_new_ones() {
    let mut world = world(&["alice"]);
    create(&mut world, 2);
    filled(&mut world, 1, 3);
    create(&mut world, 2);
    create(&mut world, 2);
    assert!(world.view().key_backup("alice", Some(1)).unwrap().is_none());
    assert!(world.view().key_backup("alice", Some(2)).unwrap().is_some());
    assert_eq!(key_rows(&world), 0);
}

#[test]
fn a_version_can_be_given_other_data_but_no_other_algorithm() {
    let mut world = world(&["alice"]);
    let update = |version, algorithm: &str, auth_data: &'static str| {
        Kind::UpdateBackup(log::UpdateBackup { version, algorithm: algorithm.into(), auth_data: auth_data.into() })
    };
    assert_eq!(refused(&mut world, update(1, MEGOLM, "{}")), Reason::BackupNotFound);
    create(&mut world, 0);
    assert_eq!(refused(&mut world, update(1, "other", "{}")), Reason::Invalid);
    assert_eq!(refused(&mut world, update(1, MEGOLM, "[]")), Reason::BadJson);
    let envelope = world.by("alice", update(1, MEGOLM, r#"{"b":2}"#));
    world.accepted(envelope);
    assert_eq!(world.view().key_backup("alice", None).unwrap().unwrap().auth_data, r#"{"b":2}"#);
    let envelope = world.by("alice", update(1, MEGOLM, r#""text""#));
    world.accepted(envelope);
    assert_eq!(world.view().key_backup("alice", None).unwrap().unwrap().auth_data, r#""text""#);
}

#[test]
fn of_two_keys_for_a_session_the_better_one_is_kept() {
    let mut world = world(&["alice"]);
    create(&mut world, 0);
    // In order, best first. Source: Matrix specification, PUT /room_keys/keys.
    let ranks = [(true, 5, 0), (true, 5, 1), (true, 6, 0), (false, 1, 0), (false, 1, 9), (false, 2, 1)];
    for (n, worse) in ranks.iter().enumerate() {
        for better in &ranks[..n] {
            let session = format!("{worse:?}{better:?}");
            let first = changed(&mut world, put(1, vec![key("!r", &session, *worse)]));
            let second = changed(&mut world, put(1, vec![key("!r", &session, *better)]));
            assert!(second.etag > first.etag && second.keys == first.keys);
            for same in [worse, better] {
                let third = changed(&mut world, put(1, vec![key("!r", &session, *same)]));
                assert_eq!(third, second, "{same:?} does not replace {better:?}");
            }
            let kept = world.view().backup_key("alice", 1, "!r", &session).unwrap().unwrap();
            assert_eq!((kept.is_verified, kept.first_message_index, kept.forwarded_count), *better);
        }
    }
}

#[test]
fn only_the_current_version_takes_keys() {
    let mut world = world(&["alice", "bob"]);
    assert_eq!(refused(&mut world, put(1, vec![])), Reason::BackupNotFound);
    create(&mut world, 0);
    create(&mut world, 0);
    assert_eq!(refused(&mut world, put(1, vec![key("!r", "s", (true, 0, 0))])), Reason::WrongBackupVersion);
    assert_eq!(refused(&mut world, put(3, vec![])), Reason::BackupNotFound);
    assert_eq!(changed(&mut world, put(2, vec![key("!r", "s", (true, 0, 0))])).keys, 1);
    let of_another = world.by("bob", put(2, vec![]));
    assert_eq!(world.rejected(of_another), Reason::BackupNotFound);
}

#[test]
fn a_bad_key_is_refused_with_all_others() {
    let mut world = world(&["alice"]);
    create(&mut world, 0);
    let good = key("!r", "s", (true, 0, 0));
    let long = format!("\"{}\"", "y".repeat(16 * 1024));
    for (bad, reason) in [
        (key("", "s", (true, 0, 0)), Reason::Invalid),
        (key("!r", &"s".repeat(256), (true, 0, 0)), Reason::Invalid),
        (log::BackupKeyInput { session_data: "1".into(), ..good.clone() }, Reason::BadJson),
        (log::BackupKeyInput { session_data: long.into(), ..good.clone() }, Reason::TooLarge),
    ] {
        assert_eq!(refused(&mut world, put(1, vec![good.clone(), bad])), reason);
    }
}

#[test]
fn a_backup_has_limits_and_within_them_keys_can_be_replaced() {
    let mut world = world(&["alice"]);
    create(&mut world, 0);
    let limited =
        |keys, max_keys, max_bytes| Kind::PutBackupKeys(log::PutBackupKeys { version: 1, keys, max_keys, max_bytes });
    let keys = |rank| vec![key("!r", "1", rank), key("!r", "2", rank)];
    assert_eq!(refused(&mut world, limited(keys((false, 0, 0)), 1, 0)), Reason::TooLarge);
    assert_eq!(refused(&mut world, limited(keys((false, 0, 0)), 0, 20)), Reason::TooLarge);
    assert_eq!(changed(&mut world, limited(keys((false, 0, 0)), 2, 0)).keys, 2);
    assert_eq!(changed(&mut world, limited(keys((true, 0, 0)), 2, 0)).keys, 2);
}

#[test]
fn keys_are_removed_by_session_by_room_and_all_in_parts() {
    let mut world = world(&["alice"]);
    create(&mut world, 0);
    filled(&mut world, 1, MAX_REMOVED + 20);
    let all = u64::try_from(MAX_REMOVED + 20).unwrap();
    let before = world.view().key_backup("alice", None).unwrap().unwrap();
    assert_eq!(before.keys, all);
    let one = changed(&mut world, delete_keys("!0", "3"));
    assert!(one.keys == all - 1 && one.etag > before.etag && !one.more);
    assert_eq!(changed(&mut world, delete_keys("!0", "3")), one, "it is gone already");
    let room = changed(&mut world, delete_keys("!1", ""));
    assert_eq!(room.keys, all - 1 - all / 3);
    assert!(!changed(&mut world, delete_keys("", "")).more);
    assert_eq!(key_rows(&world), 0);
    filled(&mut world, 1, MAX_REMOVED + 20);
    assert!(changed(&mut world, delete_keys("", "")).more);
    assert_eq!(changed(&mut world, delete_keys("", "")).keys, 0);
    let mut unknown = log::DeleteBackupKeys { version: 2, ..Default::default() };
    assert_eq!(refused(&mut world, Kind::DeleteBackupKeys(unknown.clone())), Reason::BackupNotFound);
    unknown.version = 1;
    assert_eq!(changed(&mut world, Kind::DeleteBackupKeys(unknown)).keys, 0);
}

#[test]
fn a_removed_version_is_gone_at_once_and_whatever_comes_next_removes_its_keys() {
    let mut world = world(&["alice"]);
    create(&mut world, 0);
    filled(&mut world, 1, 3 * MAX_REMOVED);
    let delete = |continues| Kind::DeleteBackup(log::DeleteBackup { version: 1, continues });
    assert!(changed(&mut world, delete(false)).more);
    assert!(world.view().key_backup("alice", Some(1)).unwrap().is_none());
    assert_eq!(refused(&mut world, delete(false)), Reason::BackupNotFound);
    assert!(changed(&mut world, delete(true)).more);
    assert_eq!(create(&mut world, 0), 2);
    assert_eq!(key_rows(&world), 0);
    assert!(!changed(&mut world, delete(true)).more);
}

#[test]
fn a_backup_is_read_in_parts_by_room_or_whole() {
    let mut world = world(&["alice"]);
    create(&mut world, 0);
    filled(&mut world, 1, 2500);
    for (room, expected) in [(None, 2500), (Some("!1"), 833)] {
        let (mut found, mut from, mut parts) = (Vec::new(), None, 0);
        loop {
            let part = world.view().backup_part("alice", 1, room, from.as_ref()).unwrap();
            found.extend(part.keys.into_iter().map(|key| (key.room_id, key.session_id)));
            parts += 1;
            let Some(next) = part.next else { break };
            from = Some(next);
        }
        assert_eq!((found.len(), parts), (expected, expected / 1024 + 1));
        assert!(found.iter().all(|(found, _)| room.is_none_or(|room| room == found)));
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), expected);
    }
}
