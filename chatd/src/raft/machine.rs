//! The state machine: applies committed entries to the state, notifies readers, and answers the callers, in this order.
//!
//! Entries are applied on a dedicated thread ([`worker`]), so that neither a slow disk nor a long batch holds up the
//! async runtime, on which heartbeats run.

mod install;
mod start;
mod worker;

#[cfg(test)]
pub(super) mod tests;

pub use start::{StartFacts, StartRefused, start_check};

use super::codec::{CodecError, log_id_from_pb, membership_from_pb};
use super::observe::MachineObserver;
use super::snapshot::{RaftSnapshot, SnapshotBuilder, SnapshotData, SnapshotError, SnapshotShelf};
use super::threading::{ThreadingModel, off_the_runtime};
use super::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig, payload_bytes};
use crate::exit::ExitReason;
use crate::failpoint::{FailPoint, pass_point};
use crate::feed::ChangeFeed;
use crate::store::{self, AppliedState, FatalSignal, HotRows, StateStore, StoreError};
use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use quorate_core::apply::{self, ApplyError, KnownFormat};
use quorate_core::id::Position;
use quorate_core::proto::store as rows;
use quorate_core::table::ReadError;
use quorate_wire::cause::message_with_causes;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use worker::{ApplyWorker, CommitReceiver};

/// Error that stops the machine. Each one ends this process: the state may no longer be used, and openraft stops as
/// well.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The storage of the state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A committed entry cannot be read: it is damaged, or was written by a newer chatd.
    #[error("log entry {index} cannot be applied: {what}")]
    Entry {
        /// Index of the entry.
        index: u64,
        /// Description of the problem.
        what: String,
    },
    /// Rows of the state cannot be read.
    #[error("applying log entry {index} failed")]
    Apply {
        /// Index of the entry.
        index: u64,
        /// Error of the read.
        #[source]
        source: ReadError,
    },
    /// A committed entry has a format level that this version does not know.
    #[error("log entry {index} cannot be applied")]
    TooNew {
        /// Index of the entry.
        index: u64,
        /// Error that names both levels.
        #[source]
        source: ApplyError,
    },
    /// A stored log id or membership cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A snapshot could not be built or installed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log could not be read.
    #[error("reading entries to apply failed")]
    Log(#[source] io::Error),
    /// The apply thread stopped earlier.
    #[error("the apply thread has stopped; the first error is in the log above")]
    Stopped,
}

impl MachineError {
    /// Returns the exit code of a process that stops for this error.
    fn exit(&self) -> ExitReason {
        match self {
            Self::TooNew { .. } => ExitReason::TooOld,
            _ => ExitReason::Fatal,
        }
    }

    fn of_apply(index: u64, error: ApplyError) -> Self {
        match error {
            ApplyError::Read(source) => Self::Apply { index, source },
            source @ ApplyError::TooNew { .. } => Self::TooNew { index, source },
        }
    }
}

impl From<MachineError> for io::Error {
    fn from(error: MachineError) -> Self {
        Self::other(error)
    }
}

/// Bytes after which a batch is committed: enough that the cost of the commit itself vanishes, and few enough that the
/// first caller in it does not wait long for the last, and that memory stays bounded. [`BATCH_ENTRIES`] bounds it as
/// well.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_ENTRIES: usize = 512;
/// Batches handed to the apply thread and not finished: one is applied while the next is read.
const BATCHES_IN_FLIGHT: usize = 2;

/// The state machine; see the [module](self).
pub struct StateMachine<S: StateStore> {
    store: S,
    hot: Arc<HotRows>,
    shelf: SnapshotShelf,
    feed: ChangeFeed,
    fatal: FatalSignal,
    observer: Arc<dyn MachineObserver>,
    worker: ApplyWorker,
    drive: ThreadingModel,
}

impl<S: StateStore> StateMachine<S> {
    /// Starts the apply thread over an open store, and tells the feed what is applied.
    ///
    /// # Errors
    /// If the state cannot be read, or the thread cannot be started.
    pub fn start(
        store: S,
        shelf: SnapshotShelf,
        feed: ChangeFeed,
        fatal: FatalSignal,
        observer: Arc<dyn MachineObserver>,
    ) -> Result<Self, MachineError> {
        let drive = ThreadingModel::Threads;
        Self::start_on(drive, KnownFormat::CURRENT, store, shelf, feed, fatal, observer)
    }

    /// Starts the machine like [`start`](Self::start). With [`ThreadingModel::Task`], for a simulation, everything happens
    /// within openraft's own task, in an order that does not depend on the machine's threads. It applies what a version
    /// with this knowledge applies.
    pub fn start_on(
        drive: ThreadingModel,
        format: KnownFormat,
        store: S,
        shelf: SnapshotShelf,
        feed: ChangeFeed,
        fatal: FatalSignal,
        observer: Arc<dyn MachineObserver>,
    ) -> Result<Self, MachineError> {
        let cluster = cluster_of(&store)?;
        feed.log_time().set(cluster.time_ms);
        feed.level().set(apply::level_in_force(&cluster));
        feed.publish_all(applied_position(&store)?);
        let hot = Arc::new(HotRows::default());
        let worker = ApplyWorker::start(
            drive,
            format,
            store.clone(),
            hot.clone(),
            feed.clone(),
            fatal.clone(),
            observer.clone(),
        )?;
        Ok(Self { store, hot, shelf, feed, fatal, observer, worker, drive })
    }

