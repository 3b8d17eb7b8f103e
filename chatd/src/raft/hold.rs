//! Retention of log entries for members that are installing a snapshot: the entries that follow it are kept. Otherwise
//! such a member would need the next snapshot as soon as it has this one, again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Time for which entries are kept after a transfer, however it ended: the member installs the snapshot and asks for
/// what follows, or the transfer is tried again.
const GRACE: Duration = Duration::from_secs(60);
/// Longest time for which entries are kept for one snapshot: enough for 230 GiB at the rate at which snapshots are
/// sent.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Members to which this node sends a snapshot, and the log indexes from which they will continue. Clones share their
/// state.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogHolds {
    // One entry per member, which bounds the map.
    held: Arc<Mutex<HashMap<u64, LogHold>>>,
}

#[derive(Clone, Copy, Debug)]
struct LogHold {
    index: u64,
    since: Instant,
    /// End of the last transfer; `None` while one is running.
    released: Option<Instant>,
}

impl LogHolds {
    /// Records that a transfer of the snapshot at `index` to this member begins; it ends when the guard is dropped.
    pub(crate) fn hold(&self, node_id: u64, index: u64) -> HoldGuard {
        self.hold_at(node_id, index, Instant::now());
        HoldGuard { holds: self.clone(), node_id }
    }

    /// Returns the index after which the log must be kept; `None` if no member is installing a snapshot.
    pub(crate) fn least(&self) -> Option<u64> {
        self.least_at(Instant::now())
    }

    fn hold_at(&self, node_id: u64, index: u64, now: Instant) {
        let mut held = self.lock();
        // The first try counts, so that a member which never completes one is not waited for longer than `LONGEST`.
        let again = held.get(&node_id).filter(|held| held.index == index).map(|held| held.since);
        held.insert(node_id, LogHold { index, since: again.unwrap_or(now), released: None });
    }

    fn release_at(&self, node_id: u64, now: Instant) {
        if let Some(held) = self.lock().get_mut(&node_id) {
            held.released = Some(now);
        }
    }

    fn least_at(&self, now: Instant) -> Option<u64> {
        let within = |since: Instant, limit: Duration| now.saturating_duration_since(since) < limit;
        let mut held = self.lock();
        held.retain(|_, held| {
            within(held.since, LONGEST) && held.released.is_none_or(|released| within(released, GRACE))
        });
        held.values().map(|held| held.index).min()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, LogHold>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Guard of one transfer, which ends when the guard is dropped.
pub(crate) struct HoldGuard {
    holds: LogHolds,
    node_id: u64,
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        self.holds.release_at(self.node_id, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_held_during_a_transfer_and_for_a_moment_after() {
        let (holds, start) = (LogHolds::default(), Instant::now());
        assert_eq!(holds.least_at(start), None);
        holds.hold_at(1, 500, start);
        holds.hold_at(2, 300, start);
        assert_eq!(holds.least_at(start + GRACE * 2), Some(300), "both still run");
        holds.release_at(2, start + GRACE * 2);
        assert_eq!(holds.least_at(start + GRACE * 2 + GRACE / 2), Some(300));
        assert_eq!(holds.least_at(start + GRACE * 3), Some(500));
        holds.release_at(1, start + GRACE * 3);
        assert_eq!(holds.least_at(start + GRACE * 4), None);
    }

    #[test]
    fn a_transfer_that_is_dropped_is_over() {
        let holds = LogHolds::default();
        drop(holds.hold(1, 500));
        assert_eq!((holds.least(), holds.least_at(Instant::now() + GRACE)), (Some(500), None));
    }

    #[test]
    fn a_member_that_never_gets_through_is_not_waited_for_for_ever() {
        let (holds, start) = (LogHolds::default(), Instant::now());
        // The same snapshot, tried again and again.
        for minute in 0..60 {
            holds.hold_at(1, 500, start + Duration::from_secs(60 * minute));
        }
        assert_eq!(holds.least_at(start + LONGEST), None);
        holds.hold_at(1, 900, start + LONGEST);
        assert_eq!(holds.least_at(start + LONGEST), Some(900), "a later snapshot has its own time");
    }
}
