//! Changes laid over a view: the effects of a batch's commands, visible to the reads of the commands after them, and
//! undone one by one when a command is refused.

use super::memory::key_range;
use super::{ReadError, RowRef, ScanControl, ScanDirection, ScanRange, Table, TableRead, TableWrite};
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::BTreeMap;

type TableChanges = BTreeMap<Vec<u8>, Option<Bytes>>;

/// Ordered changes over a view. Creating one allocates nothing.
pub struct Overlay<'a> {
    base: &'a dyn TableRead,
    changes: ChangeSet,
    /// Previous values of the rows changed since [`Overlay::begin`], in order of the changes; `None` before the first
    /// call.
    undo: Option<Vec<UndoRecord>>,
}

/// State of a row before a change.
struct UndoRecord {
    table: Table,
    key: Vec<u8>,
    /// Earlier change of the row; `None` if the row was as in the base.
    before: Option<Option<Bytes>>,
}

/// Changes to be written, in order of table, then key.
#[derive(Debug, Default)]
pub struct ChangeSet {
    tables: BTreeMap<Table, TableChanges>,
}

impl ChangeSet {
    /// Returns `true` if there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Returns every changed row in order of table, then key; a value of `None` is a removal.
    pub fn into_rows(self) -> impl Iterator<Item = (Table, Vec<u8>, Option<Bytes>)> {
        self.tables.into_iter().flat_map(|(table, rows)| rows.into_iter().map(move |(key, value)| (table, key, value)))
    }

    /// Returns the changed rows of one table in order of their keys; a value of `None` is a removal.
    pub fn of(&self, table: Table) -> impl Iterator<Item = (&[u8], Option<&Bytes>)> {
        self.tables.get(&table).into_iter().flatten().map(|(key, value)| (key.as_slice(), value.as_ref()))
    }

    fn restore(&mut self, table: Table, key: Vec<u8>, before: Option<Option<Bytes>>) {
        let Some(rows) = self.tables.get_mut(&table) else { return };
        match before {
            Some(value) => drop(rows.insert(key, value)),
            None => drop(rows.remove(&key)),
        }
        if rows.is_empty() {
            self.tables.remove(&table);
        }
    }

    /// Writes all changes to `target`.
    pub fn write_to(self, target: &mut dyn TableWrite) {
        for (table, rows) in self.tables {
            for (key, value) in rows {
                match value {
                    Some(value) => target.put(table, key, value),
                    None => target.delete(table, key),
                }
            }
        }
    }
}

impl<'a> Overlay<'a> {
    /// Creates an overlay without changes over `base`.
    #[must_use]
    pub fn new(base: &'a dyn TableRead) -> Self {
        Self { base, changes: ChangeSet::default(), undo: None }
    }

    /// Marks the point to which [`take_back`](Self::take_back) returns: later changes can be undone, earlier ones stay.
    pub fn begin(&mut self) {
        self.undo.get_or_insert_default().clear();
    }

    /// Returns `true` if any row of this table was written since [`begin`](Self::begin).
    #[must_use]
    pub fn touched(&self, table: Table) -> bool {
        self.undo.iter().flatten().any(|change| change.table == table)
    }

    /// Undoes everything that was written since [`begin`](Self::begin).
    pub fn take_back(&mut self) {
        // Newest first, because a row may have been changed more than once.
        for UndoRecord { table, key, before } in self.undo.iter_mut().flat_map(|undo| undo.drain(..).rev()) {
            self.changes.restore(table, key, before);
        }
    }

    /// Returns the changes made so far.
    #[must_use]
    pub fn changes(&self) -> &ChangeSet {
        &self.changes
    }

    /// Returns the changes, to be written to the view that `base` was read from.
    #[must_use]
    pub fn into_changes(self) -> ChangeSet {
        self.changes
    }
}

