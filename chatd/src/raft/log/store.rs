//! The log, as openraft uses it.

use super::cache::entry_weight;
use super::disk::{FsDisk, LogDisk};
use super::error::LogError;
use super::format::HEADER;
use super::index::LogExtent;
use super::options::{LogOptions, MAX_RECORD};
use super::reader::LogReader;
use super::recovery::{self, RecoveredLog, RecoveryReport};
use super::shared::SharedLog;
use super::writer::{AckSender, LogOp, LogWriter};
use crate::raft::threading::ThreadingModel;
use crate::raft::types::{LogEntry, LogId, TypeConfig, Vote, sampled_traces};
use crate::trace::append;
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Operations in the queue; their bytes are bounded by [`LogOptions::queue_bytes`].
const QUEUE: usize = 1024;
/// Largest segment, in bytes: offsets in a segment have 32 bits, and a write may begin at the end of a full segment.
const LARGEST_SEGMENT: u32 = 1 << 30;
const SMALLEST_SEGMENT: u32 = HEADER + 1024;
/// Largest `append`, in bytes, for the same reason.
const LARGEST_APPEND: usize = 1 << 30;

/// Identity of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    /// Random node id, from 1 to 2^63 - 1, durable before it is first given out. A wiped volume gets a new one, because
    /// a node that forgot its vote must not vote again under its old id (Raft paper, §5.1 and §5.2).
    pub node_id: u64,
    /// Cluster to which the volume belongs; `None` until the node joins a cluster or initialises one.
    pub cluster_id: Option<String>,
}

/// The log store. Cheap to clone; closed by [`LogStore::close`], or when the last clone is dropped.
#[derive(Clone)]
pub struct LogStore {
    reader: LogReader,
    queue: mpsc::Sender<LogOp>,
    room: Arc<Semaphore>,
}

impl LogStore {
    /// Opens the log in `directory`, and creates it with a fresh node id if there is none. Blocks while it reads the
    /// log, and while another process holds the directory.
    ///
    /// # Errors
    /// If the directory is in use or cannot be read, or the log is damaged.
    pub fn open(directory: &Path, options: LogOptions) -> Result<(Self, RecoveryReport), LogError> {
        let name = directory.display().to_string();
        let disk = FsDisk::new(directory).map_err(|source| LogError::io("create", &name, source))?;
        Self::open_on(Arc::new(disk), options)
    }

