//! A log on a simulated disk, and entries for it.

use crate::raft::log::sim_disk::SimDisk;
use crate::raft::log::{LogError, LogOptions, LogStore, RecoveryReport};
use crate::raft::threading::ThreadingModel;
use crate::raft::types::{EncodedBatch, LeaderId, LogEntry, LogId, TypeConfig, Vote};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader as _, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use openraft::type_config::alias::OneshotReceiverOf;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Returns options with small segments, no threads, and the same random numbers each time.
pub(super) fn options() -> LogOptions {
    let seed = Arc::new(AtomicU64::new(7));
    LogOptions {
        segment_bytes: 8 << 10,
        cache_bytes: 2 << 10,
        drive: ThreadingModel::Task,
        lock_wait: Duration::from_millis(500),
        entropy: Arc::new(move || seed.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        ..LogOptions::default()
    }
}

pub(super) fn open(disk: &SimDisk) -> Result<(LogStore, RecoveryReport), LogError> {
    LogStore::open_on(Arc::new(disk.clone()), options())
}

pub(super) fn reopen(disk: &SimDisk) -> (LogStore, RecoveryReport) {
    open(disk).expect("the log opens")
}

pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: 9 }, index)
}

pub(super) fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, node_id: 9 }, committed: false }
}

/// Creates an entry whose bytes depend on term and index, so that a wrong one is noticed.
pub(super) fn entry(term: u64, index: u64, size: usize) -> LogEntry {
    let byte = u8::try_from((term * 31 + index) % 251).expect("below 251") + 1;
    let batch = EncodedBatch::from(Bytes::from(vec![byte; size]));
    LogEntry { log_id: log_id(term, index), payload: EntryPayload::Normal(batch) }
}

/// Receiver that resolves with the callback.
pub(super) type Flushed = OneshotReceiverOf<TypeConfig, io::Result<()>>;

/// Appends without waiting for the disk.
pub(super) async fn submit(log: &LogStore, entries: Vec<LogEntry>) -> Flushed {
    let (done, flushed) = TypeConfig::oneshot();
    // The callback reports the error as well.
    let _ = log.clone().append(entries, IOFlushed::<TypeConfig>::signal(done)).await;
    flushed
}

pub(super) async fn append(log: &LogStore, entries: Vec<LogEntry>) -> io::Result<()> {
    submit(log, entries).await.await.expect("the callback is called")
}

/// Appends entries `from..to` of one term, each in a write of its own.
pub(super) async fn fill(log: &LogStore, term: u64, from: u64, to: u64, size: usize) {
    for index in from..to {
        append(log, vec![entry(term, index, size)]).await.expect("appends");
    }
}

pub(super) async fn all(log: &LogStore) -> Vec<LogEntry> {
    let mut reader = log.clone().get_log_reader().await;
    reader.try_get_log_entries(0..).await.expect("reads")
}

pub(super) async fn saved_vote(log: &LogStore) -> Option<Vote> {
    let mut reader = log.clone().get_log_reader().await;
    reader.read_vote().await.expect("reads the vote")
}

/// Returns the name of the last segment and the length of its used part.
pub(super) fn last_segment(disk: &SimDisk) -> (String, usize) {
    use crate::raft::log::LogDisk as _;
    let names = disk.list().expect("lists");
    let name = names.into_iter().rfind(|name| name.ends_with(".log")).expect("there is a segment");
    let bytes = disk.bytes_of(&name).expect("it is there");
    (name, bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1))
}
