//! Key backups of an account.

use super::{CallerSession, ChatService, RequestRefusal, decide, limits, write};
use bytes::Bytes;
use quorate_core::proto::log::{
    BackupChanged, BackupKeyInput, CreateBackup, DeleteBackup, DeleteBackupKeys, PutBackupKeys, UpdateBackup,
    command::Kind, outcome,
};

#[cfg(doc)]
use super::RefusalCode;

/// Maximum number of versions of an account's backup. Clients delete the old version when they begin a new one; some are
/// left over from clients that lost their recovery key.
const MAX_VERSIONS: u32 = 8;

/// Maximum number of keys in a version, and of their bytes. A key takes about 700 bytes; after ten years of daily use an
/// account has some hundred thousand.
const MAX_KEYS: u64 = 500_000;
const MAX_BYTES: u64 = 512 << 20;

/// Limits on the keys of one command, and on their bytes: some milliseconds of apply, and less than a command may have.
const PART_KEYS: usize = 256;
const PART_BYTES: usize = 256 << 10;

/// Maximum number of commands that one removal takes: those of a full backup.
const REMOVAL_ROUNDS: usize = 1000;

/// Keys that are to be removed from a version of a backup.
#[derive(Clone, Copy, Debug)]
pub enum BackupScope<'a> {
    /// All keys.
    All,
    /// Keys of a room.
    Room(&'a str),
    /// Key of a session in a room.
    Session(&'a str, &'a str),
}

impl ChatService {
    /// Begins a new version of the caller's backup and returns its number.
    ///
    /// # Errors
    /// [`RefusalCode::Invalid`], [`RefusalCode::TooLarge`], [`RefusalCode::BadJson`], the refusals of the proposer.
    pub async fn create_backup(
        &self,
        s: &CallerSession,
        algorithm: String,
        auth_data: Bytes,
    ) -> Result<u64, RequestRefusal> {
        check_info(&algorithm, &auth_data)?;
        let create = CreateBackup { algorithm, auth_data, max_versions: MAX_VERSIONS };
        match self.propose(decide::session_envelope(s, "", Kind::CreateBackup(create))?).await?.kind {
            Some(outcome::Kind::BackupCreated(created)) => Ok(created.version),
            other => Err(write::unexpected_outcome(other.as_ref())),
        }
    }

    /// Replaces the data of a version's algorithm.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`]; [`RefusalCode::Invalid`] if the algorithm is another one; otherwise as
    /// [`ChatService::create_backup`].
    pub async fn update_backup(
        &self,
        s: &CallerSession,
        version: u64,
        algorithm: String,
        auth_data: Bytes,
    ) -> Result<(), RequestRefusal> {
        check_info(&algorithm, &auth_data)?;
        let update = UpdateBackup { version, algorithm, auth_data };
        write::expect_done(self.propose(decide::session_envelope(s, "", Kind::UpdateBackup(update))?).await?)
    }

    /// Removes a version with its keys.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`], the refusals of the proposer.
    pub async fn delete_backup(&self, s: &CallerSession, version: u64) -> Result<(), RequestRefusal> {
        let mut continues = false;
        for _ in 0..REMOVAL_ROUNDS {
            let delete = DeleteBackup { version, continues };
            if !self.change_backup(s, Kind::DeleteBackup(delete)).await?.more {
                break;
            }
            continues = true;
        }
        Ok(())
    }

    /// Adds keys to the current version, which must be `version`. Of two keys for a session the better one is kept.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`], [`RefusalCode::WrongBackupVersion`], [`RefusalCode::TooLarge`],
    /// [`RefusalCode::BadJson`], the refusals of the proposer. Keys that came before the one that is refused may have
    /// been added.
    pub async fn put_backup_keys(
        &self,
        s: &CallerSession,
        version: u64,
        keys: Vec<BackupKeyInput>,
    ) -> Result<BackupChanged, RequestRefusal> {
        for key in &keys {
            limits::check_name("room_id", &key.room_id)?;
            limits::check_name("session_id", &key.session_id)?;
            limits::check_opaque_json("session_data", &key.session_data)?;
        }
        let mut last = None;
        // In order, because each answer tells what came of all before it. A repetition changes nothing.
        for keys in into_parts(keys) {
            let put = PutBackupKeys { version, keys, max_keys: MAX_KEYS, max_bytes: MAX_BYTES };
            last = Some(self.change_backup(s, Kind::PutBackupKeys(put)).await?);
        }
        last.ok_or_else(RequestRefusal::internal)
    }

    /// Removes keys from a version.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`], the refusals of the proposer.
    pub async fn delete_backup_keys(
        &self,
        s: &CallerSession,
        version: u64,
        scope: BackupScope<'_>,
    ) -> Result<BackupChanged, RequestRefusal> {
        let (room_id, session_id) = match scope {
            BackupScope::All => ("", ""),
            BackupScope::Room(room_id) => (room_id, ""),
            BackupScope::Session(room_id, session_id) => (room_id, session_id),
        };
        let mut delete = DeleteBackupKeys {
            version,
            room_id: room_id.to_owned(),
            session_id: session_id.to_owned(),
            continues: false,
        };
        let mut changed = self.change_backup(s, Kind::DeleteBackupKeys(delete.clone())).await?;
        delete.continues = true;
        for _ in 1..REMOVAL_ROUNDS {
            if !changed.more {
                break;
            }
            changed = self.change_backup(s, Kind::DeleteBackupKeys(delete.clone())).await?;
        }
        Ok(changed)
    }

    async fn change_backup(&self, s: &CallerSession, kind: Kind) -> Result<BackupChanged, RequestRefusal> {
        match self.propose(decide::session_envelope(s, "", kind)?).await?.kind {
            Some(outcome::Kind::BackupChanged(changed)) => Ok(changed),
            other => Err(write::unexpected_outcome(other.as_ref())),
        }
    }
}

fn check_info(algorithm: &str, auth_data: &Bytes) -> Result<(), RequestRefusal> {
    limits::check_name("algorithm", algorithm)?;
    // Objects in the specification; of algorithms that are not in it, other homeservers take text, too.
    limits::check_opaque_json("auth_data", auth_data)
}

/// Divides keys into those of single commands. There is always one, which checks the version.
fn into_parts(keys: Vec<BackupKeyInput>) -> Vec<Vec<BackupKeyInput>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = 0;
    for key in keys {
        let more = key.room_id.len() + key.session_id.len() + key.session_data.len();
        if !part.is_empty() && (part.len() == PART_KEYS || bytes + more > PART_BYTES) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += more;
        part.push(key);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_become_several_commands_and_no_keys_one() {
        let key = |bytes: usize| BackupKeyInput { session_data: vec![b' '; bytes].into(), ..BackupKeyInput::default() };
        let sizes = |keys: Vec<BackupKeyInput>| into_parts(keys).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(Vec::new()), [0]);
        assert_eq!(sizes((0..600).map(|_| key(10)).collect()), [256, 256, 88]);
        assert_eq!(sizes((0..5).map(|_| key(100 << 10)).collect()), [2, 2, 1]);
    }
}
