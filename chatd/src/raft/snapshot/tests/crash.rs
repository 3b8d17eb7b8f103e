//! The work of a process that crashes while it installs a snapshot, and the checks afterwards.

use super::install::{is_at, restarted};
use super::*;
use quorate_core::invariant::check_all;

/// Last entry that the pod has.
const BEHIND: u64 = 39;
/// Last entry that the snapshot covers.
const AHEAD: u64 = 99;
/// Last entry that is applied after the installation.
const LAST: u64 = 119;
/// Size of a chunk, in bytes: most files take several.
const CHUNK: usize = 4 << 10;

/// Prepares a pod that is behind, and a snapshot of one that is ahead.
pub(in crate::raft) async fn prepare(pod: &Path, ahead: &Path) {
    for dir in [pod, ahead] {
        fs::create_dir_all(dir).unwrap();
    }
    feed(&mut machine_over(rocks(pod), pod), 1..BEHIND + 1).await;
    let mut leader = machine_over(rocks(ahead), ahead);
    feed(&mut leader, 1..AHEAD + 1).await;
    build_newest(leader.store(), &SnapshotShelf::open(ahead).unwrap()).unwrap();
}

/// Receives and installs the snapshot, and applies the entries after it.
pub(in crate::raft) async fn take_over(pod: &Path, ahead: &Path, say: &dyn Fn(&str)) {
    let snapshot = SnapshotShelf::open(ahead).unwrap().newest().unwrap();
    let mut machine = machine_over(rocks(pod), pod);
    let mut incoming =
        incoming::IncomingSnapshot::open(&SnapshotShelf::open(pod).unwrap(), snapshot.manifest().clone()).unwrap();
    for name in incoming.wanted() {
        let bytes = fs::read(snapshot.data_dir().join(&name)).unwrap();
        for (place, chunk) in bytes.chunks(CHUNK).enumerate() {
            incoming.write(&name, (place * CHUNK) as u64, &bytes::Bytes::copy_from_slice(chunk)).unwrap();
        }
    }
    let received = receive::check_snapshot(machine.store(), incoming.finish().unwrap()).unwrap();
    machine.install_snapshot(&snapshot.manifest().meta().unwrap(), received).await.unwrap();
    say("installed");
    feed(&mut machine, AHEAD + 1..LAST + 1).await;
    machine.store().flush().unwrap();
}

/// Checks that the pod starts with the complete old or new state, and can reach the end.
pub(in crate::raft) async fn check(pod: &Path, ahead: &Path, installed: bool) {
    let mut machine = restarted(pod).await;
    let at = machine.store().applied().index().unwrap();
    assert!(at == BEHIND || (AHEAD..=LAST).contains(&at), "the state is at {at}");
    assert!(at >= AHEAD || !installed, "an installed snapshot is gone, the state is at {at}");
    is_at(&mut machine, at, "restarted").await;
    check_all(&machine.store().view()).unwrap();
    drop(machine);
    if at < AHEAD {
        take_over(pod, ahead, &|_| ()).await;
    }
    let mut machine = restarted(pod).await;
    let at = machine.store().applied().index().unwrap();
    feed(&mut machine, at + 1..LAST + 1).await;
    is_at(&mut machine, LAST, "at the end").await;
    let newest = machine.get_current_snapshot().await.unwrap().expect("the one that was installed");
    assert!(is_whole(&newest.snapshot));
    until("one snapshot is left", || snapshots(pod).len() == 1);
}

/// Returns `true` if every file has the size and checksum given in the manifest.
pub(in crate::raft) fn is_whole(snapshot: &SnapshotData) -> bool {
    let data = snapshot.data_dir();
    snapshot.manifest().files().iter().all(|file| files::file_matches(&data.join(&file.name), file))
}
