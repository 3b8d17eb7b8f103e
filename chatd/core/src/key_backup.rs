//! Rows of key backups, as apply and queries read them.

use crate::proto::store;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, TableRead, key};

/// Returns a version of an account's backup, unless it was removed.
pub(crate) fn live_backup(
    rows: &dyn TableRead,
    localpart: &str,
    version: u64,
) -> Result<Option<store::KeyBackup>, ReadError> {
    let row = table::fetch_row::<store::KeyBackup>(rows, Table::KeyBackup, &key::key_backup(localpart, version))?;
    Ok(row.filter(|row| !row.deleted))
}

/// Returns the current version of an account's backup, which is the newest one that was not removed.
pub(crate) fn current_backup(
    rows: &dyn TableRead,
    localpart: &str,
) -> Result<Option<(u64, store::KeyBackup)>, ReadError> {
    let mut found = None;
    each_version(rows, localpart, &mut |version, row| {
        if row.deleted {
            return ScanControl::More;
        }
        found = Some((version, row));
        ScanControl::Stop
    })?;
    Ok(found)
}

/// Visits the versions of an account's backup, newest first, including those that were removed.
pub(crate) fn each_version(
    rows: &dyn TableRead,
    localpart: &str,
    visit: &mut dyn FnMut(u64, store::KeyBackup) -> ScanControl,
) -> Result<(), ReadError> {
    let from = key::devices_of(localpart);
    rows.scan(&ScanRange::with_prefix(Table::KeyBackup, &from).backward(), &mut |(key, value)| {
        let version = key.last_chunk::<8>().map(|version| u64::from_be_bytes(*version));
        let version = version
            .ok_or_else(|| ReadError::Damaged { table: Table::KeyBackup, what: "a key lacks its version".into() })?;
        Ok(visit(version, table::decode_value(Table::KeyBackup, value)?))
    })
}
