//! Removed rows release their disk space.

use super::*;
use std::time::{Duration, Instant};

/// Size of an event, as in a busy room.
const EVENT: usize = 700;
const EVENTS: u64 = 40_000;
/// Number of events that one command removes at most.
const PART: u64 = 1000;

fn commit(store: &RocksStore, index: u64, change: impl Fn(&mut Overlay<'_>, Vec<u8>)) {
    let view = store.view();
    let mut overlay = Overlay::new(&view);
    for n in 0..PART {
        let position = quorate_core::id::Position { incarnation: 0, index: index * PART + n, ordinal: 0 };
        change(&mut overlay, key::room_position(quorate_core::id::RoomNumber(1), position));
    }
    store.commit(overlay.into_changes(), log_id(index), None).unwrap();
}

#[test]
fn history_that_is_removed_gives_its_space_back_without_being_asked() {
    let dir = TempDir::new().unwrap();
    let store = RocksStore::open(
        dir.path(),
        RocksSettings { write_buffer_bytes: 4 << 20, ..settings() },
        FatalSignal::default(),
    )
    .unwrap();
    let random = std::cell::RefCell::new(StdRng::seed_from_u64(7));
    for part in 0..EVENTS / PART {
        // Random bytes, so that only removal makes the files smaller.
        commit(&store, part, |rows, key| {
            let value: Vec<u8> = (0..EVENT).map(|_| random.borrow_mut().random()).collect();
            rows.put(Table::Timeline, key, value.into());
        });
    }
    store.flush().unwrap();
    let full = store.figures().disk_bytes;
    assert!(full > EVENTS * EVENT as u64 * 9 / 10, "{full}");
    // Removes all but the youngest tenth.
    for part in 0..EVENTS / PART * 9 / 10 {
        commit(&store, part, |rows, key| rows.delete(Table::Timeline, key));
    }
    store.flush().unwrap();
    let started = Instant::now();
    while store.figures().disk_bytes > full / 5 {
        assert!(started.elapsed() < Duration::from_secs(30), "{} of {full} bytes", store.figures().disk_bytes);
        std::thread::yield_now();
    }
    println!("{full} bytes, after the removal {}, {:?} later", store.figures().disk_bytes, started.elapsed());
}
