//! State in memory: for the simulation, and as the model that the real store is compared with. A restart loses it, as a
//! crash loses RocksDB's memtables; the newest snapshot and the log restore it.

use super::{
    AppliedMembership, AppliedState, CheckpointContents, StateStore, StoreError, cluster_row, row, sync_dir,
    write_durably,
};
use bytes::Bytes;
use quorate_core::proto::log;
use quorate_core::table::{
    ChangeSet, MemTable, ReadError, RowRef, ScanControl, ScanRange, Table, TableRead, TableWrite,
};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// State store in memory. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct MemStore {
    state: Arc<Mutex<MemState>>,
}

#[derive(Debug, Default)]
struct MemState {
    /// Rows of the state; copied on write while a view holds them.
    rows: Arc<MemTable>,
    applied: AppliedState,
}

/// View of a [`MemStore`].
#[derive(Clone, Debug)]
pub struct MemView(Arc<MemTable>);

impl TableRead for MemView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        range: &ScanRange<'_>,
        visit: &mut dyn FnMut(RowRef<'_>) -> Result<ScanControl, ReadError>,
    ) -> Result<(), ReadError> {
        self.0.scan(range, visit)
    }
}

impl MemStore {
    /// Creates an empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, MemState> {
        // Every change is made by one assignment or by core's total functions, so a panic cannot leave one half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name of a checkpoint's only file. Its content repeats table number, length of key, key, length of value, value;
/// lengths are four bytes, big-endian. Rows of chatd itself have the table number [`OWN`].
const DUMP: &str = "rows";
const OWN: u8 = u8::MAX;

fn dump_row(out: &mut Vec<u8>, table: u8, key: &[u8], value: &[u8]) {
    out.push(table);
    for part in [key, value] {
        let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(part);
    }
}

fn dump_state(state: &MemState) -> Vec<u8> {
    let mut out = Vec::new();
    for (table, key, value) in state.rows.rows() {
        dump_row(&mut out, table as u8, key, value);
    }
    if let Some(last) = state.applied.log_id {
        dump_row(&mut out, OWN, row::APPLIED, &row::encode_applied(last));
    }
    dump_row(&mut out, OWN, row::MEMBERSHIP, &row::encode_membership(&state.applied.membership));
    out
}

fn split_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

struct DumpedRow<'a> {
    table: u8,
    key: &'a [u8],
    value: &'a [u8],
}

/// Splits the first row off `bytes`; `None` if they end within it.
fn split_row(bytes: &[u8]) -> Option<(DumpedRow<'_>, &[u8])> {
    let (&table, rest) = bytes.split_first()?;
    let (key, rest) = split_part(rest)?;
    let (value, rest) = split_part(rest)?;
    Some((DumpedRow { table, key, value }, rest))
}

fn load_state(checkpoint: &Path) -> Result<MemState, StoreError> {
    let path = checkpoint.join(DUMP);
    let bytes = fs::read(&path).map_err(StoreError::io("reading", &path))?;
    let mut rows = MemTable::default();
    let mut applied = None;
    let mut membership = None;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let cut = || StoreError::damaged(&path, "it ends within a row");
        let (found, after) = split_row(rest).ok_or_else(cut)?;
        rest = after;
        match (found.table, found.key) {
            (OWN, row::APPLIED) => applied = Some(found.value),
            (OWN, row::MEMBERSHIP) => membership = Some(found.value),
            (number, key) => {
                let table = Table::ALL.into_iter().find(|t| *t as u8 == number);
                let table = table.ok_or_else(|| StoreError::damaged(&path, format!("there is no table {number}")))?;
                rows.put(table, key.to_vec(), Bytes::copy_from_slice(found.value));
            }
        }
    }
    Ok(MemState { rows: Arc::new(rows), applied: row::decode_applied(&path, applied, membership)? })
}

impl StateStore for MemStore {
    type View = MemView;

    fn may_block(&self) -> bool {
        false
    }

    fn view(&self) -> MemView {
        MemView(self.state().rows.clone())
    }

    fn applied(&self) -> AppliedState {
        self.state().applied.clone()
    }

    fn commit(
        &self,
        changes: ChangeSet,
        last: log::LogId,
        membership: Option<AppliedMembership>,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let rows = Arc::make_mut(&mut state.rows);
        changes.write_to(rows);
        state.applied.log_id = Some(last);
        if let Some(membership) = membership {
            state.applied.membership = Arc::new(membership);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        let content = dump_state(&self.state());
        fs::create_dir(target).map_err(StoreError::io("creating directory", target))?;
        write_durably(&target.join(DUMP), &content)?;
        target.parent().map_or(Ok(()), sync_dir)
    }

    fn inspect(&self, checkpoint: &Path) -> Result<CheckpointContents, StoreError> {
        let state = load_state(checkpoint)?;
        let cluster = cluster_row(&*state.rows)?;
        Ok(CheckpointContents::of(state.applied, cluster))
    }

    fn replace(&self, checkpoint: &Path) -> Result<(), StoreError> {
        let loaded = load_state(checkpoint)?;
        *self.state() = loaded;
        Ok(())
    }
}
