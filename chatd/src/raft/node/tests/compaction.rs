//! Purging of the log by size and by time: never further than a checkpoint covers, and not so far that a restart needs
//! one.

use super::{
    chat::{accepted, room},
    harness::{Cluster, Setup, TestNode, until},
};
use quorate_core::proto::log::{Command, Envelope, SendEvent, command::Kind};
use std::time::Duration;

const KEPT: u64 = 10;
const NEVER: Duration = Duration::from_secs(1 << 30);

/// Returns a message of 48 KiB.
fn large(room_id: &str, transaction_id: &str) -> Envelope {
    let content = format!(r#"{{"body":"{}"}}"#, "x".repeat(48 << 10)).into_bytes().into();
    let event = SendEvent { room_id: room_id.into(), r#type: "m.room.message".into(), state_key: None, content };
    Envelope {
        user: "alice".into(),
        device_id: "D".into(),
        transaction_id: transaction_id.into(),
        command: Some(Command { kind: Some(Kind::SendEvent(event)) }),
        sequence: None,
        quotas: None,
        guess_count: None,
    }
}

pub(super) fn write(node: &TestNode, room_id: &str, numbers: std::ops::Range<u32>) {
    for n in numbers {
        accepted(&node.propose(large(room_id, &format!("m{n}"))).expect("applied"));
    }
}

fn log_bytes(node: &TestNode) -> u64 {
    let entries = std::fs::read_dir(node.dir.path().join("log")).expect("the log");
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

#[test]
fn a_log_that_grows_large_is_let_go_up_to_a_checkpoint() {
    const BYTES: u64 = 4 << 20;
    let cluster = Cluster::started(1, Setup { keep_entries: KEPT, compact: Some((BYTES, NEVER)), ..Setup::default() });
    let node = &cluster.nodes[0];
    let room_id = room(node, "alice");
    let mut largest = 0;
    // 15 MiB.
    for n in 0..320 {
        write(node, &room_id, n..n + 1);
        largest = largest.max(log_bytes(node));
    }
    until("the log is small again", || log_bytes(node) < BYTES);
    let status = node.status();
    // Fewer entries than `KEPT` stay where a segment begins among them and the log was too large.
    assert!(status.purged_index <= status.snapshot_index, "{status:?}");
    println!("15 MiB written, the log had {largest} bytes at most, {} at the end", log_bytes(node));
}

#[test]
fn a_log_of_few_large_entries_is_let_go_though_all_of_them_would_be_kept() {
    const BYTES: u64 = 4 << 20;
    let setup = Setup { keep_entries: 50_000, compact: Some((BYTES, NEVER)), ..Setup::default() };
    let cluster = Cluster::started(1, setup);
    let node = &cluster.nodes[0];
    let room_id = room(node, "alice");
    // 15 MiB.
    write(node, &room_id, 0..320);
    until("the log is small", || log_bytes(node) < BYTES);
    let status = node.status();
    assert!(status.purged_index > 100 && status.purged_index < status.last_log_index, "{status:?}");
    let snapshot = status.snapshot_index;
    // The remaining log does not cause another checkpoint.
    write(node, &room_id, 320..325);
    cluster.wait(0, "applied", |status| status.applied_index > snapshot);
    assert!(log_bytes(node) < BYTES);
}

#[test]
fn a_quiet_log_is_let_go_after_a_time() {
    let after = Duration::from_millis(200);
    let setup = Setup { keep_entries: 0, compact: Some((u64::MAX, after)), ..Setup::default() };
    let cluster = Cluster::started(1, setup);
    let room_id = room(&cluster.nodes[0], "alice");
    write(&cluster.nodes[0], &room_id, 0..3);
    let applied = cluster.nodes[0].status().applied_index;
    cluster.wait(0, "compacted", |status| status.snapshot_index >= applied && status.purged_index >= applied);
}

#[test]
fn nothing_is_let_go_that_no_complete_checkpoint_holds() {
    let setup = Setup { keep_entries: 0, compact: Some((u64::MAX, Duration::ZERO)), ..Setup::default() };
    let cluster = Cluster::started(1, setup);
    let node = &cluster.nodes[0];
    let room_id = room(node, "alice");
    write(node, &room_id, 0..3);
    let applied = node.status().applied_index;
    cluster.wait(0, "compacted", |status| status.purged_index >= applied);
    // From here on no checkpoint can be made, because a file is in the place of the directory.
    let (snapshots, aside) = (node.dir.path().join("state/snapshots"), node.dir.path().join("state/aside"));
    std::fs::rename(&snapshots, &aside).expect("moves");
    std::fs::write(&snapshots, "").expect("writes");
    let purged = node.status().purged_index;
    write(node, &room_id, 3..60);
    let status = node.status();
    assert_eq!((status.purged_index, status.snapshot_index), (purged, purged), "{status:?}");
    std::fs::remove_file(&snapshots).expect("removes");
    std::fs::rename(&aside, &snapshots).expect("moves");
    let applied = status.applied_index;
    cluster.wait(0, "compacted again", |status| status.purged_index >= applied);
}

#[test]
fn a_pod_that_was_away_for_a_moment_catches_up_from_the_log() {
    let mut cluster = Cluster::started(3, Setup { keep_entries: 100, ..Setup::default() });
    let (leader, away) = (cluster.leader(), cluster.follower());
    let room_id = room(&cluster.nodes[leader], "alice");
    cluster.kill(away);
    write(&cluster.nodes[leader], &room_id, 0..20);
    let taken = cluster.nodes[leader].run(|node| async move { node.administration.take_snapshot(true).await });
    taken.expect("takes one");
    let applied = cluster.nodes[leader].status().applied_index;
    cluster.start(away);
    cluster.wait(away, "caught up", |status| status.applied_index >= applied);
    assert_eq!(cluster.nodes[away].status().snapshot_index, 0, "no snapshot was needed");
}
