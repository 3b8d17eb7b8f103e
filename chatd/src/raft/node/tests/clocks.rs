//! Wrong clocks: what they must not do to the log, which node leads then, and how earlier damage is repaired.

use super::{
    chat::{accepted, message, messages, register, retention, room},
    harness::{Cluster, Setup, TestNode, until},
};
use crate::raft::{clock::system_clock, cluster::NodeReadiness, membership::AdminError};
use crate::store::StateStore as _;
use quorate_core::{
    proto::log::{Envelope, Outcome, Reason, command::Kind, outcome},
    query::StateView,
};
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const FAR_MS: i64 = 400 * DAY_MS;

/// Returns the log's time as this node has applied it, minus the machine's time, in milliseconds.
fn log_time(node: &TestNode) -> i64 {
    let rows = node.store().view();
    let time_ms = StateView::open(&rows).expect("bootstrapped").time_ms();
    i64::try_from(time_ms).expect("fits") - i64::try_from(system_clock()()).expect("fits")
}

/// Returns the registration of a user whose session ends after this time without use.
fn register_for(user: &str, lifetime_ms: i64) -> Envelope {
    let mut envelope = register(user);
    if let Some(Kind::Register(register)) = envelope.command.as_mut().and_then(|command| command.kind.as_mut())
        && let Some(session) = &mut register.session
    {
        session.lifetime_ms = lifetime_ms.unsigned_abs();
    }
    envelope
}

fn rejected(outcome: &Outcome) -> Option<Reason> {
    match &outcome.kind {
        Some(outcome::Kind::Rejected(rejected)) => Some(rejected.reason()),
        _ => None,
    }
}

fn sent_at(outcome: &Outcome) -> u64 {
    match &outcome.kind {
        Some(outcome::Kind::EventSent(sent)) => sent.origin_server_ts,
        other => panic!("not sent: {other:?}"),
    }
}

fn wrong(status: &crate::raft::cluster::NodeStatus) -> bool {
    matches!(status.readiness, NodeReadiness::ClockWrong { .. })
}

#[test]
fn leadership_moved_to_a_wrong_clock_comes_back_and_nothing_is_stamped_with_it() {
    for ahead in [FAR_MS, -FAR_MS] {
        let cluster = Cluster::started(3, Setup::default());
        let (right, off) = (cluster.leader(), cluster.follower());
        accepted(&cluster.nodes[right].propose(register_for("bob", DAY_MS)).expect("applied"));
        let room_id = room(&cluster.nodes[right], "alice");
        cluster.nodes[off].set_clock_ahead(ahead);
        let (off_id, term) = (cluster.nodes[off].id(), cluster.nodes[right].status().term);
        cluster.nodes[right].force_leader(off_id);
        // The write goes through the wrong pod while it leads, and waits for another leader.
        let during = cluster.nodes[off].propose(message("alice", &room_id, "during")).expect("applied");
        accepted(&during);
        cluster.wait(right, "led by a right clock", |status| {
            status.term > term && status.leader.is_some_and(|id| id != off_id)
        });
        let after = cluster.nodes[right].propose(message("alice", &room_id, "after")).expect("applied");
        assert!(sent_at(&after) >= sent_at(&during));
        for (place, node) in cluster.nodes.iter().enumerate() {
            let applied = after.position.expect("a position").index;
            cluster.wait(place, "caught up", |status| status.applied_index >= applied);
            assert!(log_time(node).abs() < HOUR_MS, "{} is off by {} ms", node.name, log_time(node));
        }
        // Sessions are unchanged, for writes and for reads, on every pod.
        let by_bob = super::chat::create_room("bob");
        accepted(&cluster.nodes[off].propose(by_bob).expect("applied"));
        let judged = cluster.nodes[off].node().cluster.time().now_ms();
        assert!(judged.abs_diff(system_clock()()) < HOUR_MS.unsigned_abs(), "reads go by the leader's time");

        cluster.wait(off, "not ready, for its clock", wrong);
        let reason = cluster.nodes[off].status().readiness.reason();
        assert!(reason.contains("clock is 400 days"), "{reason}");
        assert_eq!(cluster.nodes[right].status().readiness, NodeReadiness::Ready);
        cluster.nodes[off].set_clock_ahead(0);
        cluster.wait(off, "ready again", |status| status.readiness == NodeReadiness::Ready);
    }
}

#[test]
fn with_one_voter_down_the_log_tells_which_of_two_clocks_is_right_and_history_stays() {
    let setup = Setup { history_every: Some(Duration::from_millis(20)), ..Setup::default() };
    let mut cluster = Cluster::started(3, setup);
    let (right, off) = (cluster.leader(), cluster.follower());
    let down = (0..3).find(|place| *place != right && *place != off).expect("three");
    let room_id = room(&cluster.nodes[right], "alice");
    accepted(&cluster.nodes[right].propose(retention("alice", &room_id, HOUR_MS.unsigned_abs())).expect("applied"));
    accepted(&cluster.nodes[right].propose(message("alice", &room_id, "fresh")).expect("applied"));
    cluster.kill(down);
    cluster.nodes[off].set_clock_ahead(FAR_MS);
    let (off_id, term) = (cluster.nodes[off].id(), cluster.nodes[right].status().term);
    cluster.nodes[right].force_leader(off_id);
    cluster.wait(right, "led by a right clock", |status| {
        status.term > term && status.leader.is_some_and(|id| id != off_id)
    });
    accepted(&cluster.nodes[off].propose(message("alice", &room_id, "after")).expect("applied"));
    assert!(log_time(&cluster.nodes[right]).abs() < HOUR_MS);
    assert_eq!(messages(&cluster.nodes[right], "alice", &room_id), ["fresh", "after"]);
    cluster.wait(off, "not ready, for its clock", wrong);
    assert_eq!(messages(&cluster.nodes[right], "alice", &room_id), ["fresh", "after"]);
}