    /// Returns the store to which entries are applied.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    async fn drain<Strm>(&self, mut entries: Strm) -> Result<(), MachineError>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut under_way: VecDeque<CommitReceiver> = VecDeque::with_capacity(BATCHES_IN_FLIGHT);
        loop {
            let batch = next_batch(&mut entries).await.map_err(MachineError::Log)?;
            let ended = batch.is_empty();
            if !ended {
                under_way.push_back(self.worker.apply(batch).await?);
            }
            while under_way.len() >= BATCHES_IN_FLIGHT || (ended && !under_way.is_empty()) {
                if let Some(done) = under_way.pop_front() {
                    done.await.map_err(|_| MachineError::Stopped)??;
                }
            }
            if ended {
                return Ok(());
            }
        }
    }

    async fn install(&self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), MachineError> {
        let store = self.store.clone();
        let shelf = self.shelf.clone();
        let work = move || -> Result<_, MachineError> {
            // The snapshot goes on the shelf first, so that after a crash it is installed at the next start. openraft
            // has already truncated a log that conflicts with the snapshot.
            let kept = shelf.adopt(&snapshot)?;
            pass_point(FailPoint::SnapshotAdopted);
            store.replace(&kept.data_dir())?;
            shelf.set_newest(kept);
            Ok((applied_position(&store)?, cluster_of(&store)?))
        };
        let (end, cluster) = off_the_runtime(self.drive, work).await??;
        // openraft applies nothing during the installation, so no row of the old state can come back.
        self.hot.forget();
        let (found, _) = applied_state(&self.store.applied())?;
        if found != meta.last_log_id {
            let what = format!("the installed snapshot is at {found:?}, but was announced at {:?}", meta.last_log_id);
            return Err(MachineError::Snapshot(SnapshotError::Manifest { what }));
        }
        pass_point(FailPoint::SnapshotInstalled);
        self.feed.log_time().set(cluster.time_ms);
        self.feed.level().set(apply::level_in_force(&cluster));
        self.feed.publish_all(end);
        self.observer.snapshot_installed();
        Ok(())
    }

    /// Raises errors, which end the process: whoever waits for `fatal` learns the cause even if openraft's own report
    /// is lost.
    fn end<T>(&self, result: Result<T, MachineError>) -> Result<T, io::Error> {
        result.map_err(|error| {
            // A stopped worker has raised a more precise error already.
            if !matches!(error, MachineError::Stopped) {
                self.fatal.raise_as(error.exit(), message_with_causes(&error));
            }
            io::Error::from(error)
        })
    }
}

/// Returns the position of the end of the last applied entry.
fn applied_position(store: &impl StateStore) -> Result<Position, StoreError> {
    let index = store.applied().index().unwrap_or(0);
    let incarnation = store::cluster_row(&store.view())?.map_or(0, |row| row.incarnation);
    Ok(Position::end_of_entry(incarnation, index))
}

/// Returns the cluster's row; that of no cluster before the first command.
fn cluster_of(store: &impl StateStore) -> Result<rows::Cluster, StoreError> {
    Ok(store::cluster_row(&store.view())?.unwrap_or_default())
}

fn applied_state(applied: &AppliedState) -> Result<(Option<LogId>, StoredMembership), CodecError> {
    let membership = &*applied.membership;
    let stored = match &membership.log_id {
        None => StoredMembership::default(),
        Some(id) => StoredMembership::new(Some(log_id_from_pb(id)), membership_from_pb(membership.members.clone())?),
    };
    Ok((applied.log_id.as_ref().map(log_id_from_pb), stored))
}

/// Reads the entries of one commit; empty if the stream has ended.
async fn next_batch<Strm>(entries: &mut Strm) -> Result<Vec<EntryResponder<TypeConfig>>, io::Error>
where
    Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
{
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_ENTRIES && bytes < BATCH_BYTES {
        match entries.next().await.transpose()? {
            None => break,
            Some(entry) => {
                bytes += payload_bytes(&entry.0);
                batch.push(entry);
            }
        }
    }
    Ok(batch)
}

impl<S: StateStore> RaftStateMachine<TypeConfig> for StateMachine<S> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder<S>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        applied_state(&self.store.applied()).map_err(|error| MachineError::from(error).into())
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let result = self.drain(entries).await;
        self.end(result)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<S> {
        SnapshotBuilder::new(self.drive, self.store.clone(), self.shelf.clone(), self.observer.clone())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let result = self.install(meta, snapshot).await;
        self.end(result)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        let snapshot = self.shelf.newest().map(SnapshotData::into_snapshot).transpose();
        self.end(snapshot.map_err(MachineError::from))
    }
}
