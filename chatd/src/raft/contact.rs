//! When this node last heard its leader: a follower's view of leadership says who was voted for, not who is still there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Stamped by the peer door, read by status and readiness. Clones share the stamp.
#[derive(Clone)]
pub struct Contact {
    start: Instant,
    // Milliseconds since `start`, plus one; 0 is never. An atomic, because each append stamps it.
    last: Arc<AtomicU64>,
}

impl Default for Contact {
    fn default() -> Self {
        Self { start: Instant::now(), last: Arc::default() }
    }
}

impl Contact {
    /// The leader was heard just now.
    pub fn stamp(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last.store(now.saturating_add(1), Ordering::Relaxed);
    }

    /// How long ago; `None` if never in this process's life.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.start.elapsed().saturating_sub(Duration::from_millis(last)))
    }
}
