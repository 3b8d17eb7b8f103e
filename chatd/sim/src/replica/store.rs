//! State of a replica: production's store in memory, with the faults that a mutation puts into it.

use crate::mutation::Mutation;
use bytes::Bytes;
use quorate_chatd::store::{AppliedMembership, AppliedState, CheckpointContents, MemStore, StateStore, StoreError};
use quorate_core::id::{POSITION_LEN, Position};
use quorate_core::proto::{log, store};
use quorate_core::table::{self, ChangeSet, MemTable, Overlay, ScanControl, ScanRange, Table, TableRead, TableWrite};
use std::path::Path;

/// An in-memory store with at most one mutation. See the [module](self).
#[derive(Clone)]
pub struct SimStore {
    inner: MemStore,
    mutation: Option<Mutation>,
}

/// Share of the messages that a mutation of the store strikes: one in this many.
const ONE_IN: u32 = 20;

type ChangedRows = Vec<(Table, Vec<u8>, Option<Bytes>)>;

impl SimStore {
    /// Creates an empty store, as after any start.
    pub(crate) fn new(mutation: Option<Mutation>) -> Self {
        Self { inner: MemStore::new(), mutation }
    }

    fn mutate(&self, mutation: Mutation, changes: ChangeSet) -> ChangeSet {
        let mut rows: ChangedRows = changes.into_rows().collect();
        match mutation {
            Mutation::DropDedupRow => rows.retain(|(table, ..)| *table != Table::Dedup),
            Mutation::ApplyDuplicate => {
                let copies: ChangedRows =
                    rows.iter().filter(|row| is_message(row) && is_affected(row)).map(shifted_copy).collect();
                rows.extend(copies);
            }
            Mutation::ReplicaDiffers => rows.retain(|row| !is_message(row) || !is_affected(row)),
            Mutation::ForgetOldState => self.forget_old_state(&mut rows),
            Mutation::ContentDiffers => rows.iter_mut().filter(|row| is_message(row)).for_each(append_space),
            Mutation::ForgetStateChange => rows.retain(|(table, ..)| *table != Table::StateChange),
            _ => {}
        }
        let empty = MemTable::default();
        let mut changes = Overlay::new(&empty);
        for (table, key, value) in rows {
            match value {
                Some(value) => changes.put(table, key, value),
                None => changes.delete(table, key),
            }
        }
        changes.into_changes()
    }

    /// Removes the versions of a room's name before a new one.
    fn forget_old_state(&self, rows: &mut ChangedRows) {
        let names: Vec<_> =
            rows.iter().filter(|(table, key, _)| *table == Table::StateVersion && is_name(key)).cloned().collect();
        let view = self.inner.view();
        for (_, key, _) in names {
            let prefix = &key[..key.len() - POSITION_LEN];
            let mut older = Vec::new();
            let _ = view.scan(&ScanRange::between(Table::StateVersion, prefix, &key), &mut |(old, _)| {
                older.push(old.to_vec());
                Ok(ScanControl::More)
            });
            rows.extend(older.into_iter().map(|old| (Table::StateVersion, old, None)));
        }
    }
}

fn is_name(key: &[u8]) -> bool {
    table::key::parse_state_version(key).is_some_and(|(_, event_type, ..)| event_type == "m.room.name")
}

fn is_message((table, _, value): &(Table, Vec<u8>, Option<Bytes>)) -> bool {
    let row = value.as_ref().filter(|_| *table == Table::Timeline);
    let row = row.and_then(|value| table::decode_value::<store::Event>(Table::Timeline, value.clone()).ok());
    row.is_some_and(|row| row.r#type == "m.room.message")
}

/// Returns `true` if a mutation strikes this row: the same messages on every replica, in every life.
fn is_affected((_, key, _): &(Table, Vec<u8>, Option<Bytes>)) -> bool {
    crc32fast::hash(key).is_multiple_of(ONE_IN)
}

/// Appends a space to a message's JSON, which then says the same in other bytes: comparing what clients read does not
/// show it.
fn append_space((table, _, value): &mut (Table, Vec<u8>, Option<Bytes>)) {
    let Some(bytes) = value else { return };
    let mut event = table::decode_value::<store::Event>(*table, bytes.clone()).unwrap();
    event.content = [&event.content[..], b" "].concat().into();
    *value = Some(table::encode_value(&event));
}

/// Returns a copy of the message that stands one place later.
fn shifted_copy((table, key, value): &(Table, Vec<u8>, Option<Bytes>)) -> (Table, Vec<u8>, Option<Bytes>) {
    let at = table::key::trailing_position(key).unwrap();
    let next = Position { ordinal: at.ordinal + 1, ..at };
    let mut key = key[..key.len() - POSITION_LEN].to_vec();
    key.extend(next.to_bytes());
    (*table, key, value.clone())
}

impl StateStore for SimStore {
    type View = <MemStore as StateStore>::View;

    fn may_block(&self) -> bool {
        false
    }

    fn view(&self) -> Self::View {
        self.inner.view()
    }

    fn applied(&self) -> AppliedState {
        self.inner.applied()
    }

    fn commit(
        &self,
        changes: ChangeSet,
        last: log::LogId,
        membership: Option<AppliedMembership>,
    ) -> Result<(), StoreError> {
        let changes = match self.mutation {
            None => changes,
            Some(mutation) => self.mutate(mutation, changes),
        };
        self.inner.commit(changes, last, membership)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }

    fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        if self.mutation != Some(Mutation::SnapshotLacksRow) {
            return self.inner.checkpoint(target);
        }
        let lacking = MemStore::new();
        let view = self.inner.view();
        let applied = self.inner.applied();
        let mut rows = Vec::new();
        for table in Table::ALL {
            view.scan(&ScanRange::all(table), &mut |(key, value)| {
                rows.push((table, key.to_vec(), Bytes::copy_from_slice(value)));
                Ok(ScanControl::More)
            })?;
        }
        let newest = rows.iter().filter(|(table, ..)| *table == Table::Timeline);
        let newest = newest.max_by_key(|(_, key, _)| table::key::trailing_position(key)).map(|(_, key, _)| key.clone());
        let empty = MemTable::default();
        let mut changes = Overlay::new(&empty);
        for (table, key, value) in rows {
            if table != Table::Timeline || Some(&key) != newest.as_ref() {
                changes.put(table, key, value);
            }
        }
        let membership = Some((*applied.membership).clone());
        lacking.commit(changes.into_changes(), applied.log_id.unwrap_or_default(), membership)?;
        lacking.checkpoint(target)
    }

    fn inspect(&self, checkpoint: &Path) -> Result<CheckpointContents, StoreError> {
        self.inner.inspect(checkpoint)
    }

    fn replace(&self, checkpoint: &Path) -> Result<(), StoreError> {
        self.inner.replace(checkpoint)
    }
}
