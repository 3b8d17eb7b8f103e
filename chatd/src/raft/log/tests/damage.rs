//! Tests of torn tails, which are cut off, and of damage, which is refused with a message that says where it is.

use super::support::{all, entry, fill, last_segment, log_id, open, reopen, submit};
use crate::raft::log::sim_disk::SimDisk;
use crate::raft::log::{LogDisk as _, LogError};
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _};

/// Creates a log of several segments; returns it with the offset of the last write in its last segment.
async fn damaged_soon(closed: bool) -> (SimDisk, usize) {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    fill(&log, 1, 0, 25, 700).await;
    let (_, end) = last_segment(&disk);
    fill(&log, 1, 25, 26, 700).await;
    if closed {
        log.close().await.expect("closes");
    }
    // The file is written in multiples of 8, with zeros at the end of the last record.
    (disk.after_kill(), end.next_multiple_of(8))
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list().expect("lists").into_iter().filter(|name| name.ends_with(".log")).collect()
}

fn refused(disk: &SimDisk) -> LogError {
    open(disk).map(|_| ()).expect_err("damage is refused")
}

#[tokio::test]
async fn a_flipped_bit_anywhere_before_the_last_write_is_refused() {
    let (disk, last_write) = damaged_soon(false).await;
    let (last, _) = last_segment(&disk);
    for name in names(&disk) {
        let len = disk.bytes_of(&name).expect("is there").len();
        let end = if name == last { last_write } else { len };
        for at in 0..end {
            let disk = disk.after_kill();
            disk.damage(&name, |bytes| bytes[at] ^= 1 << (at % 8));
            match refused(&disk) {
                LogError::Damaged { file, offset, .. } => {
                    assert_eq!(file, name);
                    assert!(offset <= at as u64 && offset + 900 > at as u64, "{file}: flipped {at}, named {offset}");
                }
                LogError::Version { file, .. } => assert!(file == name && (8..12).contains(&at)),
                error => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn after_a_clean_stop_even_damage_in_the_last_write_is_refused() {
    let (disk, last_write) = damaged_soon(true).await;
    let (name, _) = last_segment(&disk);
    for at in last_write..last_write + 700 {
        let disk = disk.after_kill();
        disk.damage(&name, |bytes| bytes[at] ^= 0x10);
        let error = refused(&disk);
        let LogError::Damaged { file, offset, expected, found } = &error else { panic!("{error}") };
        assert_eq!((file, *offset), (&name, last_write as u64));
        assert!(!expected.is_empty() && found.contains("was once synced"), "{error}");
    }
}

#[tokio::test]
async fn a_lost_page_in_the_middle_is_refused() {
    let (disk, last_write) = damaged_soon(false).await;
    let (name, _) = last_segment(&disk);
    for start in (48..last_write - 512).step_by(512) {
        let disk = disk.after_kill();
        disk.damage(&name, |bytes| bytes[start..start + 512].fill(0));
        assert!(matches!(refused(&disk), LogError::Damaged { .. }));
    }
}

#[tokio::test]
async fn an_incomplete_last_write_is_cut_wherever_it_ends() {
    let (disk, last_write) = damaged_soon(false).await;
    let (name, end) = last_segment(&disk);
    for keep in last_write..end {
        let disk = disk.after_kill();
        disk.damage(&name, |bytes| bytes[keep..].fill(0));
        let (log, recovery) = reopen(&disk);
        assert_eq!(all(&log).await.len(), 25);
        if keep > last_write {
            let cut = recovery.cut.expect("something was cut");
            assert_eq!((cut.file, cut.offset), (name.clone(), last_write as u64));
            assert!(cut.reason.contains("expected"), "{}", cut.reason);
        }
        // The bytes that were cut off must not reappear behind shorter records.
        fill(&log, 2, 25, 26, 1).await;
        drop(log);
        let (log, recovery) = reopen(&disk.after_power_loss(1));
        assert_eq!((all(&log).await.len(), recovery.cut), (26, None));
    }
}

#[tokio::test]
async fn a_write_whose_end_arrived_without_its_beginning_is_cut() {
    let disk = SimDisk::new();
    let (log, _) = reopen(&disk);
    fill(&log, 1, 0, 3, 100).await;
    let (name, end) = last_segment(&disk);
    let flushed = submit(&log, (3..9).map(|index| entry(1, index, 300)).collect()).await;
    flushed.await.expect("called").expect("synced");
    let disk = disk.after_kill();
    disk.damage(&name, |bytes| bytes[end.next_multiple_of(8)..end + 300].fill(0));
    let (log, recovery) = reopen(&disk);
    assert_eq!(all(&log).await.len(), 3);
    assert!(recovery.cut.expect("cut").bytes > 1500);
}

#[tokio::test]
async fn rubbish_behind_the_end_is_cut() {
    let (disk, _) = damaged_soon(true).await;
    let (name, end) = last_segment(&disk);
    disk.damage(&name, |bytes| bytes[end + 100] = 7);
    let (log, recovery) = reopen(&disk);
    assert_eq!(all(&log).await.len(), 26);
    assert!(recovery.cut.is_some());
}

#[tokio::test]
async fn a_missing_segment_is_refused_unless_it_was_purged() {
    let (disk, _) = damaged_soon(true).await;
    let names = names(&disk);
    for name in names.iter().take(names.len() - 1) {
        let disk = disk.after_kill();
        disk.remove(name).expect("removes");
        let error = refused(&disk);
        assert!(matches!(&error, LogError::Damaged { file, .. } if file == name), "{error}");
    }
}

#[tokio::test]
async fn a_segment_under_the_name_of_another_is_refused() {
    let (disk, _) = damaged_soon(true).await;
    let names = names(&disk);
    let other = disk.bytes_of(&names[0]).expect("is there");
    disk.damage(&names[1], |bytes| *bytes = other);
    let error = refused(&disk).to_string();
    assert!(error.contains(&names[1]) && error.contains("expected segment 2, found segment 1"), "{error}");
}

#[tokio::test]
async fn a_shortened_segment_is_refused() {
    let (disk, _) = damaged_soon(true).await;
    let name = names(&disk)[0].clone();
    let len = disk.bytes_of(&name).expect("is there").len();
    for keep in [0, 10, 48, 60, len - 800, len - 8] {
        let disk = disk.after_kill();
        disk.damage(&name, |bytes| bytes.truncate(keep));
        assert!(matches!(refused(&disk), LogError::Damaged { file, .. } if file == name));
    }
}

#[tokio::test]
async fn another_format_version_is_named_as_such() {
    let (disk, _) = damaged_soon(true).await;
    let name = names(&disk)[0].clone();
    disk.damage(&name, |bytes| bytes[8] = 2);
    let error = refused(&disk).to_string();
    assert!(error.contains("has log format 2, but this program reads format 1"), "{error}");
}

#[tokio::test]
async fn a_half_made_segment_is_forgotten() {
    let (disk, _) = damaged_soon(true).await;
    disk.create("00000000000000000009.log.new").expect("creates");
    let (log, _) = reopen(&disk);
    assert_eq!(all(&log).await.len(), 26);
    assert!(!disk.list().expect("lists").iter().any(|name| name.ends_with(".new")));
}

#[tokio::test]
async fn damage_that_comes_while_the_log_is_open_fails_the_read() {
    let disk = SimDisk::new();
    let (mut log, _) = reopen(&disk);
    fill(&log, 1, 0, 25, 700).await;
    let name = names(&disk)[0].clone();
    disk.damage(&name, |bytes| bytes[300] ^= 1);
    let mut reader = log.get_log_reader().await;
    let error = reader.try_get_log_entries(0..25).await.expect_err("the checksum is checked").to_string();
    assert!(error.contains(&name) && error.contains("checksum"), "{error}");
    assert_eq!(log.get_log_state().await.expect("reads").last_log_id, Some(log_id(1, 24)));
}
