//! Tests of the log without failures.

use super::support::{all, append, entry, fill, last_segment, log_id, open, options, reopen, saved_vote, submit, vote};
use crate::raft::log::sim_disk::SimDisk;
use crate::raft::log::{BatchReport, LogDisk as _, LogError, LogObserver, LogOptions, LogStore};
use crate::raft::threading::ThreadingModel;
use futures::TryStreamExt as _;
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test]
async fn everything_is_there_after_a_reopen() {
    let disk = SimDisk::new();
    let (mut log, recovery) = reopen(&disk);
    assert!(recovery.fresh && log.is_empty());
    let id = log.identity();
    assert!(id.node_id > 0 && id.node_id < 1 << 63 && id.cluster_id.is_none());
    log.save_vote(&vote(3)).await.expect("saves");
    assert!(!log.is_empty());
    fill(&log, 3, 0, 40, 700).await;
    log.save_committed(Some(log_id(3, 30))).await.expect("stages");
    log.set_cluster_id("blue").await.expect("marks");
    log.close().await.expect("closes");

    let (mut log, recovery) = reopen(&disk);
    assert!(!recovery.fresh && recovery.cut.is_none());
    assert!(recovery.segments > 3, "{recovery:?}");
    assert_eq!(recovery.entries, 40);
    assert_eq!(log.identity().node_id, id.node_id);
    assert_eq!(log.identity().cluster_id.as_deref(), Some("blue"));
    assert_eq!(saved_vote(&log).await, Some(vote(3)));
    assert_eq!(log.read_committed().await.expect("reads"), Some(log_id(3, 30)));
    assert_eq!(all(&log).await, (0..40).map(|index| entry(3, index, 700)).collect::<Vec<_>>());
    assert_eq!(log.get_log_state().await.expect("reads").last_log_id, Some(log_id(3, 39)));
    append(&log, vec![entry(4, 40, 10)]).await.expect("goes on");
}

#[tokio::test]
async fn a_volume_belongs_to_one_cluster_for_ever() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    log.set_cluster_id("blue").await.expect("the first is taken");
    log.set_cluster_id("blue").await.expect("the same again is fine");
    let error = log.set_cluster_id("red").await.expect_err("another is not");
    assert!(matches!(error, LogError::ForeignCluster { .. }), "{error}");
}

#[tokio::test]
async fn queued_appends_share_one_sync() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    let before = disk.counts();
    let mut waiting = Vec::new();
    for index in 0..50 {
        waiting.push(submit(&log, vec![entry(1, index, 20)]).await);
    }
    for flushed in waiting {
        flushed.await.expect("called").expect("synced");
    }
    let after = disk.counts();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
}

#[tokio::test]
async fn appended_entries_can_be_read_before_they_are_on_disk() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    let before = disk.counts();
    let flushed = submit(&log, (0..20).map(|index| entry(1, index, 1000)).collect()).await;
    // More than the cache may hold, and not yet written: all of it stays in memory.
    assert_eq!(all(&log).await.len(), 20);
    assert_eq!(disk.counts(), before);
    flushed.await.expect("called").expect("synced");
    assert_eq!(all(&log).await.len(), 20);
}

#[tokio::test]
async fn purging_unlinks_whole_segments_and_survives_a_reopen() {
    let disk = SimDisk::new();
    let (mut log, _) = reopen(&disk);
    fill(&log, 1, 0, 60, 700).await;
    let before = disk.list().expect("lists").len();
    log.purge(log_id(1, 44)).await.expect("purges");
    // The writer unlinks when it is idle: this request comes after that.
    log.save_vote(&vote(2)).await.expect("saves");
    log.save_vote(&vote(3)).await.expect("saves");
    assert!(disk.list().expect("lists").len() < before);
    assert_eq!(all(&log).await.first().map(|entry| entry.log_id.index), Some(45));
    drop(log);

    let disk = disk.after_power_loss(1);
    let (mut log, recovery) = reopen(&disk);
    assert_eq!(recovery.entries, 15);
    let state = log.get_log_state().await.expect("reads");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 44)), Some(log_id(1, 59))));
    // State as after the installation of a snapshot.
    log.purge(log_id(5, 1000)).await.expect("purges beyond the end");
    append(&log, vec![entry(5, 1001, 10)]).await.expect("goes on behind it");
    log.close().await.expect("closes");
    let (mut log, _) = reopen(&disk);
    assert_eq!(all(&log).await, vec![entry(5, 1001, 10)]);
    assert_eq!(log.get_log_state().await.expect("reads").last_purged_log_id, Some(log_id(5, 1000)));
    assert_eq!(disk.list().expect("lists").len(), 1);
}

