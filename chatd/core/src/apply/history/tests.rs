use super::*;
use crate::id;
use crate::proto::log::command::Kind;
use crate::proto::log::set_membership::Change;
use crate::proto::log::{Envelope, HistoryPurged};
use crate::query::{FeedScope, QueryError, RelationQuery, SyncFilter, SyncRequest};
use crate::table::ScanDirection;
use crate::testing::{World, command, position, world};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn envelope(room: &str, before_ms: u64) -> Envelope {
    let purge = log::PurgeHistory { room_id: room.into(), before_ms };
    Envelope { command: command(Kind::PurgeHistory(purge)), ..Envelope::default() }
}

fn purge(world: &mut World, room: &str, before_ms: u64) -> HistoryPurged {
    match world.accepted(envelope(room, before_ms)).kind {
        Some(outcome::Kind::HistoryPurged(purged)) => purged,
        other => panic!("{other:?}"),
    }
}

fn shown(world: &World, room: RoomNumber) -> Vec<String> {
    let page = world.view().timeline("alice", room, Position::MAX, ScanDirection::Backward, 100).unwrap();
    page.events.into_iter().filter(|event| event.state_key.is_none()).map(|event| event.event_id).collect()
}

#[test]
fn what_was_said_before_a_time_goes_and_state_stays() {
    let mut world = world(&["alice"]);
    let (room, id) = world.public_room("alice");
    let name = world.set("alice", &id, "m.room.name", r#"{"name":"old"}"#);
    let old = world.say("alice", &id, "old");
    world.set("alice", &id, "m.room.name", r#"{"name":"new"}"#);
    let new = world.say("alice", &id, "new");
    let before = world.view().event("alice", &id::event_id(new)).unwrap().origin_server_ts;
    let state = world.view().state(room, None).unwrap();
    assert_eq!(purge(&mut world, &id, before), HistoryPurged { events: 1, more: false });
    assert_eq!(shown(&world, room), [id::event_id(new)]);
    assert!(matches!(world.view().event("alice", &id::event_id(old)), Err(QueryError::EventNotFound)));
    assert_eq!(world.view().state(room, None).unwrap(), state);
    let then = world.view().state_event(room, "m.room.name", "", Some(old)).unwrap().unwrap();
    assert_eq!(then.position, name, "the state at an event that is gone");
    assert_eq!(purge(&mut world, &id, before), HistoryPurged::default(), "nothing is left to do");
}

#[test]
fn a_room_lets_go_what_its_own_rule_no_longer_keeps() {
    let mut world = world(&["alice"]);
    let (room, id) = world.public_room("alice");
    let said = world.say("alice", &id, "x");
    assert_eq!(purge(&mut world, &id, 0).events, 0, "there is no rule");
    world.set("alice", &id, "m.room.retention", r#"{"max_lifetime":60000}"#);
    assert_eq!(purge(&mut world, &id, 0).events, 0, "it is young");
    assert!(!world.view().has_expired(room, world.time_ms).unwrap());
    world.time_ms += 60_001;
    assert!(world.view().has_expired(room, world.time_ms).unwrap());
    assert_eq!(purge(&mut world, &id, 0).events, 1);
    assert!(world.view().event("alice", &id::event_id(said)).is_err());
    assert!(!world.view().has_expired(room, world.time_ms).unwrap());
    let envelope = world.event("alice", &id, "m.room.retention", Some(""), r#"{"max_lifetime":-1}"#);
    assert_eq!(world.rejected(envelope), Reason::Invalid);
}

#[test]
fn a_rule_that_is_redacted_is_no_rule() {
    let mut world = world(&["alice"]);
    let (_, id) = world.public_room("alice");
    world.say("alice", &id, "x");
    let rule = world.set("alice", &id, "m.room.retention", r#"{"max_lifetime":1}"#);
    let redact = log::Redact { room_id: id.clone(), event_id: id::event_id(rule), reason: String::new() };
    let redact = world.by("alice", Kind::Redact(redact));
    world.accepted(redact);
    world.time_ms += DAY_MS;
    assert_eq!(purge(&mut world, &id, 0).events, 0);
    // The redaction explains why the rule is empty, so it is kept with it.
    assert_eq!(purge(&mut world, &id, u64::MAX).events, 1);
    assert!(world.view().event("alice", &id::event_id(rule)).unwrap().redacted_because.is_some());
}

#[test]
fn relations_and_redactions_of_what_is_gone_leave_nothing_dangling() {
    let mut world = world(&["alice"]);
    let (room, id) = world.public_room("alice");
    let target = world.say("alice", &id, "x");
    let before = world.time_ms + 1;
    let content = format!(r#"{{"m.relates_to":{{"rel_type":"m.annotation","event_id":"{}"}}}}"#, id::event_id(target));
    let reaction = world.event("alice", &id, "m.reaction", None, &content);
    let reaction = position(&world.accepted(reaction));
    let redact = log::Redact { room_id: id.clone(), event_id: id::event_id(target), reason: String::new() };
    let redact = world.by("alice", Kind::Redact(redact));
    world.accepted(redact);
    assert_eq!(purge(&mut world, &id, before).events, 1);
    let which = RelationQuery { target, relation_type: None, event_type: None };
    let related = world.view().relations("alice", room, which, Position::MAX, ScanDirection::Backward, 10);
    assert!(related.is_err(), "{related:?}");
    assert!(world.view().event("alice", &id::event_id(reaction)).is_ok());
    assert_eq!(purge(&mut world, &id, u64::MAX).events, 2);
    assert_eq!(shown(&world, room), [""; 0]);
}

#[test]
fn a_retry_is_known_for_a_day_after_its_message_is_gone() {
    let mut world = world(&["alice"]);
    let (_, id) = world.public_room("alice");
    let envelope = world.event("alice", &id, "m.room.message", None, "{}");
    world.accepted(envelope.clone());
    purge(&mut world, &id, u64::MAX);
    assert!(world.accepted(envelope.clone()).duplicate);
    let later = world.event("alice", &id, "m.room.message", None, "{}");
    world.accepted(later.clone());
    world.time_ms += DAY_MS;
    purge(&mut world, &id, u64::MAX);
    assert!(!world.accepted(later).duplicate, "its row went with it");
}

#[test]
fn long_history_goes_in_parts_and_each_is_bounded() {
    let mut world = world(&["alice"]);
    let (room, id) = world.public_room("alice");
    let batches = MAX_EVENTS / 50 + 1;
    for _ in 0..batches {
        let envelopes = (0..50).map(|_| world.event("alice", &id, "t", None, "{}")).collect();
        world.apply(envelopes);
    }
    let first = purge(&mut world, &id, u64::MAX);
    assert!(first.more && first.events < MAX_EVENTS as u64 && first.events > 900, "{first:?}");
    let second = purge(&mut world, &id, u64::MAX);
    assert_eq!((first.events + second.events, second.more), (batches as u64 * 50, false));
    assert_eq!(shown(&world, room), [""; 0]);
}

#[test]
fn a_cursor_from_before_what_is_gone_is_told_so() {
    let mut world = world(&["alice", "bob"]);
    let (room, id) = world.public_room("alice");
    world.moved("bob", &id, Change::Join, "");
    let (_, quiet) = world.public_room("bob");
    let old = world.view().now();
    world.say("alice", &id, "x");
    let young = world.view().now();
    let kept = world.say("alice", &id, "y");
    let before = world.view().event("alice", &id::event_id(kept)).unwrap().origin_server_ts;
    purge(&mut world, &id, before);
    let view = world.view();
    for scope in [FeedScope::Room(room), FeedScope::Joined] {
        let told = view.events_after("bob", scope, old, 10);
        assert!(matches!(told, Err(QueryError::Purged)), "{told:?}");
        let seen = view.events_after("bob", scope, young, 10).unwrap().events;
        assert_eq!(seen.iter().map(|event| event.position).collect::<Vec<_>>(), [kept]);
    }
    let quiet = view.resolve_room(&quiet).unwrap();
    assert!(view.events_after("bob", FeedScope::Room(quiet), old, 10).unwrap().events.is_empty());
    let filter = SyncFilter::default();
    let sync = |since| {
        let request = SyncRequest { localpart: "bob", since: Some(since), full_state: false, filter: &filter };
        let room = view.sync(&request).unwrap().join.into_iter().find(|joined| joined.room == room).unwrap();
        (room.timeline.limited, room.timeline.events.len())
    };
    assert_eq!((sync(old), sync(young)), ((true, 1), (false, 1)));
}

#[test]
fn nobody_but_the_cluster_itself_removes_history() {
    let mut world = world(&["alice"]);
    let (_, id) = world.public_room("alice");
    let purge = log::PurgeHistory { room_id: id.clone(), before_ms: u64::MAX };
    let by_a_user = world.by("alice", Kind::PurgeHistory(purge));
    assert_eq!(world.rejected(by_a_user), Reason::Invalid);
    assert_eq!(world.rejected(envelope("!nowhere:a.org", 1)), Reason::RoomNotFound);
}

/// Checks messages that could not be removed otherwise: the time they are stamped with is 400 days ahead.
#[test]
fn messages_stamped_with_a_time_that_had_not_come_go_with_those_of_their_day() {
    let mut world = world(&["alice"]);
    let (room, id) = world.public_room("alice");
    world.set("alice", &id, "m.room.retention", r#"{"max_lifetime":60000}"#);
    let now = world.time_ms;
    world.time_ms += 400 * DAY_MS;
    world.say("alice", &id, "from the future");
    let repair = Envelope { command: command(Kind::RepairTime(log::RepairTime {})), ..Envelope::default() };
    world.time_ms = now;
    world.index += 1;
    let batch =
        log::Batch { time_ms: now, envelopes: vec![repair], time_trust: log::TimeTrust::Confirmed.into(), level: 0 };
    crate::apply::batch_in_place(&mut world.rows, world.index, &batch).unwrap();
    let after = world.say("alice", &id, "after the repair");
    assert!(!world.view().has_expired(room, world.time_ms).unwrap());
    assert_eq!(purge(&mut world, &id, 0).events, 0);
    world.time_ms = now + 59_990;
    world.say("alice", &id, "young");
    world.time_ms = now + 60_020;
    assert!(world.view().has_expired(room, world.time_ms).unwrap());
    assert_eq!(purge(&mut world, &id, 0).events, 2);
    assert!(world.view().event("alice", &id::event_id(after)).is_err());
    assert_eq!(shown(&world, room).len(), 1);
}
