//! What the database tells of itself.

use super::*;
use crate::store::{Figures, StoreFigures as _};
use std::time::{Duration, Instant};

/// Waits until the figures are so.
fn until(store: &RocksStore, what: &str, so: impl Fn(&Figures) -> bool) -> Figures {
    let started = Instant::now();
    loop {
        let figures = store.figures();
        if so(&figures) {
            return figures;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "not {what}: {figures:?}");
        std::thread::yield_now();
    }
}

#[test]
fn figures_move_as_data_is_written_flushed_compacted_and_read() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    let fresh = store.figures();
    assert_eq!(fresh.block_cache_capacity_bytes, settings().cache_bytes as u64);
    assert!(!fresh.write_stopped && fresh.background_errors == 0);
    fill(&store, 1, 1..20);
    assert!(store.figures().memtable_bytes > fresh.memtable_bytes);
    store.flush().unwrap();
    let flushed = store.figures();
    assert!(flushed.disk_bytes > fresh.disk_bytes && flushed.level0_files >= 1, "{flushed:?}");
    assert!(flushed.flush_written_bytes > fresh.flush_written_bytes, "{flushed:?}");
    // Level 0 is compacted from its fourth file on.
    for part in 1..8 {
        fill(&store, 1, part * 20..(part + 1) * 20);
        store.flush().unwrap();
    }
    let compacted = until(&store, "compacted", |f| f.compaction_read_bytes > 0 && f.compaction_written_bytes > 0);
    assert!(compacted.table_readers_bytes < compacted.disk_bytes && compacted.block_cache_bytes > 0, "{compacted:?}");
    digest(&store.view()).unwrap();
    digest(&store.view()).unwrap();
    let read = store.figures();
    assert!(read.block_cache_misses > fresh.block_cache_misses, "{read:?}");
    assert!(read.block_cache_hits > compacted.block_cache_hits, "{read:?}");
}

#[test]
fn what_is_counted_goes_on_when_a_snapshot_becomes_the_state() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store, 1, 1..40);
    store.flush().unwrap();
    let before = store.figures().flush_written_bytes;
    assert!(before > 0);
    let target = dir.path().join("checkpoint");
    store.checkpoint(&target).unwrap();
    store.replace(&target).unwrap();
    assert!(store.figures().flush_written_bytes >= before);
    fill(&store, 1, 40..60);
    store.flush().unwrap();
    assert!(store.figures().flush_written_bytes > before);
}
