//! Cache of the rows that nearly every command reads (sessions, rooms, members), for the thread that applies entries.
//!
//! All rows that a message needs, except its own transaction id, are those that the previous message needed. Looking
//! each of them up in the engine's memtables and files cost more than everything else that applying does.

use bytes::Bytes;
use quorate_core::table::{ChangeSet, ReadError, RowRef, ScanControl, ScanRange, Table, TableRead};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Size of a generation, of which two are kept: enough for the sessions, rooms and memberships of about ten thousand
/// people who write, and small beside the engine's own cache.
const GENERATION_BYTES: usize = 4 << 20;
/// Approximate overhead of a row beyond its key and value.
const ROW_BYTES: usize = 128;

/// Tables whose rows are read again and again. Rows that are read only once (transaction ids) would evict them.
const TABLES: [Table; 6] =
    [Table::Meta, Table::Device, Table::Room, Table::RoomByPosition, Table::RoomMember, Table::Sequence];

fn table_slot(table: Table) -> Option<usize> {
    TABLES.iter().position(|hot| *hot == table)
}

type RowGeneration = [HashMap<Vec<u8>, Option<Bytes>>; TABLES.len()];

/// Cache of rows as of the last commit, including rows that are absent. See the [module](self).
#[derive(Debug, Default)]
pub struct HotRows(Mutex<CachedRows>);

/// Rows in two generations: used recently, and used before that. When the young generation is full, it becomes the old
/// one, and the old rows, which nobody has read in the meantime, are dropped.
#[derive(Debug, Default)]
struct CachedRows {
    young: RowGeneration,
    old: RowGeneration,
    young_bytes: usize,
}

impl CachedRows {
    fn get(&mut self, slot: usize, key: &[u8]) -> Option<Option<Bytes>> {
        let young = self.young.get(slot)?;
        let old = self.old.get_mut(slot)?;
        if let Some(row) = young.get(key) {
            return Some(row.clone());
        }
        let (key, row) = old.remove_entry(key)?;
        self.put(slot, key, row.clone());
        Some(row)
    }

    fn put(&mut self, slot: usize, key: Vec<u8>, row: Option<Bytes>) {
        let bytes = ROW_BYTES + key.len() + row.as_ref().map_or(0, Bytes::len);
        if self.young_bytes + bytes > GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if let (Some(young), Some(old)) = (self.young.get_mut(slot), self.old.get_mut(slot)) {
            old.remove(&key);
            // A row that is written repeatedly is counted each time, so a generation may end early but never grows too
            // large.
            young.insert(key, row);
            self.young_bytes += bytes;
        }
    }
}

impl HotRows {
    fn rows(&self) -> MutexGuard<'_, CachedRows> {
        // Each change is a single insertion, so a panic cannot leave one half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a view of `base`, which must be the state as of the last commit, that reads through this cache.
    pub fn over<'a, R: TableRead>(&'a self, base: &'a R) -> CachedView<'a, R> {
        CachedView { base, rows: RefCell::new(self.rows()) }
    }

    /// Forgets all rows, because another state replaces the one they belong to.
    pub fn forget(&self) {
        *self.rows() = CachedRows::default();
    }
}

/// View that asks the cache first.
pub struct CachedView<'a, R> {
    base: &'a R,
    rows: RefCell<MutexGuard<'a, CachedRows>>,
}

impl<R: TableRead> CachedView<'_, R> {
    /// Takes over the rows of `changes`, which are about to be committed.
    pub fn take(self, changes: &ChangeSet) {
        let mut rows = self.rows.into_inner();
        for (slot, table) in TABLES.into_iter().enumerate() {
            for (key, row) in changes.of(table) {
                rows.put(slot, key.to_vec(), row.cloned());
            }
        }
    }
}

impl<R: TableRead> TableRead for CachedView<'_, R> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let Some(slot) = table_slot(table) else { return self.base.get(table, key) };
        let mut rows = self.rows.borrow_mut();
        if let Some(row) = rows.get(slot, key) {
            return Ok(row);
        }
        let row = self.base.get(table, key)?;
        rows.put(slot, key.to_vec(), row.clone());
        Ok(row)
    }

    fn scan(
        &self,
        range: &ScanRange<'_>,
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<ScanControl, ReadError>,
    ) -> Result<(), ReadError> {
        self.base.scan(range, visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quorate_core::table::{MemTable, Overlay, TableWrite as _};

    #[test]
    fn a_row_is_read_from_the_engine_once() {
        let mut state = MemTable::default();
        state.put(Table::Room, vec![1], Bytes::from_static(b"x"));
        let hot = HotRows::default();
        assert_eq!(hot.over(&state).get(Table::Room, &[1]).unwrap().unwrap(), "x");
        assert_eq!(hot.over(&state).get(Table::Room, &[2]).unwrap(), None);
        let nothing = MemTable::default();
        assert_eq!(hot.over(&nothing).get(Table::Room, &[1]).unwrap().unwrap(), "x");
        hot.forget();
        assert_eq!(hot.over(&nothing).get(Table::Room, &[1]).unwrap(), None);
    }

    #[test]
    fn what_nobody_asks_for_goes_and_memory_is_bounded() {
        let (hot, state) = (HotRows::default(), MemTable::default());
        for number in 0..200_000_u32 {
            hot.over(&state).get(Table::Room, &number.to_be_bytes()).unwrap();
            hot.over(&state).get(Table::Room, &[7]).unwrap();
        }
        let rows = hot.rows();
        let count = |generation: &RowGeneration| generation.iter().map(HashMap::len).sum::<usize>();
        assert!((count(&rows.young) + count(&rows.old)) * ROW_BYTES <= 2 * GENERATION_BYTES);
        let slot = table_slot(Table::Room).unwrap();
        assert!(rows.young[slot].contains_key([7].as_slice()) || rows.old[slot].contains_key([7].as_slice()));
    }

    proptest! {
        #[test]
        fn reads_are_those_of_the_state(
            batches in prop::collection::vec(
                prop::collection::vec((0_u8..12, prop::option::of(any::<u8>()), any::<bool>()), 0..20), 0..20),
        ) {
            let (hot, mut state) = (HotRows::default(), MemTable::default());
            for batch in batches {
                let before = state.clone();
                let over = hot.over(&before);
                let mut changes = Overlay::new(&over);
                for (key, value, is_read) in batch {
                    let table = TABLES[usize::from(key) % TABLES.len()];
                    match (is_read, value) {
                        (true, _) => prop_assert_eq!(changes.get(table, &[key]).unwrap(), state.get(table, &[key]).unwrap()),
                        (_, Some(value)) => changes.put(table, vec![key], vec![value].into()),
                        (_, None) => changes.delete(table, vec![key]),
                    }
                    if !is_read {
                        match value {
                            Some(value) => state.put(table, vec![key], vec![value].into()),
                            None => state.delete(table, vec![key]),
                        }
                    }
                }
                let changes = changes.into_changes();
                over.take(&changes);
            }
        }
    }
}