    /// Opens the log on any disk, like [`LogStore::open`]. [`ThreadingModel::Task`] requires a tokio runtime.
    pub fn open_on(disk: Arc<dyn LogDisk>, mut options: LogOptions) -> Result<(Self, RecoveryReport), LogError> {
        options.segment_bytes = options.segment_bytes.clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT);
        options.queue_bytes = options.queue_bytes.max(1);
        // Locked before it is read, as recovery writes as well: it cuts off what looks torn.
        let lock = recovery::lock_directory(&*disk, options.lock_wait)?;
        let RecoveredLog { segment, meta, next, memory, doomed, report } = recovery::recover_log(&*disk, &options)?;
        tracing::info!(
            segments = report.segments,
            entries = report.entries,
            bytes = report.bytes,
            milliseconds = report.took.as_millis(),
            "opened the log"
        );
        options.observer.segments(report.segments, None);
        let shared = Arc::new(SharedLog::new(memory));
        let (queue, receiver) = mpsc::channel(QUEUE);
        let position = (segment, meta, next);
        let writer = LogWriter::new(disk, Arc::clone(&shared), options.clone(), position, doomed.into(), lock);
        let room = Arc::new(Semaphore::new(options.queue_bytes as usize));
        match options.drive {
            ThreadingModel::Threads => {
                let thread = std::thread::Builder::new().name("log-writer".to_owned());
                let spawned = thread.spawn(move || writer.run(receiver));
                spawned.map_err(|source| LogError::io("start the writer of", "the log", source))?;
            }
            ThreadingModel::Task => {
                tokio::spawn(writer.run_as_task(receiver));
            }
        }
        Ok((Self { reader: LogReader { shared, options: Arc::new(options) }, queue, room }, report))
    }

    /// Returns the identity of this node.
    #[must_use]
    pub fn identity(&self) -> StoredIdentity {
        let memory = self.reader.shared.lock();
        StoredIdentity { node_id: memory.meta.node_id, cluster_id: memory.meta.cluster_id.clone() }
    }

    /// Marks the volume as that of a cluster, durably and permanently.
    ///
    /// # Errors
    /// If it belongs to another cluster, or the write fails.
    pub async fn set_cluster_id(&self, id: &str) -> Result<(), LogError> {
        if let Some(own) = self.identity().cluster_id {
            let other = id.to_owned();
            return if own == id { Ok(()) } else { Err(LogError::ForeignCluster { own, other }) };
        }
        self.request(|ack| LogOp::Cluster(id.to_owned(), ack)).await
    }

    /// Returns `true` if this node has never taken part in a cluster: it has no vote and no entry, and nothing was
    /// purged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let memory = self.reader.shared.lock();
        memory.meta.vote.is_none() && memory.last.is_none()
    }

    /// Returns the index of the last purged entry.
    #[must_use]
    pub fn purged(&self) -> Option<u64> {
        self.reader.shared.lock().meta.purged.as_ref().map(|id| id.index)
    }

    /// Returns the segments that hold entries, oldest first, without reading the disk. A segment is freed as a whole.
    #[must_use]
    pub fn extents(&self) -> Vec<LogExtent> {
        self.reader.shared.lock().index.extents()
    }

    /// Waits until the log can no longer be written. The process must stop then, because its memory may be ahead of its
    /// disk. Never returns after an orderly [`LogStore::close`].
    pub async fn failed(&self) -> LogError {
        let mut failed = self.reader.shared.failed.subscribe();
        // The sender lives as long as `self`.
        let failure = failed.wait_for(|error| matches!(error, Some(error) if !matches!(error, LogError::Closed))).await;
        match failure.map(|error| error.clone()) {
            Ok(Some(error)) => error,
            _ => std::future::pending().await,
        }
    }

    /// Returns the reason why the log can no longer be written; `None` while it can, and after an orderly
    /// [`LogStore::close`]. The reason is set before any caller that waits for a write is told that it failed.
    #[must_use]
    pub fn failure(&self) -> Option<LogError> {
        self.reader.shared.failed.borrow().clone().filter(|error| !matches!(error, LogError::Closed))
    }

    /// Writes all that is queued, and a last record by which the next start can tell damage from a torn tail; then
    /// releases the directory. Every later operation fails.
    ///
    /// # Errors
    /// If the write fails; what was acknowledged is safe nevertheless.
    pub async fn close(&self) -> Result<(), LogError> {
        match self.request(LogOp::Close).await {
            Err(LogError::Closed) => Ok(()),
            result => result,
        }
    }

    /// Queues an operation and waits until it is durable.
    async fn request(&self, op: impl FnOnce(AckSender) -> LogOp) -> Result<(), LogError> {
        let (ack, done) = oneshot::channel();
        if self.queue.send(op(ack)).await.is_err() {
            return self.reader.shared.check().and(Err(LogError::Closed));
        }
        match done.await {
            Ok(result) => result,
            Err(_) => self.reader.shared.check().and(Err(LogError::Closed)),
        }
    }

    async fn append_entries(&self, entries: Vec<LogEntry>, callback: IOFlushed<TypeConfig>) -> Result<(), LogError> {
        let bytes = checked_size(&entries)?;
        let trace = append::trace_append(sampled_traces(entries.iter()));
        let (place, room) = match self.reserve(bytes).await {
            Ok(reserved) => reserved,
            Err(error) => {
                callback.io_completed(Err(error.to_io()));
                return Err(error);
            }
        };
        // The lock is held until the operation is queued: the queue must have the order of the memory.
        let mut memory = self.reader.shared.lock();
        if let Err(error) = check_contiguous(memory.next(), &entries) {
            drop(memory);
            callback.io_completed(Err(error.to_io()));
            return Err(error);
        }
        for entry in &entries {
            memory.last = Some(entry.log_id);
            memory.cache.push(entry.clone());
        }
        place.send(LogOp::Append { entries, callback, bytes, room, trace });
        Ok(())
    }

    async fn reserve(&self, bytes: usize) -> Result<(mpsc::Permit<'_, LogOp>, OwnedSemaphorePermit), LogError> {
        let shared = &self.reader.shared;
        shared.check()?;
        // An append that is larger than the whole queue goes alone.
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.reader.options.queue_bytes);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| LogError::Closed)?;
        match self.queue.reserve().await {
            Ok(place) => Ok((place, room)),
            Err(_) => shared.check().and(Err(LogError::Closed)),
        }
    }
}

