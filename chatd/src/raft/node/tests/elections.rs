//! Elections and transfers of leadership.

use super::{
    chat::{accepted, await_messages, message, room},
    harness::{Cluster, Setup},
};
use crate::raft::{leadership::Leadership, membership::AdminError};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

#[test]
fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::started(3, Setup::default());
    let old = cluster.leader();
    let other = cluster.follower();
    let room_id = room(&cluster.nodes[other], "alice");
    for n in 0..20 {
        accepted(&cluster.nodes[other].propose(message("alice", &room_id, &format!("before-{n}"))).expect("applied"));
    }
    let term = cluster.nodes[old].status().term;
    cluster.kill(old);
    let killed = Instant::now();
    // The command goes to a follower that still believes in the old leader, and waits for the next one.
    accepted(&cluster.nodes[other].propose(message("alice", &room_id, "after")).expect("applied"));
    let gap = killed.elapsed();
    println!("write gap after the leader was killed: {gap:?}");
    assert!(gap < Duration::from_millis(2500), "{gap:?}");
    let new = cluster.leader();
    assert!(cluster.nodes[new].status().term > term);

    cluster.start(old);
    let last = cluster.nodes[new].status().applied_index;
    let back = cluster.wait(old, "caught up", |status| status.applied_index >= last && status.leader.is_some());
    println!("the killed node was caught up again after {back:?}");
    let mut expected: Vec<_> = (0..20).map(|n| format!("before-{n}")).collect();
    expected.push("after".into());
    for place in 0..3 {
        await_messages(&cluster, place, &room_id, &expected);
    }
}

#[test]
fn leadership_moves_under_load_without_an_error_and_with_a_short_gap() {
    let cluster = Cluster::started(3, Setup::default());
    let (old, other) = (cluster.leader(), cluster.follower());
    let room_id = room(&cluster.nodes[other], "alice");
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (sent, gap) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut sent, mut gap, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
            while !stop.load(Ordering::Relaxed) {
                let id = format!("m{}", sent.len());
                accepted(&cluster.nodes[old].propose(message("alice", &room_id, &id)).expect("applied"));
                gap = gap.max(last.elapsed());
                last = Instant::now();
                sent.push(id);
                count.store(sent.len(), Ordering::Relaxed);
            }
            (sent, gap)
        });
        for _ in 0..3 {
            let leader = cluster.leader();
            let (to, term) = cluster.nodes[leader]
                .run(|node| async move { node.administration.transfer_leader(None, Duration::from_secs(5)).await })
                .expect("hands over");
            let place = cluster.nodes.iter().position(|node| node.id() == to).expect("a member");
            assert_ne!(place, leader);
            cluster.wait(place, "leading", |status| status.leads() && status.term == term);
            let seen = count.load(Ordering::Relaxed);
            cluster.wait(place, "taking writes", |_| count.load(Ordering::Relaxed) > seen + 50);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic")
    });
    println!("{} writes over 3 transfers, longest gap {gap:?}", sent.len());
    assert!(gap < Duration::from_secs(1), "{gap:?}");
    let last = cluster.nodes[cluster.leader()].status().applied_index;
    for place in 0..3 {
        cluster.wait(place, "caught up", |status| status.applied_index >= last);
        await_messages(&cluster, place, &room_id, &sent);
    }
}

#[test]
fn a_follower_that_hears_nothing_does_not_unseat_a_leader_that_works() {
    let cluster = Cluster::started(3, Setup::default());
    let (leader, deaf) = (cluster.leader(), cluster.follower());
    let before = cluster.nodes[leader].status();
    cluster.nodes[deaf].proxy.cut();
    cluster.wait(deaf, "without a leader", |status| status.leader.is_none());
    // The cut-off node starts an election now and then: each time the others hear their leader, and refuse their
    // pre-votes.
    let room_id = room(&cluster.nodes[leader], "alice");
    let end = Instant::now() + Duration::from_secs(3);
    let mut sent = Vec::new();
    while Instant::now() < end {
        let id = format!("m{}", sent.len());
        accepted(&cluster.nodes[leader].propose(message("alice", &room_id, &id)).expect("applied"));
        sent.push(id);
    }
    let during = cluster.nodes[leader].status();
    assert_eq!((during.term, during.leader), (before.term, before.leader), "an election took place");
    cluster.nodes[deaf].proxy.heal();
    let last = during.applied_index;
    let back = cluster.wait(deaf, "back", |status| status.applied_index >= last && status.leader == before.leader);
    println!("found again {back:?} after the cut was healed");
    assert!(back < Duration::from_secs(5), "{back:?}");
    assert_eq!(cluster.nodes[leader].status().term, before.term, "its return caused an election");
    await_messages(&cluster, deaf, &room_id, &sent);
}

