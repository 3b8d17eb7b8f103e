//! The apply thread: takes entries, makes one commit per batch, then sends the answers.

use super::MachineError;
use super::observe::{AppliedBatch, MachineObserver, payload_bytes};
use crate::failpoint::{Point, pass};
use crate::feed::tail::Addition;
use crate::feed::{Feed, Topics};
use crate::raft::codec::{log_id_to_pb, membership_to_pb};
use crate::raft::log::Drive;
use crate::raft::types::{EncodedBatch, Entry, Outcomes, TypeConfig, sampled};
use crate::store::{self, Fatal, HotRows, Membership, StateStore, StoreError};
use crate::trace::apply::Applying;
use openraft::EntryPayload;
use openraft::storage::{ApplyResponder, EntryResponder};
use prost::Message as _;
use quorate_core::apply;
use quorate_core::id::Position;
use quorate_core::proto::log;
use quorate_core::query::View;
use quorate_core::table::{Overlay, Read, ReadError};
use quorate_wire::cause::message_with_causes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Receiver that resolves once a batch is committed; closed if the thread has stopped.
pub(super) type Done = oneshot::Receiver<Result<(), MachineError>>;

struct Job {
    entries: Vec<EntryResponder<TypeConfig>>,
    done: oneshot::Sender<Result<(), MachineError>>,
}

/// Executor of batches: a thread, or the caller.
pub(super) enum Worker {
    /// A thread of its own.
    Thread(Apart),
    /// The caller's own task; `failed` is set after the first error.
    Caller { applier: Box<dyn Apply>, failed: AtomicBool },
}

/// Handle of the apply thread. Dropping it ends the thread after the queued batches.
pub(super) struct Apart {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start<S: StateStore>(
        drive: Drive,
        store: S,
        hot: Arc<HotRows>,
        feed: Feed,
        fatal: Fatal,
        observer: Arc<dyn MachineObserver>,
    ) -> Result<Self, MachineError> {
        let applier = Applier { store, hot, feed, observer, fatal };
        if drive == Drive::Task {
            return Ok(Self::Caller { applier: Box::new(applier), failed: AtomicBool::new(false) });
        }
        // As many as the machine keeps in flight, so that sending never waits for long.
        let (jobs, queue) = mpsc::channel(super::BATCHES_IN_FLIGHT);
        let thread = thread::Builder::new()
            .name("apply".into())
            .spawn(move || run(&applier, queue))
            .map_err(StoreError::io("starting a thread for", Path::new("apply")))?;
        Ok(Self::Thread(Apart { jobs: Some(jobs), thread: Some(thread) }))
    }

