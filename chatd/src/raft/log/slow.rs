//! Log lines about slow fsyncs: one for many, because a disk in trouble is slow thousands of times.

use quorate_wire::whole_millis;
use std::time::{Duration, Instant};

/// Duration from which an fsync is slow: the leader's disk may then cause an election.
const SLOW: Duration = Duration::from_millis(250);
/// Shortest time between two log lines.
const AGAIN: Duration = Duration::from_secs(10);

/// Slow fsyncs that were not logged yet.
#[derive(Debug, Default)]
pub(super) struct SlowSyncs {
    told: Option<Instant>,
    count: u64,
    worst: Duration,
}

/// Content of a log line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlowSyncReport {
    /// Slow fsyncs since the previous line.
    count: u64,
    /// Duration of the slowest of them.
    worst: Duration,
}

impl SlowSyncs {
    /// Records an fsync that ended at `now`. It is logged if it was slow and no line was logged lately.
    pub(super) fn note(&mut self, took: Duration, now: Instant, segment: &str) {
        if let Some(SlowSyncReport { count, worst }) = self.due(took, now) {
            let worst_ms = whole_millis(worst);
            tracing::warn!(segment, count, worst_ms, "the log's disk is slow: an fsync delays writes and elections");
        }
    }

    fn due(&mut self, took: Duration, now: Instant) -> Option<SlowSyncReport> {
        if took < SLOW {
            return None;
        }
        self.count += 1;
        self.worst = self.worst.max(took);
        if self.told.is_some_and(|told| now.duration_since(told) < AGAIN) {
            return None;
        }
        let told = SlowSyncReport { count: self.count, worst: self.worst };
        *self = Self { told: Some(now), ..Self::default() };
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_told_once_in_ten_seconds_with_how_often_and_how_slow() {
        let (start, mut slow) = (Instant::now(), SlowSyncs::default());
        let mut sync =
            |second: u64, millis: u64| slow.due(Duration::from_millis(millis), start + Duration::from_secs(second));
        assert_eq!(sync(0, 20), None);
        assert_eq!(sync(1, 300), Some(SlowSyncReport { count: 1, worst: Duration::from_millis(300) }));
        assert_eq!((sync(2, 900), sync(3, 400)), (None, None));
        assert_eq!(sync(12, 260), Some(SlowSyncReport { count: 3, worst: Duration::from_millis(900) }));
    }
}
