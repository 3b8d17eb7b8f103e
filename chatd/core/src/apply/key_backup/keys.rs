//! Keys in a backup: adding, replacing and removing them.

use super::super::append;
use super::super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::{MAX_REMOVED, byte_count, known_version, no_such_backup, put_version, remove_keys, remove_left_keys};
use crate::key_backup::{current_backup, live_backup};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::table::{self, Table, TableRead as _, key};

/// Maximum number of keys in one command: some milliseconds of apply. Pods send fewer at a time.
const MAX_KEYS: usize = 1024;

/// Maximum length of a room id or session id in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Maximum size of `session_data` in bytes: an encrypted session takes less than one kilobyte.
const MAX_SESSION_DATA_BYTES: usize = 16 * 1024;

pub(in crate::apply) fn apply_put_backup_keys(
    context: &mut ApplyContext<'_>,
    command: &log::PutBackupKeys,
) -> ApplyResult<CommandAnswer> {
    if command.keys.len() > MAX_KEYS {
        return refuse(Reason::TooLarge, format!("send at most {MAX_KEYS} keys at a time"));
    }
    for key in &command.keys {
        check_key(key)?;
    }
    let Some((current, row)) = current_backup(&context.rows, context.user)? else { return no_such_backup() };
    if current != command.version {
        if live_backup(&context.rows, context.user, command.version)?.is_none() {
            return no_such_backup();
        }
        let message = format!("this version of the backup takes no more keys: the current one is {current}");
        return refuse(Reason::WrongBackupVersion, message);
    }
    let mut after = row.clone();
    for key in &command.keys {
        put_key(context, current, key, &mut after)?;
    }
    check_limits(command, &row, &after)?;
    if after != row {
        put_version(context, current, &after);
    }
    remove_left_keys(context)?;
    Ok(changed_answer(&after, false))
}

fn check_key(key: &log::BackupKeyInput) -> ApplyResult<()> {
    for name in [&key.room_id, &key.session_id] {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return refuse(Reason::Invalid, format!("room ids and session ids must have 1 to {MAX_NAME_BYTES} bytes"));
        }
    }
    if key.session_data.len() > MAX_SESSION_DATA_BYTES {
        return refuse(Reason::TooLarge, format!("session_data must have at most {MAX_SESSION_DATA_BYTES} bytes"));
    }
    append::check_opaque(&key.session_data)
}

/// Writes a key, unless there is a better one for its session.
fn put_key(
    context: &mut ApplyContext<'_>,
    version: u64,
    input: &log::BackupKeyInput,
    backup: &mut store::KeyBackup,
) -> ApplyResult<()> {
    let key = key::backup_key(context.user, version, &input.room_id, &input.session_id);
    let new = store::BackupKey {
        first_message_index: input.first_message_index,
        forwarded_count: input.forwarded_count,
        is_verified: input.is_verified,
        session_data: input.session_data.clone(),
    };
    if let Some(old) = context.rows.get(Table::BackupKey, &key)? {
        let old_bytes = byte_count(&old);
        if !is_better(&new, &table::decode_value(Table::BackupKey, old)?) {
            return Ok(());
        }
        backup.keys = backup.keys.saturating_sub(1);
        backup.bytes = backup.bytes.saturating_sub(old_bytes);
    }
    let value = table::encode_value(&new);
    backup.keys += 1;
    backup.bytes += byte_count(&value);
    backup.etag += 1;
    context.rows.put(Table::BackupKey, key, value);
    Ok(())
}

/// Returns `true` if a key replaces another one for the same session. Source: Matrix specification, "Backup algorithm",
/// PUT /room_keys/keys: a verified key is better, then one that begins earlier, then one that was forwarded less often.
fn is_better(new: &store::BackupKey, old: &store::BackupKey) -> bool {
    let rank = |key: &store::BackupKey| (!key.is_verified, key.first_message_index, key.forwarded_count);
    rank(new) < rank(old)
}

fn check_limits(command: &log::PutBackupKeys, before: &store::KeyBackup, after: &store::KeyBackup) -> ApplyResult<()> {
    let exceeds = |limit: u64, before: u64, after: u64| limit > 0 && after > limit && after > before;
    if exceeds(command.max_keys, before.keys, after.keys) {
        let message = format!("a key backup can have at most {} keys: begin a new version", command.max_keys);
        return refuse(Reason::TooLarge, message);
    }
    if exceeds(command.max_bytes, before.bytes, after.bytes) {
        let message = format!("a key backup can have at most {} bytes: begin a new version", command.max_bytes);
        return refuse(Reason::TooLarge, message);
    }
    Ok(())
}

pub(in crate::apply) fn apply_delete_backup_keys(
    context: &mut ApplyContext<'_>,
    command: &log::DeleteBackupKeys,
) -> ApplyResult<CommandAnswer> {
    let log::DeleteBackupKeys { version, room_id, session_id, continues: _ } = command;
    let mut row = known_version(context, *version)?;
    let removed = if session_id.is_empty() {
        let prefix = match room_id.as_str() {
            "" => key::key_backup(context.user, *version),
            room_id => key::backup_keys_of_room(context.user, *version, room_id),
        };
        remove_keys(context, &prefix, MAX_REMOVED, &mut row)?
    } else {
        remove_one(context, &key::backup_key(context.user, *version, room_id, session_id), &mut row)?
    };
    if removed > 0 {
        row.etag += 1;
        put_version(context, *version, &row);
    }
    // If there are no more, the next command finds none.
    Ok(changed_answer(&row, removed == MAX_REMOVED))
}

fn remove_one(context: &mut ApplyContext<'_>, key: &[u8], version: &mut store::KeyBackup) -> ApplyResult<usize> {
    let Some(old) = context.rows.get(Table::BackupKey, key)? else { return Ok(0) };
    version.keys = version.keys.saturating_sub(1);
    version.bytes = version.bytes.saturating_sub(byte_count(&old));
    context.rows.delete(Table::BackupKey, key.to_vec());
    Ok(1)
}

fn changed_answer(row: &store::KeyBackup, more: bool) -> CommandAnswer {
    let changed = log::BackupChanged { etag: row.etag, keys: row.keys, more };
    CommandAnswer::New(outcome::Kind::BackupChanged(changed), None)
}
