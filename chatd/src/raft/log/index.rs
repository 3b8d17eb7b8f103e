//! Position of each entry on disk: 8 bytes of memory per entry that is kept, so 80 MB for ten million. Exact offsets
//! and lengths let a read be bounded in bytes before a file is touched.

use super::disk::LogFile;
use super::format::{RecordSlot, SegmentSeal};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A segment file, shared by readers; it stays readable after it is unlinked.
#[derive(Clone)]
pub(crate) struct SegmentFile {
    pub(crate) name: String,
    pub(crate) seal: SegmentSeal,
    pub(crate) file: Arc<dyn LogFile>,
}

struct IndexedSegment {
    segment: SegmentFile,
    /// Index of the first slot; meaningless without slots.
    first: u64,
    slots: VecDeque<RecordSlot>,
}

impl IndexedSegment {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.slots.len() as u64)
    }
}

/// All segments, oldest first, with the positions of their live entries.
#[derive(Default)]
pub(crate) struct EntryIndex {
    parts: VecDeque<IndexedSegment>,
}

/// One segment of the log, as far as it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogExtent {
    /// Index of the first entry in the segment that is not purged.
    pub first: u64,
    /// Bytes from the beginning of the segment to the end of its last entry.
    pub bytes: u64,
}

/// Consecutive entries of one segment.
pub(crate) struct EntryRun {
    pub(crate) segment: SegmentFile,
    pub(crate) slots: Vec<RecordSlot>,
}

impl EntryIndex {
    /// Returns the number of segments.
    pub(crate) fn segments(&self) -> usize {
        self.parts.len()
    }

    /// Adds a new segment, which holds the entries added next.
    pub(crate) fn add_segment(&mut self, segment: SegmentFile) {
        self.parts.push_back(IndexedSegment { segment, first: 0, slots: VecDeque::new() });
    }

    /// Adds an entry to the newest segment; it follows the newest entry.
    pub(crate) fn push(&mut self, index: u64, slot: RecordSlot) {
        if let Some(part) = self.parts.back_mut() {
            if part.slots.is_empty() {
                part.first = index;
            }
            part.slots.push_back(slot);
        }
    }

    /// Removes entries from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        for part in self.parts.iter_mut().rev().filter(|part| part.end() > from) {
            let keep = from.saturating_sub(part.first);
            part.slots.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        }
    }

    /// Removes entries before `to`, and returns the segments that are no longer needed, oldest first. The newest
    /// segment stays, because it is being written.
    pub(crate) fn purge(&mut self, to: u64) -> Vec<SegmentFile> {
        for part in self.parts.iter_mut().filter(|part| part.first < to) {
            let gone = to.min(part.end()).saturating_sub(part.first);
            part.slots.drain(..usize::try_from(gone).unwrap_or(usize::MAX).min(part.slots.len()));
            part.first = part.first.saturating_add(gone);
        }
        let mut gone = Vec::new();
        while self.parts.len() > 1 && self.parts.front().is_some_and(|part| part.slots.is_empty()) {
            gone.extend(self.parts.pop_front().map(|part| part.segment));
        }
        gone
    }

    /// Returns the segments that hold live entries, oldest first.
    pub(crate) fn extents(&self) -> Vec<LogExtent> {
        let live = self.parts.iter().filter_map(|part| {
            let last = part.slots.back()?;
            Some(LogExtent { first: part.first, bytes: u64::from(last.offset) + u64::from(last.len) })
        });
        live.collect()
    }

    /// Returns the indexes of the first and the last entry; `None` without entries.
    pub(crate) fn bounds(&self) -> Option<(u64, u64)> {
        let first = self.parts.iter().find(|part| !part.slots.is_empty())?;
        let last = self.parts.iter().rev().find(|part| !part.slots.is_empty())?;
        Some((first.first, last.end().saturating_sub(1)))
    }

    /// Returns the positions of the entries in `range`, until `budget` bytes are reached, but at least one, and their
    /// size in bytes.
    pub(crate) fn runs(&self, range: Range<u64>, budget: usize) -> (Vec<EntryRun>, usize) {
        let mut runs = Vec::new();
        let mut bytes = 0_usize;
        for part in self.parts.iter().filter(|part| part.end() > range.start && part.first < range.end) {
            let first = range.start.max(part.first);
            let skip = usize::try_from(first.saturating_sub(part.first)).unwrap_or(usize::MAX);
            let take = usize::try_from(range.end.saturating_sub(first)).unwrap_or(usize::MAX);
            let mut slots = Vec::new();
            for slot in part.slots.iter().skip(skip).take(take) {
                if bytes > 0 && bytes.saturating_add(slot.len as usize) > budget {
                    runs.push(EntryRun { segment: part.segment.clone(), slots });
                    return (runs, bytes);
                }
                bytes = bytes.saturating_add(slot.len as usize);
                slots.push(*slot);
            }
            runs.push(EntryRun { segment: part.segment.clone(), slots });
        }
        (runs, bytes)
    }
}
