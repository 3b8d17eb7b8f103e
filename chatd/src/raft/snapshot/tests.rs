use super::build::build_newest;
use super::shelf::{DATA, MANIFEST};
use super::*;
use crate::raft::machine::StateMachine;
use crate::raft::machine::tests::support::{feed, machine_over, until};
use crate::raft::types::{LeaderId, Vote};
use crate::store::{FatalSignal, MemStore, RocksSettings, RocksStore, StateStore};
use openraft::storage::{RaftSnapshotBuilder as _, RaftStateMachine as _};
use quorate_core::invariant::state_digest;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(in crate::raft) mod crash;
mod install;
mod transfer;

pub(super) fn rocks(dir: &Path) -> RocksStore {
    let settings = RocksSettings { cache_bytes: 8 << 20, write_buffer_bytes: 1 << 20, ..RocksSettings::default() };
    RocksStore::open(dir, settings, FatalSignal::default()).unwrap()
}

pub(super) fn snapshots(dir: &Path) -> Vec<PathBuf> {
    files::sorted_paths(&dir.join("snapshots")).unwrap()
}

/// Returns the digest of a state in memory to which the same entries were applied.
pub(super) async fn replayed(to: u64) -> u32 {
    let dir = TempDir::new().unwrap();
    let store = MemStore::new();
    feed(&mut machine_over(store.clone(), dir.path()), 1..to + 1).await;
    state_digest(&store.view()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_built_while_entries_are_applied_is_the_state_at_its_log_id() {
    let (dir, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut machine = machine_over(rocks(dir.path()), dir.path());
    feed(&mut machine, 1..300).await;
    let mut builder = machine.get_snapshot_builder().await;
    let building = tokio::spawn(async move { builder.build_snapshot().await.unwrap() });
    feed(&mut machine, 300..2000).await;
    let snapshot = building.await.unwrap();
    let at = snapshot.meta.last_log_id.unwrap().index;
    assert!((299..2000).contains(&at));
    let mut other = machine_over(rocks(target.path()), target.path());
    other.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert_eq!(state_digest(&other.store().view()).unwrap(), replayed(at).await);
    // The copy continues like the source.
    feed(&mut other, at + 1..2000).await;
    assert_eq!(state_digest(&other.store().view()).unwrap(), state_digest(&machine.store().view()).unwrap());
    assert_eq!(other.store().applied(), machine.store().applied());
}

#[tokio::test]
async fn an_old_snapshot_stays_while_it_is_in_use() {
    let dir = TempDir::new().unwrap();
    let mut machine = machine_over(rocks(dir.path()), dir.path());
    let shelf = SnapshotShelf::open(dir.path()).unwrap();
    assert_eq!(shelf.newest_applied(), None);
    feed(&mut machine, 1..10).await;
    let first = build_newest(machine.store(), &shelf).unwrap();
    assert_eq!(build_newest(machine.store(), &shelf).unwrap().id(), first.id(), "nothing was applied since");
    feed(&mut machine, 10..20).await;
    let second = build_newest(machine.store(), &shelf).unwrap();
    assert_eq!((first.applied(), second.applied(), shelf.newest_applied()), (Some(9), Some(19), Some(19)));
    assert_eq!(snapshots(dir.path()).len(), 2, "the first one is still held");
    assert!(first.manifest().files().iter().all(|file| files::file_matches(&first.data_dir().join(&file.name), file)));
    drop(first);
    until("the first one goes", || snapshots(dir.path()).len() == 1);
    drop(second);
    assert_eq!(snapshots(dir.path()).len(), 1, "the newest stays");
    assert_eq!(SnapshotShelf::open(dir.path()).unwrap().newest_applied(), Some(19));
}

#[tokio::test]
async fn opening_the_shelf_keeps_the_newest_and_removes_what_is_not_whole() {
    let dir = TempDir::new().unwrap();
    let mut machine = machine_over(rocks(dir.path()), dir.path());
    let shelf = SnapshotShelf::open(dir.path()).unwrap();
    feed(&mut machine, 1..10).await;
    let good = build_newest(machine.store(), &shelf).unwrap();
    let name = snapshots(dir.path()).remove(0);
    let beside = |ending: &str| {
        let copy = dir.path().join("snapshots").join(format!("{}{ending}", good.id()));
        fs::create_dir_all(copy.join(DATA)).unwrap();
        for file in good.manifest().files() {
            fs::copy(good.data_dir().join(&file.name), copy.join(DATA).join(&file.name)).unwrap();
        }
        fs::copy(name.join(MANIFEST), copy.join(MANIFEST)).unwrap();
        copy
    };
    // Unfinished; under a wrong name; without manifest; with a truncated file.
    beside(".tmp");
    beside("x");
    fs::remove_file(beside("y").join(MANIFEST)).unwrap();
    fs::write(beside("z").join(DATA).join("CURRENT"), "").unwrap();
    assert_eq!(snapshots(dir.path()).len(), 5);
    assert_eq!(SnapshotShelf::open(dir.path()).unwrap().newest().unwrap().id(), good.id());
    assert_eq!(snapshots(dir.path()), [name]);
}

#[tokio::test]
async fn a_checksum_of_a_linked_file_is_not_computed_twice_and_still_right() {
    let dir = TempDir::new().unwrap();
    let mut machine = machine_over(rocks(dir.path()), dir.path());
    let shelf = SnapshotShelf::open(dir.path()).unwrap();
    for round in 0..4 {
        feed(&mut machine, (round * 50).max(1)..(round + 1) * 50).await;
        let snapshot = build_newest(machine.store(), &shelf).unwrap();
        assert!(snapshot.manifest().files().iter().any(|file| file.name.ends_with(".sst")));
        for file in snapshot.manifest().files() {
            assert!(files::file_matches(&snapshot.data_dir().join(&file.name), file), "round {round}: {}", file.name);
        }
    }
}
