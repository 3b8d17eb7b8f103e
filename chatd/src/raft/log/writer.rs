//! The single writer: drains the queue, writes once, syncs once, answers all. There is no timer: the next batch gathers
//! while the current fsync is running.

use super::disk::{DirLock, LogDisk};
use super::error::LogError;
use super::format::{LogMeta, RecordBuffer, RecordKind, RecordSlot, SegmentHeader, SegmentSeal, TruncateRecord};
use super::index::SegmentFile;
use super::observe::BatchReport;
use super::options::LogOptions;
use super::segment::{ActiveSegment, SegmentPlan};
use super::shared::{LogMemory, SharedLog};
use super::slow::SlowSyncs;
use crate::failpoint::{FailPoint, pass_point};
use crate::raft::codec::{entry_to_pb, log_id_to_pb};
use crate::raft::types::{LogEntry, LogId, TypeConfig, Vote};
use crate::trace::append::{self, AppendTrace, SyncedWrite};
use openraft::storage::IOFlushed;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Channel to the caller that waits for an operation.
pub(crate) type AckSender = oneshot::Sender<Result<(), LogError>>;

/// An operation in the queue.
pub(crate) enum LogOp {
    Append {
        entries: Vec<LogEntry>,
        callback: IOFlushed<TypeConfig>,
        bytes: usize,
        room: OwnedSemaphorePermit,
        /// Trace of the append, if some of its entries are sampled.
        trace: Option<Box<AppendTrace>>,
    },
    Vote(Vote, AckSender),
    Truncate(Option<LogId>, AckSender),
    Purge(LogId, AckSender),
    Cluster(String, AckSender),
    /// Closes the log; the last operation.
    Close(AckSender),
}

impl LogOp {
    fn take_trace(&mut self) -> Option<Box<AppendTrace>> {
        match self {
            Self::Append { trace, .. } => trace.take(),
            _ => None,
        }
    }
}

/// Change that a batch makes to the memory once it is on disk.
enum MemoryUpdate {
    Entry(u64, RecordSlot),
    Truncate(Option<LogId>),
    Purge(LogId),
}

/// Owner of the files.
pub(crate) struct LogWriter {
    disk: Arc<dyn LogDisk>,
    shared: Arc<SharedLog>,
    options: LogOptions,
    segment: ActiveSegment,
    /// State as on disk, with the batch that is being prepared.
    meta: LogMeta,
    /// Index after the last entry on disk, with the batch that is being prepared.
    next: u64,
    frames: RecordBuffer,
    effects: Vec<MemoryUpdate>,
    /// Timing and size of the last write.
    written: Option<SyncedWrite>,
    /// Purged segments, unlinked when the writer is idle.
    doomed: VecDeque<SegmentFile>,
    lock: Option<Box<dyn DirLock>>,
    slow: SlowSyncs,
}

/// Number of purged segments from which they are unlinked even if the queue never empties.
const DOOMED_AT_MOST: usize = 8;

impl LogWriter {
    pub(crate) fn new(
        disk: Arc<dyn LogDisk>,
        shared: Arc<SharedLog>,
        options: LogOptions,
        (segment, meta, next): (ActiveSegment, LogMeta, u64),
        doomed: VecDeque<SegmentFile>,
        lock: Box<dyn DirLock>,
    ) -> Self {
        let frames = RecordBuffer::default();
        let effects = Vec::new();
        let slow = SlowSyncs::default();
        Self {
            disk,
            shared,
            options,
            segment,
            meta,
            next,
            frames,
            effects,
            written: None,
            doomed,
            lock: Some(lock),
            slow,
        }
    }

