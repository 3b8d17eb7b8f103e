//! A crash at each step of an installation.

use super::*;
use openraft::StorageHelper;

/// Creates a pod with entries 1 to 39, and a leader's snapshot of the same history up to entry 99.
async fn pod_and_received() -> (TempDir, TempDir, SnapshotData) {
    let (pod, source) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    feed(&mut machine_over(rocks(pod.path()), pod.path()), 1..40).await;
    let mut leader = machine_over(rocks(source.path()), source.path());
    feed(&mut leader, 1..100).await;
    let snapshot = build_newest(leader.store(), &SnapshotShelf::open(source.path()).unwrap()).unwrap();
    (pod, source, snapshot)
}

/// Starts a pod as openraft does: a snapshot that is ahead of the state is installed.
pub(super) async fn restarted(dir: &Path) -> StateMachine<RocksStore> {
    let log = crate::raft::log::sim_disk::SimDisk::new();
    let options = crate::raft::log::LogOptions::default();
    let (mut log, _) = crate::raft::log::LogStore::open_on(std::sync::Arc::new(log), options).unwrap();
    let mut machine = machine_over(rocks(dir), dir);
    StorageHelper::<TypeConfig, _, _>::new(&mut log, &mut machine).with_id(1).get_initial_state().await.unwrap();
    machine
}

pub(super) async fn is_at(machine: &mut StateMachine<RocksStore>, index: u64, step: &str) {
    assert_eq!(machine.store().applied().index(), Some(index), "{step}");
    assert_eq!(state_digest(&machine.store().view()).unwrap(), replayed(index).await, "{step}");
}

#[tokio::test]
async fn a_restart_at_each_step_of_an_installation_finds_the_old_or_the_new_state() {
    let (pod, _source, snapshot) = pod_and_received().await;
    is_at(&mut restarted(pod.path()).await, 39, "before").await;

    // Received, but not handed to openraft: the log was not truncated for it, so it must not become the state.
    let shelf = SnapshotShelf::open(pod.path()).unwrap();
    let mut incoming = incoming::IncomingSnapshot::open(&shelf, snapshot.manifest().clone()).unwrap();
    for name in incoming.wanted() {
        let bytes = fs::read(snapshot.data_dir().join(&name)).unwrap();
        incoming.write(&name, 0, &bytes.into()).unwrap();
    }
    let received = incoming.finish().unwrap();
    is_at(&mut restarted(pod.path()).await, 39, "received").await;

    // On the shelf, but not the state yet.
    let kept = SnapshotShelf::open(pod.path()).unwrap().adopt(&received).unwrap();
    is_at(&mut restarted(pod.path()).await, 99, "on the shelf").await;
    let mut machine = restarted(pod.path()).await;
    is_at(&mut machine, 99, "again").await;
    let current = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!((current.snapshot.id(), current.snapshot.size_bytes()), (kept.id(), snapshot.size_bytes()));
}

#[tokio::test]
async fn an_installed_snapshot_can_be_sent_on_also_after_a_restart() {
    let (pod, _source, snapshot) = pod_and_received().await;
    let meta = snapshot.manifest().meta().unwrap();
    let mut machine = machine_over(rocks(pod.path()), pod.path());
    machine.install_snapshot(&meta, snapshot.clone()).await.unwrap();
    feed(&mut machine, 100..120).await;
    let current = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!((current.meta, current.snapshot.id()), (meta.clone(), snapshot.id()));
    drop((machine, current.snapshot));
    let mut machine = restarted(pod.path()).await;
    is_at(&mut machine, 119, "it is not installed again over newer state").await;
    let current = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!((current.meta, current.snapshot.id()), (meta, snapshot.id()));
    for file in current.snapshot.manifest().files() {
        assert!(
            files::file_matches(&current.snapshot.data_dir().join(&file.name), file),
            "{} was written to",
            file.name
        );
    }
}

#[tokio::test]
async fn a_snapshot_that_is_not_what_it_says_does_not_become_the_state() {
    let (pod, _source, snapshot) = pod_and_received().await;
    let meta = snapshot.manifest().meta().unwrap();
    // A file that was truncated without openraft's knowledge.
    let table = snapshot.manifest().files().iter().find(|file| file.name.ends_with(".sst")).unwrap();
    fs::write(snapshot.data_dir().join(&table.name), "short").unwrap();
    let mut machine = machine_over(rocks(pod.path()), pod.path());
    assert!(machine.install_snapshot(&meta, snapshot.clone()).await.is_err());
    assert_eq!(machine.store().applied().index(), Some(39));
}