impl TableRead for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.changes.tables.get(&table).and_then(|rows| rows.get(key)) {
            Some(changed) => Ok(changed.clone()),
            None => self.base.get(table, key),
        }
    }

    fn scan(
        &self,
        range: &ScanRange<'_>,
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<ScanControl, ReadError>,
    ) -> Result<(), ReadError> {
        let (Some(rows), Some(keys)) = (self.changes.tables.get(&range.table), key_range(range)) else {
            return self.base.scan(range, visit);
        };
        let mut rows = rows.range::<[u8], _>(keys);
        let mut next = || match range.direction {
            ScanDirection::Forward => rows.next(),
            ScanDirection::Backward => rows.next_back(),
        };
        let mut changed = next();
        // The base returns in the same way, whether the visitor stopped it or it had no more rows.
        let mut stopped = false;
        self.base.scan(range, &mut |row| {
            while let Some((key, value)) = changed {
                let order = match range.direction {
                    ScanDirection::Forward => key.as_slice().cmp(row.0),
                    ScanDirection::Backward => row.0.cmp(key.as_slice()),
                };
                if order == Ordering::Greater {
                    break;
                }
                changed = next();
                if let Some(value) = value
                    && visit((key, value))? == ScanControl::Stop
                {
                    stopped = true;
                    return Ok(ScanControl::Stop);
                }
                // The change hides the row of the base.
                if order == Ordering::Equal {
                    return Ok(ScanControl::More);
                }
            }
            let flow = visit(row)?;
            stopped = flow == ScanControl::Stop;
            Ok(flow)
        })?;
        // Changes beyond the last row of the base.
        while !stopped && let Some((key, value)) = changed {
            changed = next();
            if let Some(value) = value {
                stopped = visit((key, value))? == ScanControl::Stop;
            }
        }
        Ok(())
    }
}

impl Overlay<'_> {
    fn set(&mut self, table: Table, key: Vec<u8>, value: Option<Bytes>) {
        let rows = self.changes.tables.entry(table).or_default();
        let Some(undo) = &mut self.undo else {
            rows.insert(key, value);
            return;
        };
        let before = rows.insert(key.clone(), value);
        undo.push(UndoRecord { table, key, before });
    }
}

impl TableWrite for Overlay<'_> {
    fn put(&mut self, table: Table, key: Vec<u8>, value: Bytes) {
        self.set(table, key, Some(value));
    }

    fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.set(table, key, None);
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemTable;
    use super::*;
    use proptest::prelude::*;

    const TABLE: Table = Table::Alias;

    fn all(
        view: &dyn TableRead,
        from: &[u8],
        to: &[u8],
        direction: ScanDirection,
        at_most: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut out = Vec::new();
        view.scan(&ScanRange::between(TABLE, from, to).in_direction(direction), &mut |(key, value)| {
            out.push((key.to_vec(), value.to_vec()));
            Ok(if out.len() >= at_most { ScanControl::Stop } else { ScanControl::More })
        })
        .unwrap();
        out
    }

    proptest! {
        #[test]
        fn what_is_taken_back_was_never_there(
            kept in prop::collection::vec((0u8..16, prop::option::of(any::<u8>())), 0..12),
            taken_back in prop::collection::vec((0u8..16, prop::option::of(any::<u8>())), 0..12),
        ) {
            let base = MemTable::default();
            let (mut overlay, mut expected) = (Overlay::new(&base), Overlay::new(&base));
            for overlay in [&mut overlay, &mut expected] {
                for (key, value) in &kept {
                    overlay.set(TABLE, vec![*key], value.map(|value| vec![value].into()));
                }
            }
            overlay.begin();
            for (key, value) in &taken_back {
                overlay.set(TABLE, vec![*key], value.map(|value| vec![value].into()));
            }
            prop_assert_eq!(overlay.touched(TABLE), !taken_back.is_empty());
            overlay.take_back();
            let rows = |overlay: Overlay<'_>| overlay.into_changes().into_rows().collect::<Vec<_>>();
            prop_assert_eq!(overlay.changes().is_empty(), kept.is_empty());
            prop_assert_eq!(rows(overlay), rows(expected));
        }

        #[test]
        fn an_overlay_reads_like_its_changes_written(
            base in prop::collection::vec((0u8..16, any::<u8>()), 0..12),
            changes in prop::collection::vec((0u8..16, prop::option::of(any::<u8>())), 0..12),
            from in 0u8..17, to in 0u8..17, at_most in 1usize..20,
        ) {
            let mut table = MemTable::default();
            for (key, value) in base {
                table.put(TABLE, vec![key], vec![value].into());
            }
            let before = table.clone();
            let mut overlay = Overlay::new(&before);
            for (key, value) in changes {
                match value {
                    Some(value) => { overlay.put(TABLE, vec![key], vec![value].into()); table.put(TABLE, vec![key], vec![value].into()); }
                    None => { overlay.delete(TABLE, vec![key]); table.delete(TABLE, vec![key]); }
                }
            }
            let to = if to == 16 { vec![] } else { vec![to] };
            for direction in [ScanDirection::Forward, ScanDirection::Backward] {
                prop_assert_eq!(all(&overlay, &[from], &to, direction, at_most), all(&table, &[from], &to, direction, at_most));
            }
            let mut written = before.clone();
            overlay.into_changes().write_to(&mut written);
            prop_assert_eq!(written, table);
        }
    }
}