#[test]
fn a_leader_without_its_quorum_names_none_and_serves_again_when_the_others_return() {
    let mut cluster = Cluster::started(3, Setup { write_wait: Some(Duration::from_secs(20)), ..Setup::default() });
    let leader = cluster.leader();
    let room_id = room(&cluster.nodes[leader], "alice");
    let others: Vec<usize> = (0..3).filter(|place| *place != leader).collect();
    for place in &others {
        cluster.kill(*place);
    }
    let noticed = cluster.wait(leader, "without a leader", |status| status.leader.is_none());
    println!("a leader without its quorum named none after {noticed:?}");
    assert!(noticed < Duration::from_secs(3), "{noticed:?}");
    // The leader's lease has expired: the write waits here, and is not refused.
    let waiting = cluster.nodes[leader].spawn({
        let envelope = message("alice", &room_id, "meanwhile");
        |node| async move { node.proposer.propose(envelope).await }
    });
    cluster.start(others[0]);
    let outcome = cluster.join(waiting).expect("applied");
    accepted(&outcome);
    cluster.start(others[1]);
    let last = cluster.nodes[cluster.leader()].status().applied_index;
    for place in 0..3 {
        cluster.wait(place, "caught up", |status| status.applied_index >= last);
        await_messages(&cluster, place, &room_id, &["meanwhile"]);
    }
}

#[test]
fn leadership_is_not_handed_to_nobody_to_strangers_or_to_the_silent() {
    let single = Cluster::started(1, Setup::default());
    let transfer = |cluster: &Cluster, place: usize, to: Option<u64>| {
        cluster.nodes[place]
            .run(move |node| async move { node.administration.transfer_leader(to, Duration::from_secs(1)).await })
    };
    assert!(matches!(transfer(&single, 0, None), Err(AdminError::Refused(_))), "a single voter");
    assert!(single.nodes[0].status().leads());

    let mut cluster = Cluster::started(3, Setup::default());
    let (leader, silent) = (cluster.leader(), cluster.follower());
    let [leader_id, silent_id] = [leader, silent].map(|place| cluster.nodes[place].id());
    assert!(
        matches!(transfer(&cluster, silent, None), Err(AdminError::NotLeader { leader: Some(id) }) if id == leader_id)
    );
    assert!(matches!(transfer(&cluster, leader, Some(4711)), Err(AdminError::Refused(_))), "a stranger");
    assert!(matches!(transfer(&cluster, leader, Some(leader_id)), Err(AdminError::Refused(_))), "itself");
    cluster.kill(silent);
    cluster.wait(leader, "without the silent one", |status| {
        status.progress_of(silent_id).and_then(|p| p.contact_age).is_none_or(|age| age > Duration::from_millis(500))
    });
    assert!(matches!(transfer(&cluster, leader, Some(silent_id)), Err(AdminError::Refused(_))), "the silent one");
    assert!(cluster.nodes[leader].status().leads(), "nothing was started");
    let (taker, _) = transfer(&cluster, leader, None).expect("the other voter is there");
    assert!(taker != leader_id && taker != silent_id);
}

/// Checks that the wait for another leader does not return at once: each retry would then follow the last, in a loop
/// that never yields.
#[test]
fn whoever_waits_for_another_leader_of_a_stopped_raft_waits_quietly() {
    let cluster = Cluster::started(1, Setup::default());
    let quiet = cluster.nodes[0].run(|node| async move {
        node.peer_listener.consensus.shutdown().await;
        let mut leadership = Leadership::of(node.own().node_id, &node.peer_listener.consensus);
        while leadership.changed().await {}
        tokio::time::timeout(Duration::from_millis(50), leadership.until_changed()).await.is_err()
    });
    assert!(quiet, "a stopped Raft has no next leader");
}
