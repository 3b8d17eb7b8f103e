//! Linearizable reads: they see every write that was acknowledged before them.

use super::{
    chat::{message, messages, room},
    harness::{Cluster, Setup},
};
use crate::raft::read_index::{ReadFreshness, ReadGateError};
use quorate_core::id::Position;
use std::time::{Duration, Instant};

#[test]
fn a_write_acknowledged_on_one_node_is_seen_by_the_next_read_on_any_other() {
    let cluster = Cluster::started(3, Setup::default());
    let room_id = room(&cluster.nodes[0], "alice");
    let mut sent = Vec::new();
    for n in 0..60 {
        let id = format!("m{n}");
        cluster.nodes[n % 3].propose(message("alice", &room_id, &id)).expect("applied");
        sent.push(id);
        let reader = &cluster.nodes[(n + 1) % 3];
        assert_eq!(reader.read(), ReadFreshness::Linearizable);
        assert_eq!(messages(reader, "alice", &room_id), sent);
    }
}

#[test]
fn many_reads_share_one_request() {
    let cluster = Cluster::started(3, Setup::default());
    let node = &cluster.nodes[cluster.follower()];
    let start = Instant::now();
    let reads: Vec<_> = (0..500).map(|_| node.spawn(|node| async move { node.reads.linearizable().await })).collect();
    for read in reads {
        let freshness = cluster.join(read);
        assert_eq!(freshness, Ok(ReadFreshness::Linearizable));
    }
    println!("500 linearizable reads at once on a follower: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn without_a_quorum_a_read_is_served_stale_and_says_so() {
    let mut cluster = Cluster::started(3, Setup::default());
    let left = cluster.leader();
    for place in (0..3).filter(|place| *place != left).collect::<Vec<_>>() {
        cluster.kill(place);
    }
    let start = Instant::now();
    assert_eq!(cluster.nodes[left].read(), ReadFreshness::Stale, "its leadership is not confirmed by anyone");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_position_not_applied_here_is_waited_for_and_not_for_ever() {
    let cluster = Cluster::started(1, Setup::default());
    let node = &cluster.nodes[0];
    let reached = |position: Position| {
        node.run(move |node| async move { node.reads.applied_at_least(position, Duration::from_millis(50)).await })
    };
    assert_eq!(reached(Position::end_of_entry(0, 1)), Ok(()));
    assert_eq!(reached(Position::end_of_entry(0, 1_000_000)), Err(ReadGateError::Behind));
}
