use super::*;
use crate::apply::context::position_to_proto;
use crate::proto::log::Envelope;
use crate::proto::log::command::Kind;
use crate::testing::{World, command, world};
use bytes::Bytes;

fn with_pusher() -> World {
    let mut world = world(&["alice"]);
    let set = log::SetPusher {
        app_id: "app".into(),
        pushkey: "key".into(),
        kind: "http".into(),
        data: Bytes::from_static(b"{}"),
        ..log::SetPusher::default()
    };
    let set = world.by("alice", Kind::SetPusher(set));
    world.accepted(set);
    world
}

fn item(localpart: &str, index: u64) -> log::PushItem {
    let position = Some(position_to_proto(Position { index, ..Position::ZERO }));
    log::PushItem { localpart: localpart.into(), app_id: "app".into(), pushkey: "key".into(), position, room: 1 }
}

fn advance(advance: log::AdvancePush) -> Envelope {
    Envelope { command: command(Kind::AdvancePush(advance)), ..Envelope::default() }
}

fn waiting(world: &World) -> Vec<u64> {
    let items = world.view().waiting_pushes(None, 100).unwrap();
    items.into_iter().map(|item| item.at.index).collect()
}

#[test]
fn what_waits_is_kept_until_it_is_settled_and_can_be_said_again() {
    let mut world = with_pusher();
    let waits = log::AdvancePush {
        waiting: vec![item("alice", 1), item("alice", 2), item("nobody", 3)],
        examined: Some(position_to_proto(Position { index: 2, ..Position::ZERO })),
        ..log::AdvancePush::default()
    };
    world.accepted(advance(waits.clone()));
    world.accepted(advance(waits));
    assert_eq!(waiting(&world), [1, 2], "nobody has no pusher");
    assert_eq!(world.view().push_progress().unwrap().examined.map(|at| at.index), Some(2));
    let settled = log::AdvancePush {
        settled: vec![item("alice", 1)],
        examined: Some(position_to_proto(Position { index: 1, ..Position::ZERO })),
        ..log::AdvancePush::default()
    };
    world.accepted(advance(settled));
    assert_eq!(waiting(&world), [2]);
    let progress = world.view().push_progress().unwrap();
    assert_eq!(progress.examined.map(|at| at.index), Some(2), "it only moves forward");
    let beyond = log::AdvancePush { examined: Some(position_to_proto(Position::MAX)), ..log::AdvancePush::default() };
    world.accepted(advance(beyond));
    assert!(world.view().push_progress().unwrap().examined.unwrap() <= world.view().now());
}

#[test]
fn the_oldest_make_way_when_too_many_wait() {
    let mut world = with_pusher();
    let waits = (1..6).map(|index| item("alice", index)).collect();
    world.accepted(advance(log::AdvancePush { waiting: waits, max_waiting: 3, ..log::AdvancePush::default() }));
    assert_eq!(waiting(&world), [3, 4, 5]);
}

#[test]
fn what_waits_is_read_in_parts() {
    let mut world = with_pusher();
    let waits = (1..6).map(|index| item("alice", index)).collect();
    world.accepted(advance(log::AdvancePush { waiting: waits, ..log::AdvancePush::default() }));
    let view = world.view();
    let mut read = Vec::new();
    loop {
        let part = view.waiting_pushes(read.last(), 2).unwrap();
        if part.is_empty() {
            break;
        }
        assert!(part.len() <= 2);
        read.extend(part);
    }
    assert_eq!(read.iter().map(|item| item.at.index).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_rejected_pusher_goes_with_what_waits_unless_it_was_set_again() {
    let mut world = with_pusher();
    world.accepted(advance(log::AdvancePush { waiting: vec![item("alice", 1)], ..log::AdvancePush::default() }));
    let set_ms = world.view().pushers_of("alice").unwrap()[0].pusher.set_ms;
    let mut rejected = |set_ms| {
        let gone =
            log::RejectedPusher { localpart: "alice".into(), app_id: "app".into(), pushkey: "key".into(), set_ms };
        world.accepted(advance(log::AdvancePush { rejected: vec![gone], ..log::AdvancePush::default() }));
        (world.view().pushers_of("alice").unwrap().len(), waiting(&world).len())
    };
    assert_eq!(rejected(set_ms - 1), (1, 1));
    assert_eq!(rejected(set_ms), (0, 0));
    assert_eq!(rejected(set_ms), (0, 0));
}

#[test]
fn users_cannot_send_it_and_it_names_no_more_than_it_may() {
    let mut world = with_pusher();
    let foreign = world.by("alice", Kind::AdvancePush(log::AdvancePush::default()));
    assert_eq!(world.rejected(foreign), Reason::Invalid);
    let waits = vec![item("alice", 1); MAX_PUSH_ITEMS + 1];
    let large = advance(log::AdvancePush { waiting: waits, ..log::AdvancePush::default() });
    assert_eq!(world.rejected(large), Reason::TooLarge);
}
