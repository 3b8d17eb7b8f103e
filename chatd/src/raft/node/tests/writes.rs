//! Proposals through any node.

use super::{
    chat::{accepted, await_messages, message, messages, register, room},
    harness::{Cluster, Setup},
};
use crate::raft::{
    propose::{COMMAND_LIMIT, ProposeError, RateLimit},
    read_index::ReadFreshness,
};
use std::time::{Duration, Instant};

#[test]
fn every_node_takes_writes_and_the_same_transaction_id_is_applied_once() {
    let cluster = Cluster::started(3, Setup::default());
    let room_id = room(&cluster.nodes[cluster.follower()], "alice");
    for place in 0..3 {
        let id = format!("from-{place}");
        let first = cluster.nodes[place].propose(message("alice", &room_id, &id)).expect("applied");
        accepted(&first);
        assert!(!first.duplicate);
        // The retry goes to another node, as after a lost answer.
        let again = cluster.nodes[(place + 1) % 3].propose(message("alice", &room_id, &id)).expect("applied");
        assert!(again.duplicate);
        assert_eq!((again.position, again.kind), (first.position, first.kind));
    }
    let last = cluster.nodes[cluster.leader()].status().applied_index;
    for place in 0..3 {
        cluster.wait(place, "caught up", |status| status.applied_index >= last);
        await_messages(&cluster, place, &room_id, &["from-0", "from-1", "from-2"]);
    }
}

#[test]
fn forwarded_writes_survive_the_leaders_death_exactly_once() {
    let mut cluster = Cluster::started(3, Setup::default());
    let (leader, other) = (cluster.leader(), cluster.follower());
    let room_id = room(&cluster.nodes[other], "alice");
    let ids: Vec<String> = (0..300).map(|n| format!("m{n:03}")).collect();
    // In flight over the forward stream when the leader stops: the outcome is unknown, and the same id is tried again.
    let sending: Vec<_> = ids
        .iter()
        .map(|id| {
            let envelope = message("alice", &room_id, id);
            cluster.nodes[other].spawn(move |node| async move { node.proposer.propose(envelope).await })
        })
        .collect();
    cluster.kill(leader);
    for sent in sending {
        accepted(&cluster.join(sent).expect("applied"));
    }
    // The outcomes came from the leader; this node may be a moment behind.
    assert_eq!(cluster.nodes[other].read(), ReadFreshness::Linearizable);
    let mut found = messages(&cluster.nodes[other], "alice", &room_id);
    found.sort();
    assert_eq!(found, ids);
}

#[test]
fn many_writers_share_entries_and_each_gets_its_own_outcome() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, other) = (cluster.leader(), cluster.follower());
    let room_id = room(&cluster.nodes[other], "alice");
    let before = cluster.nodes[leader].status().last_log_index;
    let start = Instant::now();
    let outcomes: Vec<_> = (0..2000)
        .map(|n| {
            let envelope = message("alice", &room_id, &n.to_string());
            cluster.nodes[other].spawn(move |node| async move { node.proposer.propose(envelope).await })
        })
        .collect();
    let mut positions: Vec<_> = outcomes
        .into_iter()
        .map(|sent| cluster.join(sent).expect("applied"))
        .map(|outcome| outcome.position.map(|at| (at.index, at.ordinal)).expect("has one"))
        .collect();
    let took = start.elapsed();
    let entries = cluster.nodes[leader].status().last_log_index - before;
    println!("2000 forwarded writes in {entries} entries, {took:?}");
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), 2000, "two writes have one position");
    assert!(entries < 1000, "commands were not packed: {entries} entries");
}

