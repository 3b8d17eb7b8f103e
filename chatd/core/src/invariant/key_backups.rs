//! Invariants of key backups.

use super::{InvariantResult, all_rows, ensure_holds};
use crate::proto::store;
use crate::table::{self, Table, TableRead, key};

/// Checks that each version counts its keys, and that each key belongs to a version.
///
/// # Errors
/// Fails if the property does not hold or a row cannot be read.
pub fn backups_are_counted(rows: &dyn TableRead) -> InvariantResult {
    const NAME: &str = "backups_are_counted";
    let mut keys = all_rows(rows, Table::BackupKey)?;
    for (version, value) in all_rows(rows, Table::KeyBackup)? {
        let row: store::KeyBackup = table::decode_value(Table::KeyBackup, value)?;
        let end = key::after_prefix(&version);
        let (own, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(key, _)| *key >= version && *key < end);
        keys = others;
        let bytes: usize = own.iter().map(|(_, value)| value.len()).sum();
        let found = (u64::try_from(own.len()).unwrap_or(u64::MAX), u64::try_from(bytes).unwrap_or(u64::MAX));
        ensure_holds(found == (row.keys, row.bytes), NAME, || format!("{version:?}: {found:?} found, {row:?}"))?;
    }
    ensure_holds(keys.is_empty(), NAME, || format!("{} keys belong to no version", keys.len()))
}
