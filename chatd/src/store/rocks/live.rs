//! An open RocksDB database.

use super::settings::RocksEngine;
use crate::failpoint::{FailPoint, pass_point};
use crate::store::columns::{self, DbColumn};
use crate::store::{AppliedMembership, AppliedState, StoreError, row};
use quorate_core::proto::log;
use quorate_core::table::{ChangeSet, Table};
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, ErrorKind, FlushOptions, WriteBatch, WriteOptions, properties,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Open database, closed when the last handle to it or view of it is dropped.
pub(super) struct LiveDatabase {
    db: DB,
    /// Log position as of the last commit.
    applied: Mutex<AppliedState>,
    /// Declared after `db`, so that it is dropped after it.
    files: DatabaseFiles,
}

/// Directory of the database. If another database has replaced it, the directory is removed when this is dropped.
struct DatabaseFiles {
    dir: PathBuf,
    retired: AtomicBool,
}

impl Drop for DatabaseFiles {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            // The next start removes it, because `CURRENT` no longer names it.
            tracing::warn!(dir = %self.dir.display(), %error, "cannot remove a replaced state");
        }
    }
}

/// Mode of opening a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenMode {
    /// The database must not exist and is created.
    New,
    /// The database must exist.
    Existing,
    /// The database must exist, and none of its files is changed.
    ReadOnly,
}

impl LiveDatabase {
    pub(super) fn open(dir: &Path, engine: &RocksEngine, mode: OpenMode) -> Result<Self, StoreError> {
        let options = engine.database(mode == OpenMode::New)?;
        let families = || {
            let descriptor = |c: &DbColumn| ColumnFamilyDescriptor::new(c.name(), engine.family(*c));
            DbColumn::ALL.iter().map(descriptor).collect::<Vec<_>>()
        };
        let opened = match mode {
            OpenMode::ReadOnly => DB::open_cf_descriptors_read_only(&options, dir, families(), false),
            OpenMode::New | OpenMode::Existing => DB::open_cf_descriptors(&options, dir, families()),
        };
        let db = opened.map_err(|error| not_opened(dir, &error))?;
        let files = DatabaseFiles { dir: dir.to_owned(), retired: AtomicBool::new(false) };
        let live = Self { db, applied: Mutex::default(), files };
        if mode == OpenMode::New {
            live.write_format()?;
        }
        live.check_format()?;
        let applied = live.read_applied()?;
        live.set_applied(applied);
        Ok(live)
    }

    pub(super) fn db(&self) -> &DB {
        &self.db
    }

    pub(super) fn dir(&self) -> &Path {
        &self.files.dir
    }

    pub(super) fn family(&self, column: DbColumn) -> Result<&ColumnFamily, StoreError> {
        // All families are opened in `open`; a missing one would be a bug in this file.
        self.db
            .cf_handle(column.name())
            .ok_or_else(|| StoreError::damaged(&self.files.dir, format!("it has no column family {}", column.name())))
    }

    fn write_format(&self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(DbColumn::Own)?, row::FORMAT, row::FORMAT_VERSION.to_be_bytes());
        self.write(batch)?;
        self.flush()
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let found = self.own(row::FORMAT)?.and_then(|bytes| bytes.as_slice().try_into().ok());
        let found = found.map(u32::from_be_bytes);
        match found {
            None => Err(StoreError::damaged(&self.files.dir, "its format version is missing")),
            Some(found) if found > row::FORMAT_VERSION => {
                Err(StoreError::Newer { path: self.files.dir.clone(), found, known: row::FORMAT_VERSION })
            }
            Some(_) => Ok(()),
        }
    }

    fn own(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(DbColumn::Own)?, key).map_err(|error| StoreError::damaged(&self.files.dir, error))
    }

    fn read_applied(&self) -> Result<AppliedState, StoreError> {
        let applied = self.own(row::APPLIED)?;
        let membership = self.own(row::MEMBERSHIP)?;
        row::decode_applied(&self.files.dir, applied.as_deref(), membership.as_deref())
    }

    pub(super) fn applied(&self) -> AppliedState {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_applied(&self, applied: AppliedState) {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = applied;
    }

    pub(super) fn commit(
        &self,
        changes: ChangeSet,
        last: log::LogId,
        membership: Option<AppliedMembership>,
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for table in Table::ALL {
            let family = self.family(columns::column_of(table))?;
            for (key, value) in changes.of(table) {
                match value {
                    Some(value) => batch.put_cf(family, columns::row_key(table, key), value),
                    None => batch.delete_cf(family, columns::row_key(table, key)),
                }
            }
        }
        let own = self.family(DbColumn::Own)?;
        batch.put_cf(own, row::APPLIED, row::encode_applied(last));
        let mut applied = self.applied();
        applied.log_id = Some(last);
        if let Some(membership) = membership {
            batch.put_cf(own, row::MEMBERSHIP, row::encode_membership(&membership));
            applied.membership = Arc::new(membership);
        }
        self.write(batch)?;
        // After the write, so that the position is never ahead of the rows.
        self.set_applied(applied);
        Ok(())
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        // The Raft log takes its place: what a crash loses here is applied again from there.
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(self.failed("writing to"))
    }

    /// Makes everything committed durable, in all families atomically.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let families = DbColumn::ALL.iter().map(|c| self.family(*c)).collect::<Result<Vec<_>, _>>()?;
        let families: Vec<_> = families.iter().collect();
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(self.failed("flushing"))?;
        pass_point(FailPoint::StateFlushed);
        Ok(())
    }

    /// Writes a checkpoint. The engine flushes first, so that it holds every commit made before the call.
    pub(super) fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        let make = || rocksdb::checkpoint::Checkpoint::new(&self.db)?.create_checkpoint(target);
        make().map_err(self.failed("checkpointing"))
    }

    /// Returns the number of errors of flushes and compactions that have occurred in this database while open.
    pub(super) fn background_errors(&self) -> Result<u64, StoreError> {
        let count = self.db.property_int_value(properties::BACKGROUND_ERRORS);
        Ok(count.map_err(self.failed("asking"))?.unwrap_or(0))
    }

    /// Marks the database as replaced: its files are removed when the last view of it is dropped.
    pub(super) fn retire(&self) {
        self.files.retired.store(true, Ordering::Release);
        // Compacting files that are about to be removed is not worth the I/O.
        self.db.cancel_all_background_work(false);
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
        move |error| StoreError::Engine { doing, path: self.files.dir.clone(), what: error.to_string() }
    }
}

/// Classifies an error of opening. Damage, for which the volume has to be given up, is distinguished from errors that
/// pass or can be fixed: another process that still has the directory open, permissions, a failing disk.
fn not_opened(dir: &Path, error: &rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption | ErrorKind::InvalidArgument => StoreError::damaged(dir, error),
        _ => StoreError::Engine { doing: "opening", path: dir.to_owned(), what: error.to_string() },
    }
}
