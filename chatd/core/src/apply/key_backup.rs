//! Key backups: versions, of which the newest is the current one, and [`keys`] in them.
//!
//! A version that is removed is gone at once; its keys are removed in bounded parts, by the commands that follow. Every
//! command about backups removes a part of what removed versions have left, so that nothing stays if a removal is not
//! continued.

pub(super) mod keys;

use super::append;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use crate::key_backup::{each_version, live_backup};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};
use bytes::Bytes;

/// Maximum length of the algorithm's name in bytes.
const MAX_ALGORITHM_BYTES: usize = 255;

/// Maximum size of `auth_data` in bytes: a public key and its signatures take a few hundred.
const MAX_AUTH_DATA_BYTES: usize = 65_536;

/// Number of keys that one command removes: some milliseconds of apply.
const MAX_REMOVED: usize = 1024;

/// Maximum number of versions removed for a new one, after the limit was lowered.
const MAX_VERSIONS_REMOVED: usize = 4;

pub(super) fn apply_create_backup(
    context: &mut ApplyContext<'_>,
    command: &log::CreateBackup,
) -> ApplyResult<CommandAnswer> {
    let log::CreateBackup { algorithm, auth_data, max_versions } = command;
    check_info(algorithm, auth_data)?;
    let mut newest = 0;
    let mut live = Vec::new();
    each_version(&context.rows, context.user, &mut |version, row| {
        newest = newest.max(version);
        if !row.deleted {
            live.push((version, row));
        }
        ScanControl::More
    })?;
    if *max_versions > 0 {
        // Not refused: a client that cannot read the old backup begins a new one, and never comes back to the old.
        let max_versions = usize::try_from(*max_versions).unwrap_or(usize::MAX);
        let excess = (live.len() + 1).saturating_sub(max_versions).min(MAX_VERSIONS_REMOVED);
        // Newest first, so the oldest are at the end.
        for (version, row) in live.into_iter().rev().take(excess) {
            put_version(context, version, &as_deleted(row));
        }
    }
    let version = newest + 1;
    let row =
        store::KeyBackup { algorithm: algorithm.clone(), auth_data: auth_data.clone(), ..store::KeyBackup::default() };
    put_version(context, version, &row);
    remove_left_keys(context)?;
    Ok(CommandAnswer::New(outcome::Kind::BackupCreated(log::BackupCreated { version }), None))
}

fn check_info(algorithm: &str, auth_data: &Bytes) -> ApplyResult<()> {
    if algorithm.is_empty() || algorithm.len() > MAX_ALGORITHM_BYTES {
        return refuse(Reason::Invalid, format!("an algorithm's name must have 1 to {MAX_ALGORITHM_BYTES} bytes"));
    }
    if auth_data.len() > MAX_AUTH_DATA_BYTES {
        return refuse(Reason::TooLarge, format!("auth_data must have at most {MAX_AUTH_DATA_BYTES} bytes"));
    }
    append::check_opaque(auth_data)
}

pub(super) fn apply_update_backup(
    context: &mut ApplyContext<'_>,
    command: &log::UpdateBackup,
) -> ApplyResult<CommandAnswer> {
    check_info(&command.algorithm, &command.auth_data)?;
    let row = known_version(context, command.version)?;
    if row.algorithm != command.algorithm {
        return refuse(Reason::Invalid, "the algorithm of a backup cannot be changed: create a new version");
    }
    put_version(context, command.version, &store::KeyBackup { auth_data: command.auth_data.clone(), ..row });
    Ok(CommandAnswer::done())
}

pub(super) fn apply_delete_backup(
    context: &mut ApplyContext<'_>,
    command: &log::DeleteBackup,
) -> ApplyResult<CommandAnswer> {
    if !command.continues {
        let row = known_version(context, command.version)?;
        put_version(context, command.version, &as_deleted(row));
    }
    let more = remove_left_keys(context)?;
    let changed = log::BackupChanged { more, ..log::BackupChanged::default() };
    Ok(CommandAnswer::New(outcome::Kind::BackupChanged(changed), None))
}

fn known_version(context: &ApplyContext<'_>, version: u64) -> ApplyResult<store::KeyBackup> {
    match live_backup(&context.rows, context.user, version)? {
        Some(row) => Ok(row),
        None => no_such_backup(),
    }
}

fn no_such_backup<T>() -> ApplyResult<T> {
    refuse(Reason::BackupNotFound, "there is no such key backup")
}

fn as_deleted(row: store::KeyBackup) -> store::KeyBackup {
    store::KeyBackup { algorithm: String::new(), auth_data: Bytes::new(), deleted: true, ..row }
}

/// Removes a part of all backups of an account that is closed. Returns `true` if there is more to remove.
pub(super) fn forget_backups(context: &mut ApplyContext<'_>) -> ApplyResult<bool> {
    let mut newest = None;
    let mut live = Vec::new();
    each_version(&context.rows, context.user, &mut |version, row| {
        newest.get_or_insert(version);
        if !row.deleted {
            live.push((version, row));
        }
        ScanControl::More
    })?;
    for (version, row) in live {
        put_version(context, version, &as_deleted(row));
    }
    let more = remove_left_keys(context)?;
    // Its number is not given out again, because there is nobody left to begin another version.
    if let Some(newest) = newest.filter(|_| !more) {
        context.rows.delete(Table::KeyBackup, key::key_backup(context.user, newest));
    }
    Ok(more)
}

fn put_version(context: &mut ApplyContext<'_>, version: u64, row: &store::KeyBackup) {
    context.rows.put(Table::KeyBackup, key::key_backup(context.user, version), table::encode_value(row));
}

/// Removes a part of the keys of removed versions, and the rows of those that have none left. Returns `true` if there is
/// more to remove.
fn remove_left_keys(context: &mut ApplyContext<'_>) -> ApplyResult<bool> {
    let mut newest = None;
    let mut deleted = Vec::new();
    each_version(&context.rows, context.user, &mut |version, row| {
        newest.get_or_insert(version);
        if row.deleted {
            deleted.push((version, row));
        }
        ScanControl::More
    })?;
    let mut left = MAX_REMOVED;
    for (version, mut row) in deleted {
        if row.keys > 0 {
            if left == 0 {
                return Ok(true);
            }
            let prefix = key::key_backup(context.user, version);
            left -= remove_keys(context, &prefix, left, &mut row)?;
            put_version(context, version, &row);
        }
        if row.keys > 0 {
            return Ok(true);
        }
        // The newest one stays, so that its number is not given to another version.
        if newest != Some(version) {
            context.rows.delete(Table::KeyBackup, key::key_backup(context.user, version));
        }
    }
    Ok(false)
}

/// Removes at most `at_most` keys with this prefix, and subtracts them from the row of their version. Returns their
/// number.
fn remove_keys(
    context: &mut ApplyContext<'_>,
    prefix: &[u8],
    at_most: usize,
    version: &mut store::KeyBackup,
) -> ApplyResult<usize> {
    let mut removed = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::BackupKey, prefix), &mut |(key, value)| {
        if removed.len() == at_most {
            return Ok(ScanControl::Stop);
        }
        version.keys = version.keys.saturating_sub(1);
        version.bytes = version.bytes.saturating_sub(byte_count(value));
        removed.push(key.to_vec());
        Ok(ScanControl::More)
    })?;
    let count = removed.len();
    for key in removed {
        context.rows.delete(Table::BackupKey, key);
    }
    Ok(count)
}

fn byte_count(value: &[u8]) -> u64 {
    u64::try_from(value.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
