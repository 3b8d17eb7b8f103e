//! Tests of failed writes and syncs: afterwards nothing is acknowledged, nothing is written, and the process is told to
//! stop.

use super::support::{all, append, entry, fill, log_id, reopen, submit, vote};
use crate::raft::log::sim_disk::{DiskCall, SimDisk};
use crate::raft::log::{LogError, LogStore};
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _};
use std::io::ErrorKind;
use std::time::Duration;

async fn has_stopped(disk: &SimDisk, log: &LogStore) -> LogError {
    let before = disk.counts();
    append(log, vec![entry(1, 5, 10)]).await.expect_err("appends fail");
    let mut handle = log.clone();
    handle.save_vote(&vote(9)).await.expect_err("votes fail");
    handle.purge(log_id(1, 2)).await.expect_err("purges fail");
    handle.truncate_after(Some(log_id(1, 2))).await.expect_err("truncations fail");
    handle.save_committed(Some(log_id(1, 2))).await.expect_err("marks fail");
    log.set_cluster_id("blue").await.expect_err("identity fails");
    let mut reader = handle.get_log_reader().await;
    reader.try_get_log_entries(0..).await.expect_err("reads fail: memory may be ahead of the disk");
    reader.read_vote().await.expect_err("so does the vote");
    assert_eq!(disk.counts(), before, "the disk is left alone");
    tokio::time::timeout(Duration::from_secs(10), log.failed()).await.expect("the process is told")
}

#[tokio::test]
async fn a_failed_write_stops_the_log() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    fill(&log, 1, 0, 5, 10).await;
    disk.fail(DiskCall::Write, 0, ErrorKind::Other);
    append(&log, vec![entry(1, 5, 10)]).await.expect_err("the write fails");
    let error = has_stopped(&disk, &log).await;
    assert!(matches!(&error, LogError::Io { action: "write", .. }), "{error}");
}

#[tokio::test]
async fn who_is_told_of_a_failed_write_can_ask_for_its_cause() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    fill(&log, 1, 0, 5, 10).await;
    assert!(log.failure().is_none(), "nothing has failed");
    disk.fail(DiskCall::Write, 0, ErrorKind::ReadOnlyFilesystem);
    append(&log, vec![entry(1, 5, 10)]).await.expect_err("the write fails");
    let error = log.failure().expect("it is known before anybody is told");
    assert!(matches!(&error, LogError::Io { action: "write", .. }), "{error}");
}

#[tokio::test]
async fn a_failed_sync_is_never_tried_again_and_acknowledges_nothing() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    fill(&log, 1, 0, 5, 10).await;
    disk.fail(DiskCall::Sync, 0, ErrorKind::Other);
    let waiting = [submit(&log, vec![entry(1, 5, 10)]).await, submit(&log, vec![entry(1, 6, 10)]).await];
    for flushed in waiting {
        flushed.await.expect("called").expect_err("not synced");
    }
    let error = has_stopped(&disk, &log).await;
    assert!(matches!(&error, LogError::Io { action: "sync", .. }), "{error}");

    // The pages look clean, so the next process must write again what it reads before that counts.
    let disk = disk.after_kill();
    let (log, _) = reopen(&disk);
    let seen = all(&log).await;
    assert!(seen.len() >= 5);
    append(&log, vec![entry(2, seen.len() as u64, 10)]).await.expect("appends");
    let (log, _) = reopen(&disk.after_power_loss(4));
    assert_eq!(all(&log).await.len(), seen.len() + 1);
}

#[tokio::test]
async fn a_full_volume_stops_the_log_and_says_so() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    disk.fail(DiskCall::Resize, 0, ErrorKind::StorageFull);
    let mut failure = None;
    for index in 0..40 {
        if let Err(error) = append(&log, vec![entry(1, index, 700)]).await {
            failure = Some(error);
            break;
        }
    }
    let failure = failure.expect("the next segment cannot be allocated");
    assert_eq!(failure.kind(), ErrorKind::StorageFull);
    assert!(failure.to_string().contains("no space left on the volume"), "{failure}");
    assert!(matches!(has_stopped(&disk, &log).await, LogError::NoSpace { .. }));
    // Once there is space again, everything acknowledged is there.
    let (log, _) = reopen(&disk.after_kill());
    assert!(!all(&log).await.is_empty());
}

#[tokio::test]
async fn a_failure_to_unlink_stops_the_log_too() {
    let disk = SimDisk::new();
    let (mut log, _) = reopen(&disk);
    fill(&log, 1, 0, 40, 700).await;
    disk.fail(DiskCall::Name, 0, ErrorKind::ReadOnlyFilesystem);
    log.purge(log_id(1, 30)).await.expect("the mark is durable");
    let error = tokio::time::timeout(Duration::from_secs(10), log.failed()).await.expect("the process is told");
    assert!(matches!(&error, LogError::Io { action: "remove", .. }), "{error}");
    let (mut log, _) = reopen(&disk.after_kill());
    assert_eq!(log.get_log_state().await.expect("reads").last_purged_log_id, Some(log_id(1, 30)));
}

#[tokio::test]
async fn an_orderly_close_is_no_failure() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    log.close().await.expect("closes");
    let failed = tokio::time::timeout(Duration::from_millis(20), log.failed()).await;
    assert!(failed.is_err(), "nobody is told to stop");
    assert!(log.failure().is_none());
}
