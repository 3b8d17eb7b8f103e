//! A failing disk under the real engine: the process is told to stop, with the cause, and nothing is reported as
//! damaged that is not.

use super::*;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

fn told(fatal: &FatalSignal) -> std::sync::Arc<str> {
    let started = Instant::now();
    loop {
        if let Some(cause) = fatal.cause() {
            return cause;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "nobody is told");
        std::thread::yield_now();
    }
}

/// Returns rows that no other entry has, of incompressible bytes, so that they take space on disk.
fn new_rows(view: &dyn TableRead, index: u64) -> ChangeSet {
    let (mut overlay, mut random) = (Overlay::new(view), StdRng::seed_from_u64(index));
    for n in 0..50 {
        let at = quorate_core::id::Position { incarnation: 0, index, ordinal: n };
        let value: Vec<u8> = (0..700).map(|_| random.random()).collect();
        overlay.put(Table::Timeline, key::room_position(quorate_core::id::RoomNumber(1), at), value.into());
    }
    overlay.into_changes()
}

/// Waits until no flush is running that could fail. A write that waits for a flush is never woken if the flush fails
/// for lack of space: the engine's own recovery waits for that write. The process ends in that case; a test does not.
fn wait_for_flushes(store: &RocksStore) {
    let started = Instant::now();
    loop {
        let (errors, waiting) = store.flushes();
        if errors > 0 || waiting == 0 {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{waiting} flushes do not end");
        std::thread::yield_now();
    }
}

/// Commits until the engine refuses; returns the number of entries that it accepted, and the error.
fn fill_until_refused(store: &RocksStore) -> (u64, StoreError) {
    for index in 1.. {
        wait_for_flushes(store);
        if let Err(error) = store.commit(new_rows(&store.view(), index), log_id(index), None) {
            return (index - 1, error);
        }
    }
    unreachable!("it fails before numbers run out")
}

#[test]
fn an_error_of_a_flush_in_the_background_stops_the_process_with_its_cause() {
    let (dir, fatal) = (TempDir::new().unwrap(), FatalSignal::default());
    let store = RocksStore::open(dir.path(), settings(), fatal.clone()).unwrap();
    fill(&store, 1, 1..20);
    // The directory for the next table file is missing.
    let live = live_dir(dir.path());
    fs::rename(&live, dir.path().join("aside")).unwrap();
    let (_, error) = fill_until_refused(&store);
    assert!(error.to_string().contains("No such file"), "{error}");
    let cause = told(&fatal);
    assert!(cause.contains("No such file") && cause.contains(&*live.to_string_lossy()), "{cause}");
    fs::rename(dir.path().join("aside"), &live).unwrap();
    drop(store);
    // Nothing is damaged: what was flushed is still there.
    let found = open(dir.path()).unwrap().applied().index();
    assert!(found < Some(20), "{found:?}");
}

/// A small file system of its own, unmounted on drop. `None` if mounting is not permitted.
struct Mounted(TempDir);

impl Mounted {
    fn tmpfs(options: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(dir.path()).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        println!("not tested: this user may not mount a file system");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A failure here cannot be handled any better.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_stops_the_process_and_loses_nothing_that_was_flushed() {
    let Some(disk) = Mounted::tmpfs("size=24m") else { return };
    let (root, fatal) = (disk.0.path().join("state"), FatalSignal::default());
    let larger = TempDir::new().unwrap();
    // Kept open until somebody was told: closing it ends the upkeep that tells.
    let full = Arc::new(RocksStore::open(&root, settings(), fatal.clone()).unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let (store, count) = (Arc::clone(&full), Arc::clone(&taken));
    let (refuse, refused) = sync_channel(1);
    // In a thread of its own, since a write may wait for ever, as `wait_for_flushes` explains; a process would end then.
    std::thread::spawn(move || {
        for index in 1.. {
            if let Err(error) = store.commit(new_rows(&store.view(), index), log_id(index), None) {
                drop(store);
                let _ = refuse.send(error);
                return;
            }
            count.store(index, Ordering::Relaxed);
        }
    });
    let cause = told(&fatal);
    let (root, most) = if let Ok(error) = refused.recv_timeout(Duration::from_secs(10)) {
        assert!(error.to_string().contains("No space left"), "{error}");
        assert!(cause.contains("No space left"), "{cause}");
        drop(full);
        disk.remount("size=64m");
        (root, taken.load(Ordering::Relaxed))
    } else {
        // Every flush waits, too, and so the engine cannot be asked for its words.
        assert!(cause.contains("background errors"), "{cause}");
        // What a process that ends here would find at its next start. The write that waits may be part of it.
        let copied = Command::new("cp").arg("-r").arg(&root).arg(larger.path()).status().unwrap();
        assert!(copied.success());
        (larger.path().join("state"), taken.load(Ordering::Relaxed) + 1)
    };
    let store = open(&root).unwrap();
    let found = store.applied().index().unwrap();
    assert!(found <= most, "{found} of {most}");
    let model = MemStore::new();
    for index in 1..=found {
        model.commit(new_rows(&model.view(), index), log_id(index), None).unwrap();
    }
    assert_eq!(
        state_digest(&store.view()).unwrap(),
        state_digest(&model.view()).unwrap(),
        "the state of entry {found}"
    );
    println!("{most} entries were taken, {found} are there");
}

#[test]
fn a_read_only_file_system_is_refused_and_not_called_damaged() {
    let Some(disk) = Mounted::tmpfs("size=16m") else { return };
    let root = disk.0.path().join("state");
    let store = open(&root).unwrap();
    fill(&store, 1, 1..20);
    drop(store);
    disk.remount("ro");
    let error = open(&root).err().unwrap();
    assert!(error.to_string().contains("Read-only file system"), "{error}");
    assert!(!matches!(error, StoreError::Damaged { .. }), "{error}");
    disk.remount("rw");
    assert_eq!(open(&root).unwrap().applied().index(), Some(19));
}