#[test]
fn a_user_over_the_limit_waits_but_a_retry_of_an_accepted_write_passes() {
    let limit = RateLimit { burst: 2, per: Duration::from_secs(600) };
    let cluster = Cluster::started(1, Setup { rate_limit: Some(limit), ..Setup::default() });
    let node = &cluster.nodes[0];
    let room_id = room(node, "alice");
    accepted(&node.propose(message("alice", &room_id, "one")).expect("applied"));
    // The duplicate returns its token.
    assert!(node.propose(message("alice", &room_id, "one")).expect("applied").duplicate);
    accepted(&node.propose(message("alice", &room_id, "two")).expect("applied"));
    let refused = node.propose(message("alice", &room_id, "three"));
    assert!(matches!(refused, Err(ProposeError::RateLimited { retry_after }) if retry_after > Duration::from_secs(60)));
    assert!(node.propose(message("alice", &room_id, "two")).expect("not refused").duplicate);
    accepted(&node.propose(register("bob")).expect("without an address, registrations are not limited"));
}

#[test]
fn a_follower_passes_the_leaders_limit_on() {
    let limit = RateLimit { burst: 1, per: Duration::from_secs(600) };
    let cluster = Cluster::started(3, Setup { rate_limit: Some(limit), ..Setup::default() });
    let node = &cluster.nodes[cluster.follower()];
    let room_id = room(node, "alice");
    accepted(&node.propose(message("alice", &room_id, "one")).expect("applied"));
    let refused = node.propose(message("alice", &room_id, "two"));
    assert!(matches!(refused, Err(ProposeError::RateLimited { .. })), "{refused:?}");
}

#[test]
fn without_a_leader_a_write_ends_in_time_and_says_whether_it_may_have_happened() {
    let setup = Setup { write_wait: Some(Duration::from_millis(1500)), ..Setup::default() };
    let mut cluster = Cluster::started(3, setup);
    let room_id = room(&cluster.nodes[0], "alice");
    let left = cluster.follower();
    for place in (0..3).filter(|place| *place != left).collect::<Vec<_>>() {
        cluster.kill(place);
    }
    cluster.wait(left, "without a leader", |status| status.leader.is_none());
    let start = Instant::now();
    let lost = cluster.nodes[left].propose(message("alice", &room_id, "lost"));
    assert!(matches!(lost, Err(ProposeError::NoLeader | ProposeError::Unknown { .. })), "{lost:?}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn what_is_too_large_or_too_late_is_refused_at_once() {
    let cluster = Cluster::started(1, Setup::default());
    let node = &cluster.nodes[0];
    let large = message("alice", &"x".repeat(COMMAND_LIMIT), "large");
    assert!(matches!(node.propose(large), Err(ProposeError::TooLarge { .. })));
    node.run(|node| async move { node.stop(Duration::from_secs(10)).await }).expect("closes the log");
    assert_eq!(node.propose(message("alice", "!r:s", "late")), Err(ProposeError::Stopping));
}

#[test]
fn what_nobody_waits_for_any_more_is_not_appended() {
    let cluster = Cluster::started(3, Setup::default());
    let leader = cluster.leader();
    let room_id = room(&cluster.nodes[leader], "alice");
    let before = cluster.nodes[leader].status().last_log_index;
    let followers: Vec<_> = (0..3).filter(|place| *place != leader).collect();
    followers.iter().for_each(|place| cluster.nodes[*place].proxy.cut());
    // A few entries are in flight; the rest waits in the queue, for less than the lease.
    let given_up: Vec<_> = (0..2000)
        .map(|n| {
            let envelope = message("alice", &room_id, &format!("m{n}"));
            cluster.nodes[leader].spawn(move |node| async move {
                tokio::time::timeout(Duration::from_millis(100), node.proposer.propose(envelope)).await.is_ok()
            })
        })
        .collect();
    for task in given_up {
        // Some of the first may have been answered after all, which does not matter.
        let _ = cluster.join(task);
    }
    followers.iter().for_each(|place| cluster.nodes[*place].proxy.heal());
    accepted(&cluster.nodes[leader].propose(message("alice", &room_id, "last")).expect("applied"));
    let entries = cluster.nodes[leader].status().last_log_index - before;
    assert!(entries <= 10, "{entries} entries for what nobody waits for");
}
