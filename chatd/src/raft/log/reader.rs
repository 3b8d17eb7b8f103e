//! Reads entries from memory if they are there, otherwise from the segments, without blocking the runtime.

use super::error::LogError;
use super::format::{FormatMismatch, RecordKind, RecordSlot, check_record};
use super::index::{EntryRun, SegmentFile};
use super::options::LogOptions;
use super::shared::SharedLog;
use crate::raft::codec::decode_entry;
use crate::raft::threading::ThreadingModel;
use crate::raft::types::{LogEntry, TypeConfig, Vote};
use bytes::Bytes;
use futures::stream::{self, Stream};
use openraft::OptionalSend;
use openraft::storage::RaftLogReader;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

/// Largest read from a file, in bytes, unless one record is larger.
const PIECE: u64 = 1 << 20;

/// Reader of the log. Cheap to clone; it also sees entries that are appended later.
#[derive(Clone)]
pub struct LogReader {
    pub(crate) shared: Arc<SharedLog>,
    pub(crate) options: Arc<LogOptions>,
}

impl LogReader {
    /// Reads entries from the beginning of `range`: all that exist, or about `budget` bytes of them, but at least one.
    pub(crate) async fn read(&self, range: Range<u64>, budget: usize) -> Result<Vec<LogEntry>, LogError> {
        self.shared.check()?;
        let plan = self.shared.lock().plan(range, budget);
        if plan.cold.is_empty() {
            return Ok(plan.warm);
        }
        let mut entries = match self.options.drive {
            ThreadingModel::Task => read_runs(&plan.cold)?,
            ThreadingModel::Threads => {
                let read = tokio::task::spawn_blocking(move || read_runs(&plan.cold));
                read.await.map_err(|error| LogError::io("read", "the log", io::Error::other(error)))??
            }
        };
        entries.extend(plan.warm);
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        self.read(to_range(&range), usize::MAX).await.map_err(|error| error.to_io())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<LogEntry>, io::Error> {
        self.read(start..end, self.options.read_bytes).await.map_err(|error| error.to_io())
    }

    /// Reads the range in parts, because the range to apply after a start may be the whole log.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<LogEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let reader = self.clone();
        let parts = stream::try_unfold(to_range(&range), move |range| {
            let reader = reader.clone();
            async move {
                if range.is_empty() {
                    return Ok(None);
                }
                let entries = reader.read(range.clone(), reader.options.stream_bytes).await.map_err(|e| e.to_io())?;
                let Some(last) = entries.last() else { return Ok(None) };
                let rest = last.log_id.index.saturating_add(1)..range.end;
                Ok::<_, io::Error>(Some((stream::iter(entries.into_iter().map(Ok)), rest)))
            }
        });
        Box::pin(futures::TryStreamExt::try_flatten(parts))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.shared.check().map_err(|error| error.to_io())?;
        Ok(self.shared.lock().meta.vote)
    }
}

fn to_range(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

fn read_runs(runs: &[EntryRun]) -> Result<Vec<LogEntry>, LogError> {
    let mut entries = Vec::with_capacity(runs.iter().map(|run| run.slots.len()).sum());
    for run in runs {
        let mut rest = run.slots.as_slice();
        while let Some((piece, others)) = next_piece(rest) {
            read_piece(&run.segment, piece, &mut entries)?;
            rest = others;
        }
    }
    Ok(entries)
}

/// Splits off the slots that one read covers. The decision is by offset, not by number: truncated entries may lie
/// between two live ones.
fn next_piece(slots: &[RecordSlot]) -> Option<(&[RecordSlot], &[RecordSlot])> {
    let first = slots.first()?;
    let limit = u64::from(first.offset).saturating_add(PIECE);
    let count = slots.iter().take_while(|slot| slot.end() <= limit).count().max(1);
    slots.split_at_checked(count)
}

fn read_piece(segment: &SegmentFile, slots: &[RecordSlot], into: &mut Vec<LogEntry>) -> Result<(), LogError> {
    let (Some(first), Some(last)) = (slots.first(), slots.last()) else { return Ok(()) };
    let start = u64::from(first.offset);
    let mut buffer = vec![0; usize::try_from(last.end().saturating_sub(start)).unwrap_or(usize::MAX)];
    segment.file.read_at(&mut buffer, start).map_err(|source| LogError::io("read", &segment.name, source))?;
    let buffer = Bytes::from(buffer);
    for slot in slots {
        let at = slot.offset.saturating_sub(first.offset) as usize;
        let bytes = buffer.slice(at..at.saturating_add(slot.len as usize).min(buffer.len()));
        let entry = entry_in(segment, &bytes, slot.offset);
        into.push(entry.map_err(|mismatch| LogError::Damaged {
            file: segment.name.clone(),
            offset: u64::from(slot.offset),
            expected: mismatch.expected,
            found: mismatch.found,
        })?);
    }
    Ok(())
}

fn entry_in(segment: &SegmentFile, bytes: &Bytes, offset: u32) -> Result<LogEntry, FormatMismatch> {
    let record = check_record(bytes, segment.seal, offset)?;
    if record.kind != RecordKind::Entry {
        return Err(FormatMismatch::new("an entry", format!("{:?}", record.kind)));
    }
    let start = super::format::RECORD_HEADER;
    let payload = bytes.slice(start..start.saturating_add(record.payload));
    decode_entry(payload).map_err(|error| FormatMismatch::new("a log entry", error.to_string()))
}
