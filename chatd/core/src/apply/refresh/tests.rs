use super::*;
use crate::proto::log::command::Kind;
use crate::proto::log::{Envelope, outcome};
use crate::query::SessionState;
use crate::testing::{World, command, session, world};

fn hash(name: &str) -> Bytes {
    format!("{name:.>32}").into()
}

/// Returns a world in which Alice's device "R" has the access token "a0" and the refresh token "r0".
fn with_refresh() -> World {
    let mut world = world(&["alice", "bob"]);
    let new = log::NewSession {
        token_hash: hash("a0"),
        refresh_hash: hash("r0"),
        access_lifetime_ms: 100,
        ..session("alice", "R", 1000)
    };
    let open =
        log::OpenSession { localpart: "alice".into(), session: Some(new), password_version: 1, ..Default::default() };
    world.accepted(Envelope { command: command(Kind::OpenSession(open)), ..Envelope::default() });
    world
}

fn refresh(old: &str, n: u32) -> Envelope {
    let refresh = log::RefreshSession {
        refresh_hash: hash(old),
        new_token_hash: hash(&format!("a{n}")),
        new_refresh_hash: hash(&format!("r{n}")),
        access_lifetime_ms: 100,
        lifetime_ms: 1000,
    };
    Envelope { command: command(Kind::RefreshSession(refresh)), ..Envelope::default() }
}

fn confirm(token: &str) -> Envelope {
    let confirm = log::ConfirmRefresh { token_hash: hash(token) };
    Envelope {
        user: "alice".into(),
        device_id: "R".into(),
        command: command(Kind::ConfirmRefresh(confirm)),
        ..Envelope::default()
    }
}

fn state(world: &World, token: &str) -> SessionState {
    world.view().session(&hash(token), world.time_ms).unwrap()
}

fn is_alive(world: &World, token: &str) -> bool {
    matches!(state(world, token), SessionState::Alive(_))
}

#[test]
fn a_refresh_gives_new_tokens_and_the_old_ones_last_until_a_new_one_is_used() {
    let mut world = with_refresh();
    assert!(is_alive(&world, "a0"));
    assert_eq!(state(&world, "r0"), SessionState::Unknown, "a refresh token opens nothing by itself");
    let first = world.accepted(refresh("r0", 1));
    assert!(matches!(&first.kind, Some(outcome::Kind::SessionOpened(opened)) if opened.device_id == "R"));
    assert_eq!(world.accepted(refresh("r0", 1)), log::Outcome { duplicate: true, ..first });
    assert!(is_alive(&world, "a0") && is_alive(&world, "a1"));
    assert!(matches!(state(&world, "a1"), SessionState::Alive(session) if session.confirms_refresh));
    assert!(matches!(state(&world, "a0"), SessionState::Alive(session) if !session.confirms_refresh));
    world.accepted(confirm("a1"));
    assert_eq!(state(&world, "a0"), SessionState::Unknown);
    assert!(matches!(state(&world, "a1"), SessionState::Alive(session) if !session.confirms_refresh));
    assert_eq!(world.rejected(refresh("r0", 2)), Reason::SessionEnded);
}

#[test]
fn a_client_that_lost_the_answer_refreshes_again_with_its_old_token() {
    let mut world = with_refresh();
    world.accepted(refresh("r0", 1));
    world.accepted(refresh("r0", 2));
    assert!(is_alive(&world, "a0") && is_alive(&world, "a2"));
    assert_eq!(state(&world, "a1"), SessionState::Unknown);
    assert_eq!(world.rejected(refresh("r1", 3)), Reason::SessionEnded);
    world.accepted(refresh("r2", 3));
    assert_eq!(state(&world, "a0"), SessionState::Unknown, "whoever has the newest refresh token needs no older token");
    assert!(is_alive(&world, "a2") && is_alive(&world, "a3"));
}

#[test]
fn an_access_token_expires_however_much_it_is_used_and_the_session_lasts() {
    let mut world = with_refresh();
    let extend = log::ExtendSession { token_hash: hash("a0"), lifetime_ms: 1000 };
    let extend = Envelope { command: command(Kind::ExtendSession(extend)), ..confirm("a0") };
    assert_eq!(world.rejected(extend), Reason::Invalid);
    world.time_ms += 100;
    assert_eq!(state(&world, "a0"), SessionState::Expired);
    world.accepted(refresh("r0", 1));
    assert!(is_alive(&world, "a1"));
    world.time_ms += 1000;
    assert_eq!(world.rejected(refresh("r1", 2)), Reason::SessionExpired);
}

#[test]
fn a_device_that_is_removed_takes_all_its_tokens_with_it() {
    let mut world = with_refresh();
    world.accepted(refresh("r0", 1));
    let remove = log::RemoveDevices { device_ids: vec!["R".into()] };
    let remove = world.by("alice", Kind::RemoveDevices(remove));
    world.accepted(remove);
    for token in ["a0", "a1", "r0", "r1"] {
        assert_eq!(state(&world, token), SessionState::Unknown);
    }
    assert_eq!(world.rejected(refresh("r1", 2)), Reason::SessionEnded);
}

#[test]
fn what_is_no_refresh_token_refreshes_nothing() {
    let mut world = with_refresh();
    for token in ["a0", "x"] {
        assert_eq!(world.rejected(refresh(token, 1)), Reason::SessionEnded);
    }
    let own = session("alice", "D", 0).token_hash;
    let taken = log::RefreshSession { new_token_hash: own, ..refresh_of(refresh("r0", 1)) };
    let taken = Envelope { command: command(Kind::RefreshSession(taken)), ..Envelope::default() };
    assert_eq!(world.rejected(taken), Reason::Invalid);
}

fn refresh_of(envelope: Envelope) -> log::RefreshSession {
    match envelope.command.and_then(|command| command.kind) {
        Some(Kind::RefreshSession(refresh)) => refresh,
        other => panic!("{other:?}"),
    }
}