fn checked_size(entries: &[LogEntry]) -> Result<usize, LogError> {
    let mut sum = 0_usize;
    for entry in entries {
        let bytes = entry_weight(entry);
        if bytes > MAX_RECORD {
            return Err(LogError::TooLarge { bytes, limit: MAX_RECORD });
        }
        sum = sum.saturating_add(bytes);
    }
    if sum > LARGEST_APPEND { Err(LogError::TooLarge { bytes: sum, limit: LARGEST_APPEND }) } else { Ok(sum) }
}

/// Checks that the entries continue the log without a gap.
fn check_contiguous(next: Option<u64>, entries: &[LogEntry]) -> Result<(), LogError> {
    let mut next = next;
    for entry in entries {
        let found = entry.log_id.index;
        match next {
            Some(expected) if expected != found => return Err(LogError::Hole { expected, found }),
            _ => next = Some(found.saturating_add(1)),
        }
    }
    Ok(())
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let memory = self.reader.shared.lock();
        Ok(LogState { last_purged_log_id: memory.meta.purged, last_log_id: memory.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        // Durable before openraft sends it: a node that forgot its vote could vote twice (Raft paper, §5.2).
        self.request(|ack| LogOp::Vote(vote, ack)).await.map_err(|error| error.to_io())
    }

    /// Stores the mark in memory, to be written with the next batch: openraft waits for this call before each apply. A
    /// mark that a crash loses is learned again from the leader.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.reader.shared.check().map_err(|error| error.to_io())?;
        if committed.is_some() {
            self.reader.shared.lock().meta.committed = committed;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.reader.shared.lock().meta.committed)
    }

    /// Appends entries. Returns once they can be read and are queued; waits while the disk is too far behind.
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        self.append_entries(entries, callback).await.map_err(|error| error.to_io())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |id| id.index.saturating_add(1));
        let (next, purged, committed) = {
            let memory = self.reader.shared.lock();
            (memory.next().unwrap_or(0), memory.meta.purged, memory.meta.committed)
        };
        if from >= next {
            return self.reader.shared.check().map_err(|error| error.to_io());
        }
        // Neither purged nor committed entries can be taken back (Raft paper, §5.3, Leader Completeness).
        let least = purged.max(committed).map_or(0, |id| id.index.saturating_add(1));
        if from < least {
            return Err(LogError::Hole { expected: least, found: from }.to_io());
        }
        self.request(|ack| LogOp::Truncate(last_log_id, ack)).await.map_err(|error| error.to_io())
    }

    /// Purges entries. Returns once the mark is durable; whole segments are unlinked later.
    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let purged = self.reader.shared.lock().meta.purged;
        if purged.is_some_and(|purged| purged.index >= log_id.index) {
            return self.reader.shared.check().map_err(|error| error.to_io());
        }
        self.request(|ack| LogOp::Purge(log_id, ack)).await.map_err(|error| error.to_io())
    }
}
