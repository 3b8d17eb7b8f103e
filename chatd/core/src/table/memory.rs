//! The state in memory: for tests, the simulation, and the model against which the real store is compared.

use super::{ReadError, RowRef, ScanControl, ScanDirection, ScanRange, Table, TableRead, TableWrite};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// All tables in memory, each as an ordered map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemTable {
    // Empty tables are removed, so that equality of maps is equality of rows.
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Bytes>>,
}

impl MemTable {
    /// Returns all rows in order of table, then key.
    pub fn rows(&self) -> impl Iterator<Item = (Table, &[u8], &Bytes)> {
        self.tables.iter().flat_map(|(table, rows)| rows.iter().map(|(key, value)| (*table, key.as_slice(), value)))
    }
}

pub(super) type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Returns the bounds of a scan as `BTreeMap::range` expects them; `None` if they contain no key.
pub(super) fn key_range<'a>(range: &'a ScanRange<'_>) -> Option<KeyRange<'a>> {
    let from = range.from;
    let to = &*range.to;
    if to.is_empty() {
        Some((Bound::Included(from), Bound::Unbounded))
    } else {
        (from < to).then_some((Bound::Included(from), Bound::Excluded(to)))
    }
}

impl TableRead for MemTable {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.tables.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(
        &self,
        range: &ScanRange<'_>,
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<ScanControl, ReadError>,
    ) -> Result<(), ReadError> {
        let (Some(rows), Some(keys)) = (self.tables.get(&range.table), key_range(range)) else { return Ok(()) };
        let mut rows = rows.range::<[u8], _>(keys);
        while let Some((key, value)) = match range.direction {
            ScanDirection::Forward => rows.next(),
            ScanDirection::Backward => rows.next_back(),
        } {
            if visit((key, value))? == ScanControl::Stop {
                break;
            }
        }
        Ok(())
    }
}

impl TableWrite for MemTable {
    fn put(&mut self, table: Table, key: Vec<u8>, value: Bytes) {
        self.tables.entry(table).or_default().insert(key, value);
    }

    fn delete(&mut self, table: Table, key: Vec<u8>) {
        let Some(rows) = self.tables.get_mut(&table) else { return };
        rows.remove(&key);
        if rows.is_empty() {
            self.tables.remove(&table);
        }
    }
}
