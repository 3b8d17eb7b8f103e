//! Key backups of an account.

use super::{PAGE_BYTES, QueryError, StateView};
use crate::key_backup::{current_backup, live_backup};
use crate::proto::store;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, key};
use bytes::Bytes;

/// Maximum number of keys in one part of a backup: what a thread reads in some milliseconds.
const MAX_PART_KEYS: usize = 1024;

/// Version of a key backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupVersion {
    /// Number of the version.
    pub version: u64,
    /// Algorithm with which the keys are encrypted.
    pub algorithm: String,
    /// Data of the algorithm: a JSON object.
    pub auth_data: Bytes,
    /// Number that rises with each change of the keys.
    pub etag: u64,
    /// Number of keys.
    pub keys: u64,
}

/// Key of a session in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUpKey {
    /// Room that the session belongs to.
    pub room_id: String,
    /// Id of the session.
    pub session_id: String,
    /// Index of the first message that the key decrypts.
    pub first_message_index: u64,
    /// Number of times that the key was forwarded.
    pub forwarded_count: u64,
    /// `true` if the device that made the backup had verified the device that the key is from.
    pub is_verified: bool,
    /// Encrypted session: a JSON object.
    pub session_data: Bytes,
}

/// Cursor at the end of a part of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupCursor(Vec<u8>);

/// Part of the keys of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupPart {
    /// Keys, those of one room together.
    pub keys: Vec<BackedUpKey>,
    /// Cursor from which the next part continues; `None` after the last part.
    pub next: Option<BackupCursor>,
}

impl StateView<'_> {
    /// Returns a version of an account's key backup, the current one if `version` is `None`.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn key_backup(&self, localpart: &str, version: Option<u64>) -> Result<Option<BackupVersion>, QueryError> {
        let found = match version {
            Some(version) => live_backup(self.rows, localpart, version)?.map(|row| (version, row)),
            None => current_backup(self.rows, localpart)?,
        };
        Ok(found.map(|(version, row)| BackupVersion {
            version,
            algorithm: row.algorithm,
            auth_data: row.auth_data,
            etag: row.etag,
            keys: row.keys,
        }))
    }

    /// Returns the key of one session, if it is in the backup.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn backup_key(
        &self,
        localpart: &str,
        version: u64,
        room_id: &str,
        session_id: &str,
    ) -> Result<Option<BackedUpKey>, QueryError> {
        let key = key::backup_key(localpart, version, room_id, session_id);
        let row = table::fetch_row::<store::BackupKey>(self.rows, Table::BackupKey, &key)?;
        Ok(row.map(|row| backed_up_key(room_id, session_id, row)))
    }

    /// Returns a part of the keys of a version, of one room or of all, from a cursor on. Keys are read as they are at
    /// present: what changes between two parts is read before or after the change.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn backup_part(
        &self,
        localpart: &str,
        version: u64,
        room_id: Option<&str>,
        from: Option<&BackupCursor>,
    ) -> Result<BackupPart, QueryError> {
        let start = key::key_backup(localpart, version);
        let prefix = match room_id {
            Some(room_id) => key::backup_keys_of_room(localpart, version, room_id),
            None => start.clone(),
        };
        let end = key::after_prefix(&prefix);
        let from = from.map_or(prefix.as_slice(), |cursor| cursor.0.as_slice());
        let mut part = BackupPart::default();
        let mut bytes = 0;
        self.rows.scan(&ScanRange::between(Table::BackupKey, from, &end), &mut |(key, value)| {
            if part.keys.len() == MAX_PART_KEYS || bytes >= PAGE_BYTES {
                part.next = Some(BackupCursor(key.to_vec()));
                return Ok(ScanControl::Stop);
            }
            bytes += key.len() + value.len();
            let names = key.get(start.len()..).and_then(key::parse_backup_key);
            let (room_id, session_id) = names
                .ok_or_else(|| ReadError::Damaged { table: Table::BackupKey, what: "a key names no session".into() })?;
            let row = table::decode_value(Table::BackupKey, value)?;
            part.keys.push(backed_up_key(room_id, session_id, row));
            Ok(ScanControl::More)
        })?;
        Ok(part)
    }
}

fn backed_up_key(room_id: &str, session_id: &str, row: store::BackupKey) -> BackedUpKey {
    BackedUpKey {
        room_id: room_id.to_owned(),
        session_id: session_id.to_owned(),
        first_message_index: row.first_message_index,
        forwarded_count: row.forwarded_count,
        is_verified: row.is_verified,
        session_data: row.session_data,
    }
}