#[test]
fn two_clocks_that_nothing_tells_apart_hold_the_time_until_a_third_is_there() {
    let setup = Setup { history_every: Some(Duration::from_millis(20)), ..Setup::default() };
    let mut cluster = Cluster::started(3, setup);
    let room_id = room(&cluster.nodes[0], "alice");
    accepted(&cluster.nodes[0].propose(retention("alice", &room_id, HOUR_MS.unsigned_abs())).expect("applied"));
    accepted(&cluster.nodes[0].propose(message("alice", &room_id, "fresh")).expect("applied"));
    for place in 0..3 {
        cluster.kill(place);
    }
    // Both nodes have forgotten the last agreed time, and neither clock has it.
    cluster.nodes[0].set_clock_ahead(FAR_MS);
    cluster.nodes[1].set_clock_ahead(DAY_MS);
    cluster.start(0);
    cluster.start(1);
    accepted(&cluster.nodes[0].propose(message("alice", &room_id, "served")).expect("applied"));
    let leader = cluster.leader();
    assert!(log_time(&cluster.nodes[leader]).abs() < HOUR_MS, "{}", log_time(&cluster.nodes[leader]));
    assert!(!cluster.nodes[leader].status().time.confirmed);
    for place in 0..2 {
        cluster.wait(place, "ready", |status| status.readiness == NodeReadiness::Ready);
    }
    cluster.nodes[2].set_clock_ahead(DAY_MS);
    cluster.start(2);
    until("the majority's time is the log's", || {
        let said = cluster.nodes[2].propose(message("alice", &room_id, "asks")).expect("applied");
        accepted(&said);
        let leader = cluster.leader();
        (log_time(&cluster.nodes[leader]) - DAY_MS).abs() < HOUR_MS
    });
    cluster.wait(0, "not ready, for its clock", wrong);
}

#[test]
fn a_week_without_an_entry_passes_and_a_log_that_ran_ahead_is_repaired() {
    let cluster = Cluster::started(3, Setup::default());
    accepted(&cluster.nodes[0].propose(register_for("bob", DAY_MS)).expect("applied"));
    let room_id = room(&cluster.nodes[0], "alice");
    for node in &cluster.nodes {
        node.set_clock_ahead(7 * DAY_MS);
    }
    until("a week has passed in the log", || {
        accepted(&cluster.nodes[1].propose(message("alice", &room_id, "tick")).expect("applied"));
        (log_time(&cluster.nodes[cluster.leader()]) - 7 * DAY_MS).abs() < HOUR_MS
    });
    let expired = cluster.nodes[2].propose(super::chat::create_room("bob")).expect("answered");
    assert_eq!(rejected(&expired), Some(Reason::SessionExpired));

    for node in &cluster.nodes {
        node.set_clock_ahead(0);
    }
    for place in 0..3 {
        cluster.wait(place, "aware of it", |status| status.time.log_ahead_ms > 6 * DAY_MS.unsigned_abs());
        assert_eq!(cluster.nodes[place].status().time.wrong_by(), None);
    }
    let repaired = cluster.nodes[1].run(|node| async move { node.administration.repair_time().await });
    let repaired = repaired.expect("the clocks agree");
    assert!(repaired.before_ms > repaired.after_ms);
    let said = cluster.nodes[2].propose(message("alice", &room_id, "after")).expect("applied");
    assert!(sent_at(&said).abs_diff(system_clock()()) < HOUR_MS.unsigned_abs());
    accepted(&cluster.nodes[2].propose(super::chat::create_room("bob")).expect("applied"));
    let again = cluster.nodes[0].run(|node| async move { node.administration.repair_time().await }).expect("works");
    assert_eq!(again.before_ms, again.after_ms, "nothing is left to repair");
    for place in 0..3 {
        cluster.wait(place, "right again", |status| status.time.log_ahead_ms == 0 && status.time.confirmed);
        quorate_core::invariant::check_all(&cluster.nodes[place].store().view()).expect("the invariants hold");
    }
}

#[test]
fn leadership_is_not_handed_to_a_wrong_clock() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, off) = (cluster.leader(), cluster.follower());
    let (off_id, leader_id) = (cluster.nodes[off].id(), cluster.nodes[leader].id());
    cluster.nodes[off].set_clock_ahead(HOUR_MS);
    cluster.wait(off, "known to be wrong", |status| status.time.wrong_by().is_some());
    until("the leader has heard its clock, too", || {
        let time = cluster.nodes[leader].node().cluster.time().clone();
        time.offset_of(off_id).is_some_and(|offset| offset > HOUR_MS / 2)
    });
    let transfer = |to: Option<u64>| {
        cluster.nodes[leader]
            .run(move |node| async move { node.administration.transfer_leader(to, Duration::from_secs(5)).await })
    };
    let refused = transfer(Some(off_id)).expect_err("its clock is wrong");
    assert!(matches!(&refused, AdminError::Refused(why) if why.contains("clock")), "{refused}");
    assert_eq!(cluster.nodes[leader].status().leader, Some(leader_id));
    let (taker, _) = transfer(None).expect("the third is right");
    assert!(taker != off_id && taker != leader_id);
}
