//! The apply thread: takes entries, makes one commit per batch, tells the feed, then sends the answers.

use super::MachineError;
use crate::failpoint::{FailPoint, pass_point};
use crate::feed::tail::TailAddition;
use crate::feed::{ChangeFeed, FeedTopics};
use crate::raft::codec::{log_id_to_pb, membership_to_pb};
use crate::raft::observe::{AppliedBatch, MachineObserver};
use crate::raft::threading::ThreadingModel;
use crate::raft::types::{EncodedBatch, EntryOutcomes, LogEntry, TypeConfig, payload_bytes, sampled_traces};
use crate::store::{self, AppliedMembership, FatalSignal, HotRows, StateStore, StoreError};
use crate::trace::apply::ApplyTrace;
use openraft::EntryPayload;
use openraft::storage::{ApplyResponder, EntryResponder};
use prost::Message as _;
use quorate_core::apply::{self, KeyChangeHint, KnownFormat};
use quorate_core::id::Position;
use quorate_core::proto::log;
use quorate_core::query::StateView;
use quorate_core::table::{Overlay, ReadError, TableRead};
use quorate_wire::cause::message_with_causes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Receiver that resolves once a batch is committed; closed if the thread has stopped.
pub(super) type CommitReceiver = oneshot::Receiver<Result<(), MachineError>>;

struct ApplyJob {
    entries: Vec<EntryResponder<TypeConfig>>,
    done: oneshot::Sender<Result<(), MachineError>>,
}

/// Executor of batches: a thread, or the caller.
pub(super) enum ApplyWorker {
    /// A thread of its own.
    Thread(ApplyThread),
    /// The caller's own task; `failed` is set after the first error.
    Caller { applier: Box<dyn BatchApplier>, failed: AtomicBool },
}

/// Handle of the apply thread. Dropping it ends the thread after the queued batches.
pub(super) struct ApplyThread {
    jobs: Option<mpsc::Sender<ApplyJob>>,
    thread: Option<JoinHandle<()>>,
}

impl ApplyWorker {
    pub(super) fn start<S: StateStore>(
        drive: ThreadingModel,
        format: KnownFormat,
        store: S,
        hot: Arc<HotRows>,
        feed: ChangeFeed,
        fatal: FatalSignal,
        observer: Arc<dyn MachineObserver>,
    ) -> Result<Self, MachineError> {
        let applier = StoreApplier { format, store, hot, feed, observer, fatal };
        if drive == ThreadingModel::Task {
            return Ok(Self::Caller { applier: Box::new(applier), failed: AtomicBool::new(false) });
        }
        // As many as the machine keeps in flight, so that sending never waits for long.
        let (jobs, queue) = mpsc::channel(super::BATCHES_IN_FLIGHT);
        let thread = thread::Builder::new()
            .name("apply".into())
            .spawn(move || run_applier(&applier, queue))
            .map_err(StoreError::io("starting a thread for", Path::new("apply")))?;
        Ok(Self::Thread(ApplyThread { jobs: Some(jobs), thread: Some(thread) }))
    }

    pub(super) async fn apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<CommitReceiver, MachineError> {
        let (done, wait) = oneshot::channel();
        match self {
            Self::Thread(ApplyThread { jobs, .. }) => {
                let jobs = jobs.as_ref().ok_or(MachineError::Stopped)?;
                jobs.send(ApplyJob { entries, done }).await.map_err(|_| MachineError::Stopped)?;
            }
            Self::Caller { failed, .. } if failed.load(Ordering::Relaxed) => return Err(MachineError::Stopped),
            Self::Caller { applier, failed } => {
                let result = applier.apply(entries);
                failed.store(result.is_err(), Ordering::Relaxed);
                // The receiver is held above.
                let _ = done.send(result);
            }
        }
        Ok(wait)
    }
}

impl Drop for ApplyThread {
    fn drop(&mut self) {
        // Closes the queue, which is what the thread ends on.
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // At most a few batches are left to apply. Afterwards the database can be opened again.
            let _ = thread.join();
        }
    }
}

/// Applies batches until the first error. The queue then closes, and the responders in it are dropped. Their callers
/// see a closed channel, which means "unknown": any definite answer could be false.
fn run_applier(applier: &impl BatchApplier, mut queue: mpsc::Receiver<ApplyJob>) {
    while let Some(ApplyJob { entries, done }) = queue.blocking_recv() {
        let result = applier.apply(entries);
        let failed = result.is_err();
        // The machine may have been dropped while it waited.
        let _ = done.send(result);
        if failed {
            return;
        }
    }
}

/// Application of batches, independent of the type of the store.
pub(super) trait BatchApplier: Send + Sync {
    /// Applies one batch: commit, hints, answers.
    fn apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), MachineError>;
}

struct StoreApplier<S> {
    format: KnownFormat,
    store: S,
    hot: Arc<HotRows>,
    feed: ChangeFeed,
    observer: Arc<dyn MachineObserver>,
    fatal: FatalSignal,
}

impl<S: StateStore> BatchApplier for StoreApplier<S> {
    fn apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), MachineError> {
        self.try_apply(entries).inspect_err(|error| self.fatal.raise_as(error.exit(), message_with_causes(error)))
    }
}

