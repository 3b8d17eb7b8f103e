//! What the log keeps for members that are taking a snapshot over: the entries that follow it. Without them they would
//! need the next snapshot as soon as they have this one, again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// After a transfer, however it ended: the member installs and asks for what follows, or the transfer is tried again.
const GRACE: Duration = Duration::from_secs(60);
/// One snapshot is waited for no longer than this: 230 GiB at the rate at which snapshots are sent.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The members of this node that install, and from where on they will need the log. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogHolds {
    // One for each member, so it is bounded by their number.
    held: Arc<Mutex<HashMap<u64, Held>>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    index: u64,
    since: Instant,
    /// When the last transfer ended; `None` while one runs.
    released: Option<Instant>,
}

impl LogHolds {
    /// A transfer of the snapshot at `index` to this member begins; it ends when the guard is dropped.
    pub(crate) fn hold(&self, node_id: u64, index: u64) -> HoldGuard {
        self.hold_at(node_id, index, Instant::now());
        HoldGuard { holds: self.clone(), node_id }
    }

    /// The log is needed behind this index; `None` when nobody installs.
    pub(crate) fn least(&self) -> Option<u64> {
        self.least_at(Instant::now())
    }

    fn hold_at(&self, node_id: u64, index: u64, now: Instant) {
        let mut held = self.lock();
        let again = held.get(&node_id).filter(|held| held.index == index).map(|held| held.since);
        held.insert(node_id, Held { index, since: again.unwrap_or(now), released: None });
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

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of one transfer.
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
        // Tried again and again with the same snapshot.
        for minute in 0..60 {
            holds.hold_at(1, 500, start + Duration::from_secs(60 * minute));
        }
        assert_eq!(holds.least_at(start + LONGEST), None);
        holds.hold_at(1, 900, start + LONGEST);
        assert_eq!(holds.least_at(start + LONGEST), Some(900), "a later snapshot has its own time");
    }
}