#[tokio::test]
async fn truncated_entries_do_not_come_back() {
    let disk = SimDisk::new();
    let (mut log, _) = reopen(&disk);
    fill(&log, 1, 0, 40, 700).await;
    log.truncate_after(Some(log_id(1, 9))).await.expect("truncates across segments");
    fill(&log, 2, 10, 15, 700).await;
    let expected: Vec<_> = (0..10).map(|i| entry(1, i, 700)).chain((10..15).map(|i| entry(2, i, 700))).collect();
    assert_eq!(all(&log).await, expected);
    log.purge(log_id(1, 9)).await.expect("purges");
    drop(log);
    let (log, _) = reopen(&disk.after_power_loss(3));
    assert_eq!(all(&log).await, expected[10..]);
}

#[tokio::test]
async fn entries_must_follow_each_other_and_committed_ones_stay() {
    let disk = SimDisk::new();
    let (mut log, _) = reopen(&disk);
    fill(&log, 1, 0, 10, 10).await;
    let error = append(&log, vec![entry(1, 11, 10)]).await.expect_err("a hole");
    assert!(error.to_string().contains("continues at index 10"), "{error}");
    log.save_committed(Some(log_id(1, 5))).await.expect("stages");
    log.truncate_after(Some(log_id(1, 4))).await.expect_err("entry 5 is committed");
    log.truncate_after(Some(log_id(1, 5))).await.expect("entry 6 is not");
    fill(&log, 2, 6, 7, 10).await;
}

#[tokio::test]
async fn reads_are_bounded_but_never_empty() {
    let disk = SimDisk::new();
    let options = LogOptions { read_bytes: 3000, stream_bytes: 3000, ..options() };
    let (mut log, _) = LogStore::open_on(Arc::new(disk), options).expect("opens");
    fill(&log, 1, 0, 30, 1000).await;
    let mut reader = log.get_log_reader().await;
    // Entry 0 is in a file, entry 28 in memory.
    for start in [0, 28] {
        let entries = reader.limited_get_log_entries(start, 30).await.expect("reads");
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0], entry(1, start, 1000));
    }
    append(&log, vec![entry(1, 30, 9000)]).await.expect("appends");
    assert_eq!(reader.limited_get_log_entries(30, 31).await.expect("reads").len(), 1);
    let streamed: Vec<_> = reader.entries_stream(3..=30).await.try_collect().await.expect("reads");
    assert_eq!(streamed.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), (3..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_commit_mark_never_runs_ahead_of_the_entries_on_disk() {
    let disk = SimDisk::new();
    let (mut log, _) = reopen(&disk);
    fill(&log, 1, 0, 3, 10).await;
    log.save_committed(Some(log_id(1, 7))).await.expect("stages");
    fill(&log, 1, 3, 5, 10).await;
    let (mut found, _) = reopen(&disk.after_power_loss(2));
    assert_eq!(found.read_committed().await.expect("reads"), None);
    fill(&log, 1, 5, 8, 10).await;
    let (mut found, _) = reopen(&disk.after_power_loss(2));
    assert_eq!(found.read_committed().await.expect("reads"), Some(log_id(1, 7)));
}

#[tokio::test]
async fn a_busy_directory_is_waited_for_and_then_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = || LogOptions { drive: ThreadingModel::Threads, lock_wait: Duration::from_secs(30), ..options() };
    let (log, _) = LogStore::open(directory.path(), options()).expect("opens");
    let impatient = LogOptions { lock_wait: Duration::from_millis(120), ..options() };
    let error = LogStore::open(directory.path(), impatient).map(|_| ()).expect_err("it is in use");
    assert!(matches!(error, LogError::Busy { .. }), "{error}");
    let (path, patient) = (directory.path().to_owned(), options());
    let second = tokio::task::spawn_blocking(move || LogStore::open(&path, patient).map(|_| ()));
    log.close().await.expect("closes");
    second.await.expect("runs").expect("gets it once it is free");
}

