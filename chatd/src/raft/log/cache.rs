//! Cache of the newest entries: the leader reads each entry once per follower, and once to apply it.

use crate::raft::types::{EncodedBatch, LogEntry};
use openraft::EntryPayload;
use std::collections::VecDeque;

/// Memory that an entry takes besides its payload, in bytes.
const OVERHEAD: usize = 128;

/// Returns the approximate memory use of an entry, in bytes; the bytes of a batch are shared with all holders of the
/// entry.
pub(crate) fn entry_weight(entry: &LogEntry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(EncodedBatch { bytes, .. }) => bytes.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(membership) => membership.nodes().count().saturating_mul(256),
    };
    payload.saturating_add(OVERHEAD)
}

/// Consecutive entries up to the newest one.
#[derive(Default)]
pub(crate) struct TailCache {
    entries: VecDeque<LogEntry>,
    bytes: usize,
}

impl TailCache {
    /// Returns the index of the oldest cached entry.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    pub(crate) fn push(&mut self, entry: LogEntry) {
        self.bytes = self.bytes.saturating_add(entry_weight(&entry));
        self.entries.push_back(entry);
    }

    /// Removes entries from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= from) {
            self.shrink(VecDeque::pop_back);
        }
    }

    /// Removes entries before `to`.
    pub(crate) fn purge(&mut self, to: u64) {
        while self.first().is_some_and(|first| first < to) {
            self.shrink(VecDeque::pop_front);
        }
    }

    /// Evicts the oldest entries to keep to `budget` bytes, but none from `unwritten` on: these are stored nowhere
    /// else.
    pub(crate) fn evict(&mut self, budget: usize, unwritten: u64) {
        while self.bytes > budget && self.first().is_some_and(|first| first < unwritten) {
            self.shrink(VecDeque::pop_front);
        }
    }

    /// Copies entries from `from` on and before `to`, until `budget` bytes are reached, and at least one if
    /// `at_least_one`.
    pub(crate) fn copy(&self, from: u64, to: u64, mut budget: usize, mut at_least_one: bool, into: &mut Vec<LogEntry>) {
        let Some(first) = self.first() else { return };
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let take = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        for entry in self.entries.iter().skip(skip).take(take) {
            let weight = entry_weight(entry);
            if weight > budget && !at_least_one {
                return;
            }
            (budget, at_least_one) = (budget.saturating_sub(weight), false);
            into.push(entry.clone());
        }
    }

    fn shrink(&mut self, pop: fn(&mut VecDeque<LogEntry>) -> Option<LogEntry>) {
        if let Some(entry) = pop(&mut self.entries) {
            self.bytes = self.bytes.saturating_sub(entry_weight(&entry));
        }
    }
}
