//! Tests of the figures that the database reports.

use super::*;
use crate::store::StoreFigures as _;
use std::time::{Duration, Instant};

/// Commits `mebibytes` MiB of data that does not compress.
fn write(store: &RocksStore, index: u64, mebibytes: u64) {
    let mut random = StdRng::seed_from_u64(index);
    let view = store.view();
    let mut overlay = Overlay::new(&view);
    for n in 0..mebibytes * 16 {
        let value: Vec<u8> = (0..64 << 10).map(|_| random.random()).collect();
        overlay.put(Table::Timeline, [7_u64.to_be_bytes(), n.to_be_bytes()].concat(), value.into());
    }
    store.commit(overlay.into_changes(), log_id(index), None).unwrap();
}

#[test]
fn figures_move_as_data_is_written_flushed_and_compacted() {
    let dir = TempDir::new().unwrap();
    // Large enough that nothing is flushed by itself.
    let roomy = RocksSettings { cache_bytes: 128 << 20, write_buffer_bytes: 64 << 20, ..settings() };
    let store = RocksStore::open(dir.path(), roomy, FatalSignal::default()).unwrap();
    let fresh = store.figures();
    assert_eq!(fresh.block_cache_capacity_bytes, roomy.cache_bytes as u64);
    assert!(
        !fresh.write_stopped && fresh.background_errors == 0 && fresh.stalled < Duration::from_secs(1),
        "{fresh:?}"
    );
    write(&store, 1, 4);
    assert!(store.figures().memtable_bytes >= fresh.memtable_bytes + (4 << 20));
    store.flush().unwrap();
    let flushed = store.figures();
    assert!(flushed.disk_bytes >= fresh.disk_bytes + (4 << 20) && flushed.level0_files >= 1, "{flushed:?}");
    assert!(flushed.flush_written_bytes >= fresh.flush_written_bytes + (3 << 20), "{flushed:?}");
    assert!(flushed.block_cache_bytes > 0 && flushed.table_readers_bytes < flushed.disk_bytes, "{flushed:?}");
    // Compaction of level 0 starts with its fourth file.
    for index in 2..8 {
        write(&store, index, 4);
        store.flush().unwrap();
    }
    let started = Instant::now();
    loop {
        let figures = store.figures();
        if figures.compaction_read_bytes >= 10 << 20 && figures.written_bytes > figures.flush_written_bytes {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "nothing was compacted: {figures:?}");
        std::thread::yield_now();
    }
}