    /// Runs on a thread until the log is closed, fails, or all its handles are dropped.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<LogOp>) {
        let _stopping = PanicGuard(Arc::clone(&self.shared));
        while let Some(first) = queue.blocking_recv() {
            if !self.turn(first, &mut queue) {
                return;
            }
        }
        self.close();
    }

    /// Runs like [`LogWriter::run`], as a task.
    pub(crate) async fn run_as_task(mut self, mut queue: mpsc::Receiver<LogOp>) {
        let _stopping = PanicGuard(Arc::clone(&self.shared));
        while let Some(first) = queue.recv().await {
            let latency = self.disk.latency();
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            if !self.turn(first, &mut queue) {
                return;
            }
        }
        self.close();
    }

    /// Writes one batch; returns `false` if it was the last.
    fn turn(&mut self, first: LogOp, queue: &mut mpsc::Receiver<LogOp>) -> bool {
        let (mut ops, closing) = self.drain(first, queue);
        let traces: Vec<Box<AppendTrace>> = ops.iter_mut().filter_map(LogOp::take_trace).collect();
        let result = self.commit(&ops, queue.len());
        if let Err(error) = &result {
            tracing::error!(%error, "cannot write the log; nothing more is written to it");
            // Before the callers are answered: whoever learns of a failure must find its cause.
            self.shared.fail(error);
        }
        let go_on = result.is_ok() && closing.is_none();
        answer_callers(ops, &result);
        pass_point(FailPoint::LogAnswered);
        // Traces are recorded after the answers, as no caller waits for them.
        if let Some(written) = self.written.filter(|_| result.is_ok()) {
            append::record_appends(&traces, &written);
        }
        if let Some(ack) = closing {
            let result = result.clone().and_then(|()| self.mark_clean());
            self.shared.fail(&LogError::Closed);
            // Released before the caller is answered, who may open the directory again at once.
            self.lock = None;
            let _ = ack.send(result);
        }
        if go_on && self.tidy(queue) {
            return true;
        }
        refuse_rest(queue, &self.shared);
        false
    }

    fn drain(&self, first: LogOp, queue: &mut mpsc::Receiver<LogOp>) -> (Vec<LogOp>, Option<AckSender>) {
        let mut ops = Vec::new();
        let mut bytes = 0_usize;
        let mut next = Some(first);
        while let Some(op) = next {
            match op {
                LogOp::Close(ack) => return (ops, Some(ack)),
                LogOp::Append { bytes: more, .. } => bytes = bytes.saturating_add(more),
                _ => {}
            }
            ops.push(op);
            next = if bytes < self.options.batch_bytes { queue.try_recv().ok() } else { None };
        }
        (ops, None)
    }

    fn commit(&mut self, ops: &[LogOp], queued: usize) -> Result<(), LogError> {
        if ops.is_empty() {
            return Ok(());
        }
        let staged = self.shared.lock().meta.committed;
        // First, because checksums and slots are made for the segment and the offset that are written.
        self.make_room(ops)?;
        self.frames.begin(self.segment.end);
        self.effects.clear();
        let seal = self.segment.file.seal;
        for op in ops {
            self.frame(op, seal);
        }
        // The commit mark must not be ahead of the entries: after a crash, every entry that is said to be committed
        // must exist.
        if let Some(committed) = staged.filter(|id| Some(*id) > self.meta.committed && id.index < self.next) {
            self.meta.committed = Some(committed);
            self.frames.push(seal, RecordKind::Committed, &log_id_to_pb(&committed));
        }
        self.write(queued)?;
        // Only now: a reader must not find the slot of a record that is not in the file.
        self.publish();
        Ok(())
    }

    fn frame(&mut self, op: &LogOp, seal: SegmentSeal) {
        match op {
            LogOp::Append { entries, .. } => {
                for entry in entries {
                    let slot = self.frames.push(seal, RecordKind::Entry, &entry_to_pb(entry));
                    self.effects.push(MemoryUpdate::Entry(entry.log_id.index, slot));
                    self.next = entry.log_id.index.saturating_add(1);
                }
            }
            LogOp::Truncate(after, _) => {
                let payload = TruncateRecord { after: after.as_ref().map(log_id_to_pb) };
                self.frames.push(seal, RecordKind::Truncate, &payload);
                self.effects.push(MemoryUpdate::Truncate(*after));
                self.next = after.map_or(0, |id| id.index.saturating_add(1));
            }
            LogOp::Vote(vote, _) => {
                self.meta.vote = Some(*vote);
                self.frame_state(seal);
            }
            LogOp::Purge(upto, _) => {
                self.meta.purged = Some(*upto);
                // A snapshot may cover more than this log holds. The next entry then follows the snapshot.
                self.next = self.next.max(upto.index.saturating_add(1));
                self.frame_state(seal);
                self.effects.push(MemoryUpdate::Purge(*upto));
            }
            LogOp::Cluster(id, _) => {
                self.meta.cluster_id = Some(id.clone());
                self.frame_state(seal);
            }
            LogOp::Close(_) => {}
        }
    }

    fn frame_state(&mut self, seal: SegmentSeal) {
        self.frames.push(seal, RecordKind::State, &self.meta.to_message());
    }

    /// Starts a new segment if these operations do not fit the current one.
    fn make_room(&mut self, ops: &[LogOp]) -> Result<(), LogError> {
        let bytes: usize = ops.iter().map(framed_size).sum();
        let end = u64::from(self.segment.end).saturating_add(bytes as u64);
        if !self.segment.used || end <= u64::from(self.options.segment_bytes) {
            return Ok(());
        }
        let begun = Instant::now();
        let number = self.segment.file.seal.number.saturating_add(1);
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do for a salt")]
        let header = SegmentHeader {
            salt: (self.options.entropy)() as u32,
            number,
            first_index: self.next,
            previous_end: u64::from(self.segment.end),
        };
        let plan = SegmentPlan { header, meta: &self.meta, size: self.options.segment_bytes };
        let segment = ActiveSegment::create(&*self.disk, &plan)?;
        let old = std::mem::replace(&mut self.segment, segment);
        // Frees the unused allocation. This need not be durable, as zeros are ignored.
        let result = old.file.file.set_len(u64::from(old.end));
        result.map_err(|source| LogError::io("shorten", &old.file.name, source))?;
        let count = {
            let mut memory = self.shared.lock();
            memory.index.add_segment(self.segment.file.clone());
            memory.index.segments()
        };
        self.options.observer.segments(count, Some(begun.elapsed()));
        Ok(())
    }

    fn write(&mut self, queued: usize) -> Result<(), LogError> {
        let bytes = self.frames.bytes();
        let SegmentFile { file, name, .. } = &self.segment.file;
        let begun = Instant::now();
        file.write_at(bytes, u64::from(self.segment.end)).map_err(|source| LogError::io("write", name, source))?;
        let written = Instant::now();
        pass_point(FailPoint::LogWritten);
        file.sync_data().map_err(|source| LogError::io("sync", name, source))?;
        let synced = Instant::now();
        let sync = synced.saturating_duration_since(written);
        self.slow.note(sync, synced, name);
        pass_point(FailPoint::LogSynced);
        self.options.observer.batch(&BatchReport {
            records: self.frames.records(),
            bytes: bytes.len(),
            write: written.saturating_duration_since(begun),
            sync,
            queued,
        });
        self.written = Some(SyncedWrite { begun, written, synced, bytes: bytes.len() });
        self.segment.end = self.segment.end.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.segment.used = true;
        Ok(())
    }

    /// Applies the batch, which is on disk, to the memory.
    fn publish(&mut self) {
        let mut memory = self.shared.lock();
        for effect in self.effects.drain(..) {
            match effect {
                MemoryUpdate::Entry(index, slot) => memory.index.push(index, slot),
                MemoryUpdate::Truncate(after) => memory.truncate(after),
                MemoryUpdate::Purge(upto) => self.doomed.extend(memory.purge(upto)),
            }
        }
        // `committed` stays as it is: `save_committed` may have moved it on since this batch was prepared.
        memory.meta.vote = self.meta.vote;
        memory.meta.cluster_id.clone_from(&self.meta.cluster_id);
        memory.cache.evict(self.options.cache_bytes, self.next);
        pass_point(FailPoint::LogPublished);
    }

    /// Unlinks purged segments while no operation is waiting; returns `false` if that fails.
    fn tidy(&mut self, queue: &mpsc::Receiver<LogOp>) -> bool {
        while queue.is_empty() || self.doomed.len() > DOOMED_AT_MOST {
            let Some(segment) = self.doomed.pop_front() else { return true };
            if let Err(error) = self.unlink(&segment) {
                tracing::error!(%error, "cannot write the log; nothing more is written to it");
                self.shared.fail(&error);
                return false;
            }
        }
        true
    }

    /// Unlinks one segment. One is made durable before the next: a crash must not leave a gap.
    fn unlink(&self, segment: &SegmentFile) -> Result<(), LogError> {
        self.disk.remove(&segment.name).map_err(|source| LogError::io("remove", &segment.name, source))?;
        pass_point(FailPoint::SegmentRemoved);
        let result = self.disk.sync().map_err(|source| LogError::io("sync the directory of", &segment.name, source));
        pass_point(FailPoint::SegmentRemovalDurable);
        tracing::info!(segment = %segment.name, "removed a purged log segment");
        let count = self.shared.lock().index.segments();
        self.options.observer.segments(count.saturating_add(self.doomed.len()), None);
        result
    }

    /// Writes one more state record, which proves that everything before it was synced.
    fn mark_clean(&mut self) -> Result<(), LogError> {
        let staged = self.shared.lock().meta.committed;
        if let Some(committed) = staged.filter(|id| id.index < self.next) {
            self.meta.committed = Some(committed);
        }
        self.frames.begin(self.segment.end);
        self.frames.push(self.segment.file.seal, RecordKind::State, &self.meta.to_message());
        self.write(0)
    }

    fn close(&mut self) {
        if let Err(error) = self.mark_clean() {
            tracing::error!(%error, "the log was not closed cleanly; nothing acknowledged is lost");
        }
        self.shared.fail(&LogError::Closed);
    }
}

