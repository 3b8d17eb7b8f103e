use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Since when no leader of a cluster was heard: what tells an election from an operator that hears nobody.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<HashMap<String, Instant>>);

impl Silence {
    /// Notes whether a leader is heard now; returns since when none was. It begins with the first look.
    pub(super) fn note(&self, cluster: &str, heard: bool) -> Duration {
        let now = Instant::now();
        let mut clusters = self.lock();
        let since = clusters.entry(cluster.to_owned()).or_insert(now);
        if heard {
            *since = now;
        }
        now.duration_since(*since)
    }

    /// Forgets a ChatCluster that is gone.
    pub(super) fn forget(&self, cluster: &str) {
        self.lock().remove(cluster);
    }

    /// A poisoned lock guards a map of whole values: it is as good as before.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
