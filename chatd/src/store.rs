//! The state on this pod: rows of `quorate_core::table` with the log id up to which they are applied.
//!
//! One [`StateStore::commit`] writes rows, applied log id and membership together, so that after any crash the state is
//! that of exactly one log position; the Raft log re-applies the rest. Reads go through views ([`StateStore::View`]),
//! which are consistent and never wait for a writer.

mod disk;
mod fatal;
mod figures;
pub(crate) mod fuzzing;
mod hot;
mod memory;
pub(crate) mod row;

#[cfg(feature = "rocksdb")]
pub(crate) mod columns;
#[cfg(feature = "rocksdb")]
mod rocks;

pub use disk::{copy_durably, sync_dir, write_durably};
pub use fatal::Fatal;
pub use figures::{Figures, StoreFigures};
pub use hot::HotRows;
pub use memory::MemStore;
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksStore, RocksView, Settings};

use quorate_core::proto::{log, store as rows};
use quorate_core::table::{self, Changes, Read, ReadError, Table, key};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The membership that is in force at a log position, with the entry that made it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Membership {
    /// The entry; `None` before the first one.
    pub log_id: Option<log::LogId>,
    /// Voters and learners.
    pub members: log::Membership,
}

/// How far the log is applied to a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Last applied entry; `None` in an empty state.
    pub log_id: Option<log::LogId>,
    /// Shared, because it changes rarely and is asked for often.
    pub membership: Arc<Membership>,
}

impl Applied {
    /// Index of the last applied entry; `None` in an empty state.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.log_id.map(|id| id.index)
    }
}

/// What a checkpoint's directory holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// How far it is applied.
    pub applied: Applied,
    /// Of which cluster it is; `None` before the bootstrap command.
    pub cluster_id: Option<String>,
}

/// The storage of the state. Clones are handles to the same state.
///
/// Methods block on the disk unless they say otherwise: off the async runtime only.
pub trait StateStore: Clone + Send + Sync + 'static {
    /// A consistent view; holding one delays the release of disk space, nothing else.
    type View: Read + Send + Sync + 'static;

    /// Whether a look into a view may wait for a disk, and so may not be taken on the async runtime.
    fn may_block(&self) -> bool {
        true
    }

    /// The state as of the last commit. Does not block.
    fn view(&self) -> Self::View;

    /// How far the log is applied. Does not block.
    fn applied(&self) -> Applied;

    /// Writes one batch atomically: rows, the last entry's log id, and the membership when an entry of the batch made one.
    /// Not durable by itself: after a crash the state is that of some earlier commit, whole.
    ///
    /// # Errors
    /// When the engine fails; the state may not be used after that, the process must stop.
    fn commit(&self, changes: Changes, last: log::LogId, membership: Option<Membership>) -> Result<(), StoreError>;

    /// Makes everything committed so far durable.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    fn flush(&self) -> Result<(), StoreError>;

    /// Writes a copy of the state as of some moment during the call into the directory `target`, which must not exist
    /// while its parent must, on the same volume as the state. Commits go on meanwhile.
    ///
    /// # Errors
    /// When it cannot be written; the state itself is not hurt.
    fn checkpoint(&self, target: &Path) -> Result<(), StoreError>;

    /// Reads what a checkpoint holds, without changing it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is no readable checkpoint.
    fn inspect(&self, checkpoint: &Path) -> Result<Contents, StoreError>;

    /// Makes a checkpoint's content the state, durably; the checkpoint itself stays as it is. A crash during the call
    /// leaves either the old state or the new one. Views taken before stay valid.
    ///
    /// # Errors
    /// When the checkpoint is damaged or the disk fails; then the old state is still in use.
    fn replace(&self, checkpoint: &Path) -> Result<(), StoreError>;
}

/// The row that every bootstrapped state has: cluster id, server name, incarnation, time.
///
/// # Errors
/// When the engine fails or the row is damaged.
pub fn cluster(view: &dyn Read) -> Result<Option<rows::Cluster>, ReadError> {
    table::fetch(view, Table::Meta, key::CLUSTER)
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Bytes that cannot be what was written.
    #[error(
        "the state in {path} is damaged: {what}. Delete this pod's volume, log and state together, so that it joins \
         the cluster anew and receives a snapshot", path = path.display()
    )]
    Damaged {
        /// File or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Written by a later version.
    #[error("the state in {path} has format {found}, this build reads up to {known}: run a newer chatd", path = path.display())]
    Newer {
        /// Directory of the database.
        path: PathBuf,
        /// Format on disk.
        found: u32,
        /// Greatest format of this build.
        known: u32,
    },
    /// The storage engine failed.
    #[error("{doing} the state in {path} failed: {what}", path = path.display())]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// Directory of the database.
        path: PathBuf,
        /// The engine's own words.
        what: String,
    },
    /// The file system failed.
    #[error("{doing} {path} failed", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A row of the state.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A worker thread ended early, which only a panic does.
    #[error("a worker of the state store panicked; see the log above")]
    Worker,
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, what: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.to_string() }
    }
}
