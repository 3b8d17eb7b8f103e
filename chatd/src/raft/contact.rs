//! Time at which this node last heard its leader. A follower's view of leadership says which node was voted for, not
//! whether that node is still there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Timestamp of the last contact, set by the peer listener and read by status and readiness. Clones share it.
#[derive(Clone)]
pub struct LastContact {
    start: Instant,
    // Milliseconds since `start`, plus one; 0 means never. An atomic, because each append sets it.
    last: Arc<AtomicU64>,
}

impl Default for LastContact {
    fn default() -> Self {
        Self { start: Instant::now(), last: Arc::default() }
    }
}

impl LastContact {
    /// Records that the leader was heard at this moment.
    pub fn stamp(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last.store(now.saturating_add(1), Ordering::Relaxed);
    }

    /// Returns the time since the leader was last heard; `None` if this process never heard one.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.start.elapsed().saturating_sub(Duration::from_millis(last)))
    }
}