impl LogMemory {
    fn truncate(&mut self, after: Option<LogId>) {
        let from = after.map_or(0, |id| id.index.saturating_add(1));
        self.cache.truncate(from);
        self.index.truncate(from);
        self.last = after;
    }

    fn purge(&mut self, upto: LogId) -> Vec<SegmentFile> {
        self.meta.purged = Some(upto);
        let to = upto.index.saturating_add(1);
        self.cache.purge(to);
        if self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
        }
        self.index.purge(to)
    }
}

/// Space for state and commit mark, in bytes, with identifiers of any length that the server gives out.
const STATE_SIZE: usize = 512;

fn framed_size(op: &LogOp) -> usize {
    match op {
        LogOp::Append { bytes, .. } => *bytes,
        _ => STATE_SIZE,
    }
}

fn answer_callers(ops: Vec<LogOp>, result: &Result<(), LogError>) {
    for op in ops {
        match op {
            LogOp::Append { callback, room, .. } => {
                drop(room);
                callback.io_completed(result.clone().map_err(|error| error.to_io()));
            }
            LogOp::Vote(_, ack)
            | LogOp::Truncate(_, ack)
            | LogOp::Purge(_, ack)
            | LogOp::Cluster(_, ack)
            | LogOp::Close(ack) => {
                let _ = ack.send(result.clone());
            }
        }
    }
}

/// Closes the queue and refuses the operations left in it.
fn refuse_rest(queue: &mut mpsc::Receiver<LogOp>, shared: &SharedLog) {
    queue.close();
    let result = shared.check().and(Err(LogError::Closed));
    while let Ok(op) = queue.try_recv() {
        answer_callers(vec![op], &result);
    }
}

/// Guard that reports a panic of the writer, which would otherwise end silently.
struct PanicGuard(Arc<SharedLog>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let source = std::io::Error::other("the writer panicked");
            self.0.fail(&LogError::io("write", "the log", source));
        }
    }
}
