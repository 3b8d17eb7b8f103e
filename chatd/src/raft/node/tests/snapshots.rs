//! Snapshots between whole nodes: a leader that freezes during a transfer, and the log behind a transfer in progress.

use super::{
    chat::room,
    compaction::write,
    harness::{Cluster, Setup, TestNode, until},
};
use std::time::Duration;

/// Rate, in bytes per second: slow enough that a transfer is in progress when a test checks.
const RATE: u64 = 1 << 20;

fn compact(node: &TestNode) {
    node.run(|node| async move { node.administration.take_snapshot(true).await }).expect("takes one");
}

/// Returns `true` while the node receives a snapshot.
fn receives(node: &TestNode) -> bool {
    let incoming = std::fs::read_dir(node.dir.path().join("state/incoming"));
    incoming.is_ok_and(|mut found| found.next().is_some())
}

/// Starts a cluster of three in which the last of the returned places needs a snapshot of 2 MiB, and is receiving it.
fn receiving(setup: Setup) -> (Cluster, [usize; 3], String) {
    let mut cluster = Cluster::started(3, Setup { keep_entries: 0, send_rate: Some(RATE), ..setup });
    let (leader, away) = (cluster.leader(), cluster.follower());
    let other = (0..3).find(|place| ![leader, away].contains(place)).expect("three");
    let room_id = room(&cluster.nodes[leader], "alice");
    cluster.kill(away);
    write(&cluster.nodes[leader], &room_id, 0..40);
    let applied = cluster.nodes[leader].status().applied_index;
    cluster.wait(other, "caught up", |status| status.applied_index >= applied);
    for place in [leader, other] {
        compact(&cluster.nodes[place]);
        cluster.wait(place, "purged", |status| status.purged_index >= applied);
    }
    cluster.start(away);
    until("the snapshot is on its way", || receives(&cluster.nodes[away]));
    (cluster, [leader, other, away], room_id)
}

#[test]
fn a_leader_that_freezes_while_it_sends_a_snapshot_does_not_hold_up_the_next_one() {
    let patient = Setup {
        receive_stall: Some(Duration::from_secs(3600)),
        write_wait: Some(Duration::from_secs(120)),
        ..Setup::default()
    };
    let (cluster, [leader, other, away], room_id) = receiving(patient);
    let _frozen = cluster.nodes[leader].freeze();
    let started = std::time::Instant::now();
    // Two of three nodes run, and one of them needs the snapshot before it can complete a majority.
    write(&cluster.nodes[other], &room_id, 40..41);
    println!("a write was committed {:?} after the leader froze", started.elapsed());
    let applied = cluster.nodes[other].status().applied_index;
    cluster.wait(away, "caught up", |status| status.applied_index >= applied);
}

#[test]
fn the_log_behind_a_snapshot_that_is_under_way_is_kept() {
    let (cluster, [leader, _, away], room_id) = receiving(Setup::default());
    let sent = cluster.nodes[leader].status().snapshot_index;
    write(&cluster.nodes[leader], &room_id, 40..60);
    compact(&cluster.nodes[leader]);
    let status = cluster.nodes[leader].status();
    assert!(status.snapshot_index > sent && status.purged_index <= sent, "{sent}: {status:?}");
    let applied = status.applied_index;
    cluster.wait(away, "caught up", |status| status.applied_index >= applied);
    assert_eq!(cluster.nodes[away].status().snapshot_index, sent, "one snapshot was enough");
}
