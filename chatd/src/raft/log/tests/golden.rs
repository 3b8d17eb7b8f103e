//! Golden bytes of the log, so that the format cannot change by accident.

use super::support::{all, append, entry, log_id, options, saved_vote, vote};
use crate::raft::log::sim_disk::SimDisk;
use crate::raft::log::{LogDisk as _, LogOptions, LogStore};
use crate::raft::types::{LogEntry, MembershipConfig, NodeAddresses};
use openraft::EntryPayload;
use openraft::storage::RaftLogStorage as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes that [`write`] writes in format version 1. They must never change: a new version gets a file of its own, and
/// this one must still be readable.
const VERSION_1: &str = include_str!("golden/version-1.hex");
const FILE: &str = "00000000000000000001.log";

fn fixed() -> LogOptions {
    LogOptions { entropy: Arc::new(|| 0x1122_3344_5566_7788), segment_bytes: 4096, ..options() }
}

fn membership() -> MembershipConfig {
    let node = NodeAddresses { peer_address: "a:7401".into(), client_address: "a:7400".into(), name: "a".into() };
    MembershipConfig::new(vec![BTreeSet::from([9])], BTreeMap::from([(9, node)])).expect("its voter has a node")
}

fn entries() -> Vec<LogEntry> {
    vec![
        LogEntry { log_id: log_id(1, 0), payload: EntryPayload::Membership(membership()) },
        LogEntry { log_id: log_id(2, 1), payload: EntryPayload::Blank },
        entry(2, 2, 5),
        entry(2, 3, 8),
    ]
}

/// Writes at least one record of each kind.
async fn write(log: &mut LogStore) {
    log.save_vote(&vote(2)).await.expect("saves");
    log.set_cluster_id("blue").await.expect("marks");
    append(log, entries()).await.expect("appends");
    log.save_committed(Some(log_id(2, 1))).await.expect("stages");
    log.truncate_after(Some(log_id(2, 2))).await.expect("truncates");
    log.purge(log_id(1, 0)).await.expect("purges");
}

#[tokio::test]
async fn the_same_operations_give_the_same_bytes_as_ever() {
    let disk = SimDisk::new();
    let (mut log, _) = LogStore::open_on(Arc::new(disk.clone()), fixed()).expect("opens");
    write(&mut log).await;
    let (_, end) = super::support::last_segment(&disk);
    let bytes = disk.bytes_of(FILE).expect("is there");
    assert_eq!(lines(&bytes[..end.next_multiple_of(8)]), VERSION_1);
    assert!(bytes[end..].iter().all(|byte| *byte == 0) && bytes.len() == 4096);
}

#[tokio::test]
async fn bytes_of_every_version_are_read() {
    let disk = SimDisk::new();
    drop(disk.create(FILE).expect("creates"));
    disk.damage(FILE, |bytes| *bytes = parse(VERSION_1));
    let (mut log, recovery) = LogStore::open_on(Arc::new(disk), fixed()).expect("opens");
    assert_eq!(recovery.cut, None);
    assert_eq!(log.identity().node_id, 0x1122_3344_5566_7788 >> 1);
    assert_eq!(log.identity().cluster_id.as_deref(), Some("blue"));
    assert_eq!(saved_vote(&log).await, Some(vote(2)));
    assert_eq!(log.read_committed().await.expect("reads"), Some(log_id(2, 1)));
    assert_eq!(log.get_log_state().await.expect("reads").last_purged_log_id, Some(log_id(1, 0)));
    assert_eq!(all(&log).await, entries()[1..3]);
}

/// Formats bytes as hexadecimal, 16 per line.
fn lines(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ") + "\n";
    bytes.chunks(16).map(line).collect()
}

fn parse(lines: &str) -> Vec<u8> {
    lines.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect()
}
