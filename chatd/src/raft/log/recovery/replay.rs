//! Rebuilds the state in memory from the records.

use super::scan::{damage_error, is_first};
use super::{RecoveredLog, RecoveryReport, missing_segment};
use crate::raft::codec::{decode_entry, log_id_from_pb};
use crate::raft::log::cache::TailCache;
use crate::raft::log::error::LogError;
use crate::raft::log::format::{
    CheckedRecord, FormatMismatch, HEADER, LogMeta, RecordKind, StateRecord, TruncateRecord, file_name,
};
use crate::raft::log::index::{EntryIndex, SegmentFile};
use crate::raft::log::segment::ActiveSegment;
use crate::raft::log::shared::LogMemory;
use crate::raft::types::LogId;
use bytes::Bytes;
use prost::Message as _;
use quorate_core::proto::log as pb;

/// Result of the records so far.
#[derive(Default)]
pub(super) struct LogReplay {
    pub(super) meta: Option<LogMeta>,
    pub(super) index: EntryIndex,
    /// Index of the next entry.
    pub(super) next: u64,
    last: Option<LogId>,
    doomed: Vec<SegmentFile>,
}

impl LogReplay {
    pub(super) fn record(
        &mut self,
        file: &SegmentFile,
        record: &CheckedRecord,
        payload: Bytes,
    ) -> Result<(), LogError> {
        let offset = record.slot.offset;
        if offset == HEADER && !is_first(record) {
            let mismatch = FormatMismatch::new("a state record", format!("{:?}", record.kind));
            return Err(damage_error(&file.name, u64::from(offset), &mismatch));
        }
        let result = match record.kind {
            RecordKind::State => {
                StateRecord::decode(payload).map_err(decode_mismatch).and_then(|state| self.state(state))
            }
            RecordKind::Entry => self.entry(record, payload),
            RecordKind::Truncate => {
                TruncateRecord::decode(payload).map_err(decode_mismatch).map(|truncate| self.truncate(truncate))
            }
            RecordKind::Committed => pb::LogId::decode(payload).map_err(decode_mismatch).map(|id| self.committed(&id)),
        };
        result.map_err(|mismatch| damage_error(&file.name, u64::from(offset), &mismatch))
    }

    fn state(&mut self, state: StateRecord) -> Result<(), FormatMismatch> {
        let meta = LogMeta::from_message(state);
        if let Some(before) = self.meta.as_ref().filter(|before| before.node_id != meta.node_id) {
            return Err(FormatMismatch::new(format!("node id {}", before.node_id), meta.node_id.to_string()));
        }
        if let Some(purged) = meta.purged {
            let to = purged.index.saturating_add(1);
            self.doomed.extend(self.index.purge(to));
            if self.next <= to {
                (self.next, self.last) = (to, Some(purged));
            }
        }
        self.meta = Some(meta);
        Ok(())
    }

    fn entry(&mut self, record: &CheckedRecord, payload: Bytes) -> Result<(), FormatMismatch> {
        let entry = decode_entry(payload).map_err(|error| FormatMismatch::new("a log entry", error.to_string()))?;
        let index = entry.log_id.index;
        // An empty log may begin at any index.
        let anywhere = self.last.is_none() && self.next == 0;
        if index != self.next && !anywhere {
            return Err(FormatMismatch::new(format!("entry {}", self.next), format!("entry {index}")));
        }
        self.index.push(index, record.slot);
        (self.next, self.last) = (index.saturating_add(1), Some(entry.log_id));
        Ok(())
    }

    fn truncate(&mut self, truncate: TruncateRecord) {
        self.last = truncate.after.as_ref().map(log_id_from_pb);
        self.next = self.last.map_or(0, |last| last.index.saturating_add(1));
        self.index.truncate(self.next);
    }

    fn committed(&mut self, id: &pb::LogId) {
        if let Some(meta) = &mut self.meta {
            meta.committed = Some(log_id_from_pb(id));
        }
    }

    /// Checks that nothing is missing at either end, and returns the result.
    pub(super) fn finish(
        mut self,
        segment: ActiveSegment,
        mut report: RecoveryReport,
        first_number: u64,
    ) -> Result<RecoveredLog, LogError> {
        let meta = self.meta.take().ok_or(LogError::Closed)?;
        let bounds = self.index.bounds();
        let begin = bounds.map_or(self.next, |(first, _)| first);
        let missing_before = match meta.purged {
            Some(purged) => begin > purged.index.saturating_add(1),
            None => first_number > 1,
        };
        if missing_before {
            let purged = meta.purged.map_or_else(|| "nothing".to_owned(), |id| format!("index {}", id.index));
            let expected = format!("the entries before {begin}, because {purged} was purged last");
            return Err(missing_segment(&file_name(first_number.saturating_sub(1)), &expected));
        }
        if let Some(committed) = meta.committed.filter(|id| id.index >= self.next) {
            let found = format!("the end of the log at index {}", self.next);
            let mismatch = FormatMismatch::new(format!("the committed entry {}", committed.index), found);
            return Err(damage_error(&segment.file.name, u64::from(segment.end), &mismatch));
        }
        if bounds.is_none() {
            self.last = meta.purged;
        }
        report.entries = bounds.map_or(0, |(first, last)| last.saturating_sub(first).saturating_add(1));
        let memory = LogMemory { meta: meta.clone(), last: self.last, cache: TailCache::default(), index: self.index };
        Ok(RecoveredLog { segment, meta, next: self.next, memory, doomed: self.doomed, report })
    }
}

fn decode_mismatch(error: prost::DecodeError) -> FormatMismatch {
    FormatMismatch::new("a message of its kind", error.to_string())
}