/// Accumulated effects of a batch before it is committed.
#[derive(Default)]
struct BatchEffects {
    membership: Option<AppliedMembership>,
    answers: Vec<(ApplyResponder<TypeConfig>, EntryOutcomes)>,
    topics: FeedTopics,
    /// Users with a session that ended or was extended.
    sessions: Vec<String>,
    /// Users whose devices or keys changed.
    keys: Vec<KeyChangeHint>,
    commands: usize,
}

impl<S: StateStore> StoreApplier<S> {
    fn try_apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), MachineError> {
        let started = Instant::now();
        let Some(last) = entries.last().map(|(entry, _)| log_id_to_pb(&entry.log_id)) else { return Ok(()) };
        let first = entries.first().map_or(last.index, |(entry, _)| entry.log_id.index);
        let count = entries.len();
        let bytes = entries.iter().map(|(entry, _)| payload_bytes(entry)).sum();
        let traces = ApplyTrace::of(sampled_traces(entries.iter().map(|(entry, _)| entry)));
        let failed = |source: ReadError| MachineError::Apply { index: last.index, source };

        let view = self.store.view();
        let hot = self.hot.over(&view);
        // Commands see the effects of earlier commands in the batch.
        let mut rows = Overlay::new(&hot);
        let mut work = BatchEffects::default();
        for (entry, responder) in entries {
            let outcomes = work.entry(&self.format, &mut rows, entry)?;
            work.answers.extend(responder.map(|responder| (responder, outcomes)));
        }
        let cluster = store::cluster_row(&rows as &dyn TableRead).map_err(failed)?.unwrap_or_default();
        let addition =
            self.addition(&rows, Position { incarnation: cluster.incarnation, index: first, ordinal: 0 }, &work);
        let changes = rows.into_changes();
        pass_point(FailPoint::BatchApplied);
        // Done before the commit: if the commit fails, nothing is applied any more.
        hot.take(&changes);
        // Released as early as possible: a state in memory is copied if it is written under a view.
        drop(view);
        self.store.commit(changes, last, work.membership)?;
        pass_point(FailPoint::BatchCommitted);
        // Set before any caller is answered, as the next request is judged by this time.
        self.feed.log_time().set(cluster.time_ms);
        self.feed.level().set(apply::level_in_force(&cluster));
        for user in &work.sessions {
            self.feed.sessions().forget(user);
        }

        let committed = Instant::now();
        let elapsed = committed.saturating_duration_since(started);
        traces.committed(committed);
        traces.finish(started, count, work.commands, self.feed.deliveries());
        let end = |index| Position::end_of_entry(cluster.incarnation, index);
        // Before any caller is answered: who has an answer finds what it wrote here, also in memory. It waits for no
        // reader: the feed notes what changed, and a task of its own wakes them.
        self.feed.publish_with(end(last.index), end(cluster.index), &work.topics, addition);
        for (responder, outcomes) in work.answers {
            responder.send(outcomes);
        }
        pass_point(FailPoint::BatchAnswered);
        self.observer.applied(&AppliedBatch {
            entries: count,
            commands: work.commands,
            bytes,
            last_index: last.index,
            elapsed,
        });
        Ok(())
    }
}

impl<S: StateStore> StoreApplier<S> {
    /// Returns the new events, for readers that keep up; `None` if there are no readers.
    fn addition(&self, rows: &Overlay<'_>, first: Position, work: &BatchEffects) -> Option<TailAddition> {
        if self.feed.subscribers() == 0 {
            return None;
        }
        let room_id = |room| StateView::open(rows)?.room_id(room);
        // On an error, readers read the rows instead, and meet whatever is wrong with them.
        TailAddition::of(rows.changes(), first, &work.topics.users, &work.keys, room_id).ok().flatten()
    }
}

impl BatchEffects {
    fn entry(
        &mut self,
        format: &KnownFormat,
        rows: &mut Overlay<'_>,
        entry: LogEntry,
    ) -> Result<EntryOutcomes, MachineError> {
        match entry.payload {
            EntryPayload::Blank => Ok(EntryOutcomes::default()),
            EntryPayload::Membership(members) => {
                let log_id = Some(log_id_to_pb(&entry.log_id));
                self.membership = Some(AppliedMembership { log_id, members: membership_to_pb(&members) });
                Ok(EntryOutcomes::default())
            }
            EntryPayload::Normal(batch) => self.batch(format, rows, entry.log_id.index, batch),
        }
    }

    fn batch(
        &mut self,
        format: &KnownFormat,
        rows: &mut Overlay<'_>,
        index: u64,
        batch: EncodedBatch,
    ) -> Result<EntryOutcomes, MachineError> {
        let batch = log::Batch::decode(batch.bytes)
            .map_err(|error| MachineError::Entry { index, what: format!("it is not a batch of commands: {error}") })?;
        let applied =
            apply::apply_batch(format, rows, index, &batch).map_err(|error| MachineError::of_apply(index, error))?;
        self.commands += applied.len();
        let outcome = |one: apply::AppliedCommand| {
            self.topics.rooms.extend(one.touched.rooms);
            self.topics.users.extend(one.touched.users);
            self.sessions.extend(one.touched.sessions);
            for hint in one.touched.keys {
                // Those who share a room with the user are told.
                self.topics.rooms.extend(hint.rooms.iter().flatten());
                self.keys.push(hint);
            }
            one.outcome
        };
        Ok(EntryOutcomes(applied.into_iter().map(outcome).collect()))
    }
}
