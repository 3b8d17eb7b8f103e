//! Removed rows give their space back.

use super::*;
use std::time::{Duration, Instant};

/// Events as large as those of a talkative room.
const EVENT: usize = 700;
const EVENTS: u64 = 40_000;
/// As many as one command removes.
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
    let store =
        RocksStore::open(dir.path(), Settings { write_buffer_bytes: 4 << 20, ..settings() }, Fatal::default()).unwrap();
    let random = std::cell::RefCell::new(StdRng::seed_from_u64(7));
    for part in 0..EVENTS / PART {
        // Random bytes: nothing but their removal makes the files small.
        commit(&store, part, |rows, key| {
            let value: Vec<u8> = (0..EVENT).map(|_| random.borrow_mut().random()).collect();
            rows.put(Table::Timeline, key, value.into());
        });
    }
    store.flush().unwrap();
    let full = store.figures().disk_bytes;
    assert!(full > EVENTS * EVENT as u64 * 9 / 10, "{full}");
    // All but the youngest tenth.
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
