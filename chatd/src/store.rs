//! State of this pod: the rows of `quorate_core::table`, with the log id up to which the log is applied to them.
//!
//! One [`StateStore::commit`] writes rows, applied log id and membership together, so that after any crash the state is
//! that of exactly one log position; the Raft log re-applies the rest. Reads go through views ([`StateStore::View`]),
//! which are consistent and never wait for a writer.

mod disk;
mod fatal;
mod figures;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod hot;
#[cfg(any(test, feature = "testing"))]
mod memory;
pub(crate) mod row;

#[cfg(feature = "rocksdb")]
pub(crate) mod columns;
#[cfg(feature = "rocksdb")]
mod rocks;

pub use disk::{copy_durably, sync_dir, write_durably};
pub use fatal::{FatalCause, FatalSignal};
pub use figures::{EngineFigures, StoreFigures};
pub use hot::HotRows;
#[cfg(any(test, feature = "testing"))]
pub use memory::MemStore;
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksSettings, RocksStore, RocksView};

use quorate_core::apply::level_in_force;
use quorate_core::proto::{log, store as rows};
use quorate_core::table::{self, ChangeSet, ReadError, Table, TableRead, key};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Membership in force at a log position, with the entry that established it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppliedMembership {
    /// Log id of the entry; `None` before the first one.
    pub log_id: Option<log::LogId>,
    /// Voters and learners of the cluster.
    pub members: log::Membership,
}

/// Log position up to which the log is applied to a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppliedState {
    /// Log id of the last applied entry; `None` in an empty state.
    pub log_id: Option<log::LogId>,
    /// Membership in force there. Shared, because it changes rarely and is read often.
    pub membership: Arc<AppliedMembership>,
}

impl AppliedState {
    /// Returns the index of the last applied entry, or `None` if the state is empty.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.log_id.map(|id| id.index)
    }
}

/// Content of a checkpoint's directory.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointContents {
    /// Log position up to which the log is applied.
    pub applied: AppliedState,
    /// Identifier of the cluster; `None` before the bootstrap command.
    pub cluster_id: Option<String>,
    /// Format level in force.
    pub format_level: u32,
}

impl CheckpointContents {
    fn of(applied: AppliedState, cluster: Option<rows::Cluster>) -> Self {
        let cluster = cluster.unwrap_or_default();
        let format_level = level_in_force(&cluster);
        Self { applied, cluster_id: Some(cluster.cluster_id).filter(|id| !id.is_empty()), format_level }
    }
}

/// Storage of the state. Clones are handles to the same state.
///
/// Methods block on the disk unless they say otherwise, and must then be called off the async runtime.
pub trait StateStore: Clone + Send + Sync + 'static {
    /// Consistent view of the state. Holding one delays the release of disk space, nothing else.
    type View: TableRead + Send + Sync + 'static;

    /// Returns `true` if reading from a view may wait for a disk, and so must not happen on the async runtime.
    fn may_block(&self) -> bool {
        true
    }

    /// Returns a view of the state as of the last commit. Does not block.
    fn view(&self) -> Self::View;

    /// Returns the log position up to which the log is applied. Does not block.
    fn applied(&self) -> AppliedState;

    /// Writes one batch atomically: rows, the log id of the last entry, and the membership if an entry of the batch
    /// established one. Not durable by itself: after a crash the state is that of some earlier commit, as a whole.
    ///
    /// # Errors
    /// Returns an error if the engine fails. The state must not be used after that, and the process must stop.
    fn commit(
        &self,
        changes: ChangeSet,
        last: log::LogId,
        membership: Option<AppliedMembership>,
    ) -> Result<(), StoreError>;

    /// Makes everything committed so far durable. An error means the same as one of [`commit`](Self::commit).
    fn flush(&self) -> Result<(), StoreError>;

    /// Writes a copy of the state, as of some moment during the call, into the directory `target`. That directory must
    /// not exist yet; its parent must exist, on the same volume as the state. Commits continue meanwhile.
    ///
    /// # Errors
    /// Returns an error if the copy cannot be written; the state itself is unharmed.
    fn checkpoint(&self, target: &Path) -> Result<(), StoreError>;

    /// Reads the content of a checkpoint without changing it.
    ///
    /// # Errors
    /// Returns [`StoreError::Damaged`] if `checkpoint` is not a readable checkpoint.
    fn inspect(&self, checkpoint: &Path) -> Result<CheckpointContents, StoreError>;

    /// Makes the content of a checkpoint the state, durably; the checkpoint itself is not changed. A crash during the
    /// call leaves either the old state or the new one. Views taken before stay valid.
    ///
    /// # Errors
    /// Returns an error if the checkpoint is damaged or the disk fails; the old state then remains in use.
    fn replace(&self, checkpoint: &Path) -> Result<(), StoreError>;
}

/// Reads the row that every bootstrapped state has: cluster id, server name, incarnation and time.
///
/// # Errors
/// Returns an error if the engine fails or the row is damaged.
pub fn cluster_row(view: &dyn TableRead) -> Result<Option<rows::Cluster>, ReadError> {
    table::fetch_row(view, Table::Meta, key::CLUSTER)
}

/// Errors of the state store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Bytes on disk are not what chatd wrote.
    #[error(
        "the state in {path} is damaged: {what}. Delete this pod's volume, log and state together, so that the pod \
         rejoins the cluster and receives a snapshot", path = path.display()
    )]
    Damaged {
        /// File or directory that is damaged.
        path: PathBuf,
        /// Description of the damage.
        what: String,
    },
    /// The state was written by a later version.
    #[error("the state in {path} has format {found}, this build reads up to {known}: run a newer chatd", path = path.display())]
    Newer {
        /// Directory of the database.
        path: PathBuf,
        /// Format of the state on disk.
        found: u32,
        /// Greatest format that this build reads.
        known: u32,
    },
    /// The storage engine failed.
    #[error("{doing} the state in {path} failed: {what}", path = path.display())]
    Engine {
        /// Operation that failed, as a participle such as "flushing".
        doing: &'static str,
        /// Directory of the database.
        path: PathBuf,
        /// Message of the engine.
        what: String,
    },
    /// The file system failed.
    #[error("{doing} {path} failed", path = path.display())]
    Io {
        /// Operation that failed, as a participle such as "writing".
        doing: &'static str,
        /// File or directory of the operation.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A row of the state cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A worker thread ended early, which only a panic can cause.
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
