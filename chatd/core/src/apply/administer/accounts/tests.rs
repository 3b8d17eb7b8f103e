use super::*;
use crate::proto::log::Envelope;
use crate::proto::log::administer::Action;
use crate::proto::log::command::Kind;
use crate::proto::store::membership::Kind as Membership;
use crate::testing::{World, command, session, world};

/// Returns an act of the administrative API, whose callers have a certificate and no account.
fn by_certificate(action: Action) -> Envelope {
    let act = log::Administer { configured: false, action: Some(action) };
    Envelope { command: command(Kind::Administer(act)), ..Envelope::default() }
}

fn by_user(world: &mut World, user: &str, configured: bool, action: Action) -> Envelope {
    world.by(user, Kind::Administer(log::Administer { configured, action: Some(action) }))
}

fn lock(localpart: &str) -> Action {
    Action::SetStanding(log::SetStanding { localpart: localpart.into(), locked: Some(true), suspended: None })
}

fn suspend(localpart: &str, suspended: bool) -> Action {
    Action::SetStanding(log::SetStanding { localpart: localpart.into(), locked: None, suspended: Some(suspended) })
}

fn reset(localpart: &str, hash: &str, end_sessions: u32) -> Action {
    Action::ResetPassword(log::ResetPassword { localpart: localpart.into(), password_hash: hash.into(), end_sessions })
}

/// Returns a world with two users, and an administrator "root".
fn with_root() -> World {
    let mut world = world(&["alice", "bob"]);
    let register = log::Register {
        localpart: "root".into(),
        password_hash: "$argon2id$root".into(),
        session: Some(session("root", "D", 0)),
        administrator: true,
        ..log::Register::default()
    };
    world.accepted(Envelope { command: command(Kind::Register(register)), ..Envelope::default() });
    world
}

fn locked(world: &World, user: &str) -> bool {
    world.view().standing(user).unwrap().locked
}

#[test]
fn administrators_act_and_others_do_not() {
    let mut world = with_root();
    let by_bob = by_user(&mut world, "bob", false, lock("alice"));
    assert_eq!(world.rejected(by_bob), Reason::Forbidden);
    let by_root = by_user(&mut world, "root", false, lock("alice"));
    world.accepted(by_root);
    assert!(locked(&world, "alice"));
    let by_configured = by_user(&mut world, "bob", true, lock("alice"));
    world.accepted(by_configured);
    world.accepted(by_certificate(suspend("bob", true)));
    let by_suspended = by_user(&mut world, "bob", true, lock("alice"));
    assert_eq!(world.rejected(by_suspended), Reason::UserSuspended);
    world.accepted(by_certificate(suspend("bob", false)));
    world.accepted(by_certificate(lock("bob")));
    let by_locked = by_user(&mut world, "bob", true, lock("alice"));
    assert_eq!(world.rejected(by_locked), Reason::UserLocked);
    let gone = by_certificate(lock("nobody"));
    assert_eq!(world.rejected(gone), Reason::UserNotFound);
    assert_eq!(world.rejected(by_certificate(lock(""))), Reason::UserNotFound);
}

#[test]
fn administrators_are_out_of_reach_of_each_other_but_not_of_a_certificate() {
    let mut world = with_root();
    let close = |localpart: &str| Action::CloseAccount(log::CloseAccount { localpart: localpart.into(), erase: false });
    for action in [lock("root"), reset("root", "$argon2id$x", 9), close("root")] {
        for user in ["bob", "root"] {
            let envelope = by_user(&mut world, user, true, action.clone());
            assert_eq!(world.rejected(envelope), Reason::Forbidden, "{user} {action:?}");
        }
    }
    let own = by_user(&mut world, "bob", true, lock("bob"));
    assert_eq!(world.rejected(own), Reason::Forbidden);
    world.accepted(by_certificate(lock("root")));
    assert!(locked(&world, "root"));
}

