use super::Refusal;
use crate::backoff;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Objects are compared in full at least this often, so that changed labels are put right too.
const RESYNC: Duration = Duration::from_secs(300);

/// A digest of what is wanted.
pub(super) type Wanted = [u8; 32];

/// What became of each write to each cluster: what was applied need not be written again, and what was refused is not
/// tried again at once. In memory: a restarted operator writes everything once more.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<HashMap<String, BTreeMap<String, Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    wanted: Wanted,
    state: EntryState,
}

#[derive(Clone, Debug)]
enum EntryState {
    /// With the object's version after the write.
    Applied { version: String, at: Instant },
    /// And tried again from then on.
    Refused { refusal: Refusal, next: Instant },
}

/// What is to be done about one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Something differs: write.
    Now,
    /// Nothing differs, but it is time to compare in full.
    Again,
    /// It is as it was left.
    Done,
    /// It was refused a moment ago and nothing has changed since.
    Later(Refusal),
}

impl Ledger {
    /// Compares with what was done last, and with the version that the object has now.
    pub(super) fn due(&self, cluster: &str, key: &str, wanted: &Wanted, version: Option<&String>) -> Due {
        let clusters = self.lock();
        let Some(entry) = clusters.get(cluster).and_then(|entries| entries.get(key)) else { return Due::Now };
        match &entry.state {
            _ if entry.wanted != *wanted => Due::Now,
            EntryState::Refused { refusal, next, .. } if Instant::now() < *next => {
                Due::Later(Refusal { fresh: false, ..refusal.clone() })
            }
            EntryState::Refused { .. } => Due::Now,
            EntryState::Applied { version: left, .. } if version != Some(left) => Due::Now,
            EntryState::Applied { at, .. } if at.elapsed() >= RESYNC => Due::Again,
            EntryState::Applied { .. } => Due::Done,
        }
    }

    /// Whether this was applied by this process once, or is: a write that is due again is no change.
    pub(super) fn is_applied(&self, cluster: &str, key: &str, wanted: &Wanted, version: Option<&String>) -> bool {
        matches!(self.due(cluster, key, wanted, version), Due::Again | Due::Done)
    }

    pub(super) fn applied(&self, cluster: &str, key: &str, wanted: Wanted, version: String) {
        self.set(cluster, key, Entry { wanted, state: EntryState::Applied { version, at: Instant::now() } });
    }

    /// Notes a refusal; returns it with how often in a row the same was refused.
    pub(super) fn refused(&self, cluster: &str, key: &str, wanted: Wanted, refusal: Refusal) -> Refusal {
        let former = self.lock().get(cluster).and_then(|entries| entries.get(key)).cloned();
        let times = match former {
            Some(Entry { wanted: before, state: EntryState::Refused { refusal, .. } }) if before == wanted => {
                refusal.times.saturating_add(1)
            }
            _ => 1,
        };
        let refusal = Refusal { times, ..refusal };
        let next = Instant::now() + backoff::wait_after(times);
        self.set(cluster, key, Entry { wanted, state: EntryState::Refused { refusal: refusal.clone(), next } });
        refusal
    }

    /// Forgets a small write that went well: whether it is needed again is seen in the object.
    pub(super) fn done(&self, cluster: &str, key: &str) {
        if let Some(entries) = self.lock().get_mut(cluster) {
            entries.remove(key);
        }
    }

    /// Forgets every write of the cluster but these: the others are not wanted any more.
    pub(super) fn retain(&self, cluster: &str, wanted: impl Fn(&str) -> bool) {
        if let Some(entries) = self.lock().get_mut(cluster) {
            entries.retain(|key, _| wanted(key));
        }
    }

    /// When the next refused write is due.
    #[must_use]
    pub fn next_try(&self, cluster: &str) -> Option<Duration> {
        let clusters = self.lock();
        let refused = clusters.get(cluster)?.values().filter_map(|entry| match &entry.state {
            EntryState::Refused { next, .. } => Some(next.saturating_duration_since(Instant::now())),
            EntryState::Applied { .. } => None,
        });
        refused.min()
    }

    /// Forgets a ChatCluster that is gone.
    pub fn forget(&self, cluster: &str) {
        self.lock().remove(cluster);
    }

    fn set(&self, cluster: &str, key: &str, entry: Entry) {
        self.lock().entry(cluster.to_owned()).or_default().insert(key.to_owned(), entry);
    }

    /// A poisoned lock guards a map of whole values: it is as good as before.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Wanted = [1; 32];
    const TWO: Wanted = [2; 32];

    fn refusal() -> Refusal {
        Refusal { object: "Service/team".into(), words: "quota".into(), lasts: true, fresh: true, times: 1 }
    }

    #[test]
    fn what_was_applied_is_left_alone_until_it_or_the_wish_changes() {
        let ledger = Ledger::default();
        let version = "generation 1".to_owned();
        assert_eq!(ledger.due("chat/team", "Service/team", &ONE, Some(&version)), Due::Now);
        ledger.applied("chat/team", "Service/team", ONE, version.clone());
        assert_eq!(ledger.due("chat/team", "Service/team", &ONE, Some(&version)), Due::Done);
        assert_eq!(ledger.due("chat/team", "Service/team", &TWO, Some(&version)), Due::Now);
        assert_eq!(ledger.due("chat/team", "Service/team", &ONE, Some(&"generation 2".into())), Due::Now);
        assert_eq!(ledger.due("chat/team", "Service/team", &ONE, None), Due::Now, "it was deleted");
        assert_eq!(ledger.due("play/team", "Service/team", &ONE, Some(&version)), Due::Now, "another's");
    }

    #[test]
    fn what_was_refused_waits_unless_the_wish_changes() {
        let ledger = Ledger::default();
        // So often that the wait outlives any test.
        let refuse = |wanted| ledger.refused("chat/team", "Service/team", wanted, refusal()).times;
        let counts: Vec<u32> = (0..9).map(|_| refuse(ONE)).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let due = ledger.due("chat/team", "Service/team", &ONE, None);
        assert_eq!(due, Due::Later(Refusal { fresh: false, times: 9, ..refusal() }));
        assert_eq!(ledger.due("chat/team", "Service/team", &TWO, None), Due::Now);
        assert_eq!(refuse(TWO), 1, "another wish counts anew");
        assert!(ledger.next_try("chat/team").is_some());
        ledger.retain("chat/team", |key| key != "Service/team");
        assert_eq!(ledger.next_try("chat/team"), None);
    }
}