#[tokio::test]
async fn a_real_disk_keeps_what_the_simulated_one_keeps() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = || LogOptions { drive: ThreadingModel::Threads, ..options() };
    let (mut log, _) = LogStore::open(directory.path(), options()).expect("opens");
    log.save_vote(&vote(1)).await.expect("saves");
    fill(&log, 1, 0, 60, 700).await;
    log.purge(log_id(1, 20)).await.expect("purges");
    let expected: Vec<_> = (21..60).map(|index| entry(1, index, 700)).collect();
    assert_eq!(all(&log).await, expected);
    drop(log);
    let (log, recovery) = LogStore::open(directory.path(), options()).expect("opens");
    assert_eq!((recovery.entries, recovery.cut), (39, None));
    assert_eq!(all(&log).await, expected);
}

/// Observer that records what it is told.
#[derive(Default)]
struct Notes {
    batches: Mutex<Vec<BatchReport>>,
    segments: Mutex<Vec<usize>>,
}

impl LogObserver for Notes {
    fn batch(&self, report: &BatchReport) {
        self.batches.lock().expect("no panic").push(*report);
    }

    fn segments(&self, count: usize, _making: Option<Duration>) {
        self.segments.lock().expect("no panic").push(count);
    }
}

#[tokio::test]
async fn the_observer_is_told_about_each_batch_and_segment() {
    let notes = Arc::new(Notes::default());
    let options = LogOptions { observer: Arc::<Notes>::clone(&notes), ..options() };
    let (mut log, _) = LogStore::open_on(Arc::new(SimDisk::new()), options).expect("opens");
    append(&log, (0..3).map(|index| entry(1, index, 100)).collect()).await.expect("appends");
    fill(&log, 1, 3, 13, 700).await;
    log.purge(log_id(1, 12)).await.expect("purges");
    log.close().await.expect("closes");
    let batches = notes.batches.lock().expect("no panic");
    assert_eq!(batches.iter().map(|batch| batch.records).collect::<Vec<_>>(), [vec![3], vec![1; 12]].concat());
    assert!(batches.iter().all(|batch| batch.bytes >= 32));
    assert_eq!(*notes.segments.lock().expect("no panic"), [1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_whole_entries_in_order_while_the_log_is_written_truncated_and_purged() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = LogOptions { drive: ThreadingModel::Threads, ..options() };
    let (mut log, _) = LogStore::open(directory.path(), options).expect("opens");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (mut store, stopped) = (log.clone(), stopped.clone());
            tokio::spawn(async move {
                let (mut reader, mut seen) = (store.get_log_reader().await, 0);
                while !*stopped.borrow() {
                    let entries = reader.try_get_log_entries(0..).await.expect("reads");
                    for pair in entries.windows(2) {
                        assert_eq!(pair[0].log_id.index + 1, pair[1].log_id.index);
                    }
                    for found in &entries {
                        assert_eq!(*found, entry(found.log_id.leader_id.term, found.log_id.index, 300));
                    }
                    seen += entries.len();
                    tokio::task::yield_now().await;
                }
                seen
            })
        })
        .collect();
    let mut next = 0;
    for term in 1..=60 {
        let waiting: Vec<_> =
            futures::future::join_all((next..next + 20).map(|index| submit(&log, vec![entry(term, index, 300)]))).await;
        futures::future::try_join_all(waiting).await.expect("called");
        next += 15;
        log.truncate_after(Some(log_id(term, next - 1))).await.expect("truncates");
        if term % 4 == 0 {
            log.purge(log_id(term, next - 5)).await.expect("purges");
        }
    }
    stop.send_replace(true);
    for reader in readers {
        assert!(reader.await.expect("nothing was wrong") > 0);
    }
}

#[tokio::test]
async fn a_closed_log_refuses_and_a_second_close_is_fine() {
    let disk = SimDisk::new();
    let (mut log, _) = reopen(&disk);
    log.close().await.expect("closes");
    log.close().await.expect("is closed");
    let error = log.save_vote(&vote(1)).await.expect_err("it is closed");
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(open(&disk).is_ok(), "the directory is free");
    assert!(last_segment(&disk).1 > 0);
}
