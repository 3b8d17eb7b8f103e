use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time at which a leader of each cluster was last heard, which distinguishes an election from an operator that hears
/// nobody.
#[derive(Debug, Default)]
pub(super) struct LeaderSilence(Mutex<HashMap<String, Instant>>);

impl LeaderSilence {
    /// Records whether a leader is heard, and returns the time for which none has been. The time counts from the first
    /// reconcile at the earliest.
    pub(super) fn note(&self, cluster: &str, heard: bool) -> Duration {
        let now = Instant::now();
        let mut clusters = self.lock();
        let since = clusters.entry(cluster.to_owned()).or_insert(now);
        if heard {
            *since = now;
        }
        now.duration_since(*since)
    }

    /// Forgets a ChatCluster that has been deleted.
    pub(super) fn forget(&self, cluster: &str) {
        self.lock().remove(cluster);
    }

    /// Locks the map. A poisoned lock remains usable, because it guards a map of complete values.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
