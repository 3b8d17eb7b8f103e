//! Spans of delivery: from being applied on this pod to being handed to a reader's stream or answer.

use super::{LiveSpan, SpanMark, attribute, span_builder};
use opentelemetry::KeyValue;
use quorate_core::id::Position;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Maximum number of sampled entries that readers are expected to take: at a high rate one second of one in a hundred.
/// A reader that comes later has no span.
const ENTRIES: usize = 64;
/// Maximum number of readers of one entry that get a span, on each pod: a room may have thousands, who are all served
/// alike.
const READERS: u32 = 8;

/// Sampled entries that were applied on this pod.
#[derive(Debug, Default)]
pub(crate) struct DeliveryTraces {
    /// Index of the newest entry: all that a reader looks at when there is nothing for it.
    newest: AtomicU64,
    recent: Mutex<VecDeque<RecentEntry>>,
}

#[derive(Debug)]
struct RecentEntry {
    index: u64,
    apply: SpanMark,
    applied: SystemTime,
    left: u32,
}

impl DeliveryTraces {
    /// Expects readers of this entry's events, who from now on get spans beneath its `apply` span.
    pub(super) fn expect(&self, index: u64, apply: SpanMark, applied: SystemTime) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == ENTRIES {
            recent.pop_front();
        }
        recent.push_back(RecentEntry { index, apply, applied, left: READERS });
        drop(recent);
        // Stored before readers are woken, with a lock's release in between: they see it, or miss a span.
        self.newest.store(index, Relaxed);
    }

    /// Begins spans for the sampled events among these, which a reader who has all up to `after` is about to be given;
    /// the spans end when they are dropped.
    pub(crate) fn of(
        &self,
        after: Position,
        events: impl Iterator<Item = Position>,
        api: &'static str,
    ) -> Vec<LiveSpan> {
        // Events of the entry that the reader is in the midst of count, too.
        if self.newest.load(Relaxed) < after.index {
            return Vec::new();
        }
        self.look(after, events, api)
    }

    #[cold]
    fn look(&self, after: Position, events: impl Iterator<Item = Position>, api: &'static str) -> Vec<LiveSpan> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut last = None;
        for at in events.filter(|at| *at > after) {
            if last.replace(at.index) == Some(at.index) {
                continue;
            }
            let taken = recent.iter_mut().find(|entry| entry.index == at.index && entry.left > 0);
            if let Some(entry) = taken {
                entry.left -= 1;
                found.push((at.index, entry.apply.clone(), entry.applied));
            }
        }
        drop(recent);
        let start = |(index, apply, applied): (u64, SpanMark, SystemTime)| {
            let attributes = [KeyValue::new(attribute::API, api)];
            let mut live = apply.start(span_builder("deliver").with_start_time(applied).with_attributes(attributes))?;
            live.count(attribute::INDEX, index);
            Some(live)
        };
        found.into_iter().filter_map(start).collect()
    }
}
