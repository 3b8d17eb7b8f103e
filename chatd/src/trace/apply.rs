//! Spans of the state machine: the sampled entries of one commit.

use super::append::WallClock;
use super::delivery::DeliveryTraces;
use super::entry::EntryTrace;
use super::{attribute, span_builder};
use std::sync::Arc;
use std::time::Instant;

/// Sampled entries among those of one commit; empty, without an allocation, if there are none.
pub(crate) struct ApplyTrace(Vec<(u64, Arc<EntryTrace>)>);

impl ApplyTrace {
    pub(crate) fn of<'a>(entries: impl Iterator<Item = (u64, &'a Arc<EntryTrace>)>) -> Self {
        Self(entries.map(|(index, trace)| (index, trace.clone())).collect())
    }

    /// Notes the time of the commit. Call it before those who wait are answered, so that they know that time.
    pub(crate) fn committed(&self, at: Instant) {
        if !self.0.is_empty() {
            let at = WallClock::now().at(at);
            self.0.iter().for_each(|(_, trace)| trace.applied(at));
        }
    }

    /// Records the `apply` spans. Call it before readers are woken, whose deliveries are beneath these spans. There is
    /// one commit for all, so the later spans are linked to the first.
    pub(crate) fn finish(self, began: Instant, entries: usize, commands: usize, deliveries: &DeliveryTraces) {
        if self.0.is_empty() {
            return;
        }
        let wall = WallClock::now();
        let mut first = None;
        for (index, trace) in &self.0 {
            let Some(mut apply) = trace.mark().start(span_builder("apply").with_start_time(wall.at(began))) else {
                return;
            };
            apply.count(attribute::INDEX, *index);
            apply.count(attribute::ENTRIES, entries);
            apply.count(attribute::COMMANDS, commands);
            let mark = apply.mark().clone();
            match &first {
                Some(first) => apply.link(first),
                None => first = Some(mark.clone()),
            }
            let end = trace.applied_at().unwrap_or_else(|| wall.at(Instant::now()));
            deliveries.expect(*index, mark, end);
            apply.end_at(end);
        }
    }
}