    pub(super) async fn apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<Done, MachineError> {
        let (done, wait) = oneshot::channel();
        match self {
            Self::Thread(Apart { jobs, .. }) => {
                let jobs = jobs.as_ref().ok_or(MachineError::Stopped)?;
                jobs.send(Job { entries, done }).await.map_err(|_| MachineError::Stopped)?;
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

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // At most a few batches are left to apply. Afterwards the database can be opened again.
            let _ = thread.join();
        }
    }
}

/// Applies batches until the first error. The queue then closes, and the responders in it are dropped. Their callers
/// see a closed channel, which means "unknown": any definite answer could be false.
fn run(applier: &impl Apply, mut queue: mpsc::Receiver<Job>) {
    while let Some(Job { entries, done }) = queue.blocking_recv() {
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
pub(super) trait Apply: Send + Sync {
    /// Applies one batch: commit, answers, hints.
    fn apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), MachineError>;
}

struct Applier<S> {
    store: S,
    hot: Arc<HotRows>,
    feed: Feed,
    observer: Arc<dyn MachineObserver>,
    fatal: Fatal,
}

impl<S: StateStore> Apply for Applier<S> {
    fn apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), MachineError> {
        self.try_apply(entries).inspect_err(|error| self.fatal.raise(message_with_causes(error)))
    }
}

/// Accumulated effects of a batch before it is committed.
#[derive(Default)]
struct Work {
    membership: Option<Membership>,
    answers: Vec<(ApplyResponder<TypeConfig>, Outcomes)>,
    topics: Topics,
    /// Users with a session that ended or was extended.
    sessions: Vec<String>,
    commands: usize,
}

impl<S: StateStore> Applier<S> {
    fn try_apply(&self, entries: Vec<EntryResponder<TypeConfig>>) -> Result<(), MachineError> {
        let started = Instant::now();
        let Some(last) = entries.last().map(|(entry, _)| log_id_to_pb(&entry.log_id)) else { return Ok(()) };
        let first = entries.first().map_or(last.index, |(entry, _)| entry.log_id.index);
        let count = entries.len();
        let bytes = entries.iter().map(|(entry, _)| payload_bytes(entry)).sum();
        let traces = Applying::of(sampled(entries.iter().map(|(entry, _)| entry)));
        let failed = |source: ReadError| MachineError::Apply { index: last.index, source };

        let view = self.store.view();
        let hot = self.hot.over(&view);
        // Commands see the effects of earlier commands in the batch.
        let mut rows = Overlay::new(&hot);
        let mut work = Work::default();
        for (entry, responder) in entries {
            let outcomes = work.entry(&mut rows, entry)?;
            work.answers.extend(responder.map(|responder| (responder, outcomes)));
        }
        let cluster = store::cluster(&rows as &dyn Read).map_err(failed)?.unwrap_or_default();
        let addition =
            self.addition(&rows, Position { incarnation: cluster.incarnation, index: first, ordinal: 0 }, &work);
        let changes = rows.into_changes();
        pass(Point::BatchApplied);
        // Done before the commit: if the commit fails, nothing is applied any more.
        hot.take(&changes);
        // Released as early as possible: a state in memory is copied if it is written under a view.
        drop(view);
        self.store.commit(changes, last, work.membership)?;
        pass(Point::BatchCommitted);
        // Set before any caller is answered, as the next request is judged by this time.
        self.feed.log_time().set(cluster.time_ms);
        for user in &work.sessions {
            self.feed.sessions().forget(user);
        }

        let committed = Instant::now();
        let elapsed = committed.saturating_duration_since(started);
        traces.committed(committed);
        for (responder, outcomes) in work.answers {
            responder.send(outcomes);
        }
        pass(Point::BatchAnswered);
        traces.finish(started, count, work.commands, self.feed.deliveries());
        let end = |index| Position::end_of_entry(cluster.incarnation, index);
        self.feed.publish_with(end(last.index), end(cluster.index), &work.topics, addition);
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

impl<S: StateStore> Applier<S> {
    /// Returns the new events, for readers that keep up; `None` if there are no readers.
    fn addition(&self, rows: &Overlay<'_>, first: Position, work: &Work) -> Option<Addition> {
        if self.feed.subscribers() == 0 {
            return None;
        }
        let room_id = |room| View::open(rows)?.room_id(room);
        // On an error, readers read the rows instead, and meet whatever is wrong with them.
        Addition::of(rows.changes(), first, &work.topics.users, room_id).ok().flatten()
    }
}

impl Work {
    fn entry(&mut self, rows: &mut Overlay<'_>, entry: Entry) -> Result<Outcomes, MachineError> {
        match entry.payload {
            EntryPayload::Blank => Ok(Outcomes::default()),
            EntryPayload::Membership(members) => {
                let log_id = Some(log_id_to_pb(&entry.log_id));
                self.membership = Some(Membership { log_id, members: membership_to_pb(&members) });
                Ok(Outcomes::default())
            }
            EntryPayload::Normal(batch) => self.batch(rows, entry.log_id.index, batch),
        }
    }

    fn batch(&mut self, rows: &mut Overlay<'_>, index: u64, batch: EncodedBatch) -> Result<Outcomes, MachineError> {
        let batch = log::Batch::decode(batch.bytes)
            .map_err(|error| MachineError::Entry { index, what: format!("it is not a batch of commands: {error}") })?;
        let applied = apply::batch(rows, index, &batch).map_err(|source| MachineError::Apply { index, source })?;
        self.commands += applied.len();
        let outcome = |one: apply::Applied| {
            self.topics.rooms.extend(one.touched.rooms);
            self.topics.users.extend(one.touched.users);
            self.sessions.extend(one.touched.sessions);
            one.outcome
        };
        Ok(Outcomes(applied.into_iter().map(outcome).collect()))
    }
}