#[test]
fn the_standing_changes_as_far_as_it_is_named_and_repeating_it_touches_nobody() {
    let mut world = with_root();
    let suspend = |suspended| {
        by_certificate(Action::SetStanding(log::SetStanding {
            localpart: "alice".into(),
            locked: None,
            suspended: Some(suspended),
        }))
    };
    world.accepted(by_certificate(lock("alice")));
    let applied = world.apply(vec![suspend(true), suspend(true)]);
    assert_eq!(applied[0].touched.sessions, ["alice"]);
    assert_eq!(applied[1].touched, Default::default());
    let standing = world.view().standing("alice").unwrap();
    assert!(standing.locked && standing.suspended);
    world.accepted(suspend(false));
    let standing = world.view().standing("alice").unwrap();
    assert!(standing.locked && !standing.suspended);
}

#[test]
fn a_password_is_reset_once_and_sessions_end_in_parts() {
    let mut world = with_root();
    for device in ["E", "F"] {
        let session = Some(session("alice", device, 0));
        let open = log::OpenSession { localpart: "alice".into(), session, password_version: 1, ..Default::default() };
        world.accepted(Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() });
    }
    let part = |world: &mut World, end: u32| {
        let envelope = by_certificate(reset("alice", "$argon2id$new", end));
        match world.accepted(envelope).kind {
            Some(outcome::Kind::SessionsClosed(closed)) => closed.more,
            other => panic!("{other:?}"),
        }
    };
    assert!(!part(&mut world, 0));
    assert_eq!(world.view().devices("alice").unwrap().len(), 3);
    assert!(part(&mut world, 2));
    assert!(!part(&mut world, 2));
    assert!(world.view().devices("alice").unwrap().is_empty());
    let account = world.view().account("alice").unwrap().unwrap();
    assert_eq!((account.password_hash.as_str(), account.password_version), ("$argon2id$new", 2));
    assert_eq!(world.view().devices("bob").unwrap().len(), 1);
    let empty = by_certificate(reset("alice", "", 0));
    assert_eq!(world.rejected(empty), Reason::Invalid);
}

#[test]
fn an_account_that_is_closed_leaves_its_rooms_and_closing_it_again_changes_nothing() {
    let mut world = with_root();
    world.public_room("alice");
    world.accepted(by_certificate(lock("alice")));
    let close = by_certificate(Action::CloseAccount(log::CloseAccount { localpart: "alice".into(), erase: true }));
    let first = world.accepted(close.clone());
    assert_eq!(
        first.kind,
        Some(outcome::Kind::DeactivationContinued(log::DeactivationContinued { rooms: 1, more: false }))
    );
    let account = world.view().account("alice").unwrap().unwrap();
    assert!(account.deactivated && !locked(&world, "alice"));
    assert!(world.view().devices("alice").unwrap().is_empty());
    assert!(world.view().rooms_of("alice").unwrap().iter().all(|room| room.kind == Membership::Leave));
    let rows = world.rows.clone();
    world.accepted(close);
    let changed: Vec<_> = world.rows.rows().filter(|row| !rows.rows().any(|old| old == *row)).collect();
    assert!(changed.iter().all(|(table, ..)| *table == Table::Meta));
    let late = by_certificate(lock("alice"));
    assert_eq!(world.rejected(late), Reason::UserNotFound);
}

#[test]
fn a_closed_account_can_be_erased_later() {
    let mut world = with_root();
    let named = log::SetProfile { display_name: Some("Alice".into()), ..Default::default() };
    let named = world.by("alice", Kind::SetProfile(named));
    world.accepted(named);
    let close = |erase| by_certificate(Action::CloseAccount(log::CloseAccount { localpart: "alice".into(), erase }));
    let done = outcome::Kind::DeactivationContinued(log::DeactivationContinued { rooms: 0, more: false });
    for (erase, name) in [(false, "Alice"), (true, ""), (true, ""), (false, "")] {
        assert_eq!(world.accepted(close(erase)).kind, Some(done.clone()));
        let account = crate::rows::account_row(&world.rows, "alice").unwrap().unwrap();
        let is_erased = name.is_empty();
        assert_eq!((account.display_name.as_str(), account.erased), (name, is_erased));
        assert_eq!(account.password_hash.is_empty(), is_erased);
    }
}
