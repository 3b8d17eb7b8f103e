use super::WriteRefusal;
use crate::backoff;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Longest time between two full comparisons of an object, which also correct changed labels.
const RESYNC: Duration = Duration::from_secs(300);

/// Digest of the desired content of a write.
pub(super) type ContentDigest = [u8; 32];

/// Outcome of each write to each cluster: an applied object need not be written again, and a refused write is not
/// retried at once. The ledger is kept in memory, so a restarted operator writes everything once more.
#[derive(Debug, Default)]
pub struct WriteLedger(Mutex<HashMap<String, BTreeMap<String, LedgerEntry>>>);

#[derive(Clone, Debug)]
struct LedgerEntry {
    wanted: ContentDigest,
    state: EntryState,
}

#[derive(Clone, Debug)]
enum EntryState {
    /// The write was applied and left the object at `version`.
    Applied { version: String, at: Instant },
    /// The write was refused and is not retried before `next`.
    Refused { refusal: WriteRefusal, next: Instant },
}

/// Action that is due for a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteDue {
    /// The write is due, because something differs or a refused write may be retried.
    Now,
    /// Nothing differs, but a full comparison is due.
    Again,
    /// The object is as the last write left it.
    Done,
    /// The write was refused a moment ago and nothing has changed since.
    Later(WriteRefusal),
}

impl WriteLedger {
    /// Determines what is due, from the outcome of the last write and the version that the object has.
    pub(super) fn due(&self, cluster: &str, key: &str, wanted: &ContentDigest, version: Option<&String>) -> WriteDue {
        let clusters = self.lock();
        let Some(entry) = clusters.get(cluster).and_then(|entries| entries.get(key)) else { return WriteDue::Now };
        match &entry.state {
            _ if entry.wanted != *wanted => WriteDue::Now,
            EntryState::Refused { refusal, next, .. } if Instant::now() < *next => {
                WriteDue::Later(WriteRefusal { fresh: false, ..refusal.clone() })
            }
            EntryState::Refused { .. } => WriteDue::Now,
            // Somebody else has written or deleted the object since.
            EntryState::Applied { version: left, .. } if version != Some(left) => WriteDue::Now,
            EntryState::Applied { at, .. } if at.elapsed() >= RESYNC => WriteDue::Again,
            EntryState::Applied { .. } => WriteDue::Done,
        }
    }

    /// Returns `true` if this process has applied the desired content and nothing differs. A full comparison that is
    /// due does not count as a difference.
    pub(super) fn is_applied(
        &self,
        cluster: &str,
        key: &str,
        wanted: &ContentDigest,
        version: Option<&String>,
    ) -> bool {
        matches!(self.due(cluster, key, wanted, version), WriteDue::Again | WriteDue::Done)
    }

    pub(super) fn applied(&self, cluster: &str, key: &str, wanted: ContentDigest, version: String) {
        self.set(cluster, key, LedgerEntry { wanted, state: EntryState::Applied { version, at: Instant::now() } });
    }

    /// Records a refusal, and returns it with the number of times in a row that the same write was refused.
    pub(super) fn refused(
        &self,
        cluster: &str,
        key: &str,
        wanted: ContentDigest,
        refusal: WriteRefusal,
    ) -> WriteRefusal {
        let former = self.lock().get(cluster).and_then(|entries| entries.get(key)).cloned();
        let times = match former {
            Some(LedgerEntry { wanted: before, state: EntryState::Refused { refusal, .. } }) if before == wanted => {
                refusal.times.saturating_add(1)
            }
            _ => 1,
        };
        let refusal = WriteRefusal { times, ..refusal };
        let next = Instant::now() + backoff::wait_after(times);
        self.set(cluster, key, LedgerEntry { wanted, state: EntryState::Refused { refusal: refusal.clone(), next } });
        refusal
    }

    /// Forgets a small write that succeeded: the object itself shows whether the write is needed again.
    pub(super) fn done(&self, cluster: &str, key: &str) {
        if let Some(entries) = self.lock().get_mut(cluster) {
            entries.remove(key);
        }
    }

    /// Forgets the writes of the cluster whose keys are no longer `wanted`.
    pub(super) fn retain(&self, cluster: &str, wanted: impl Fn(&str) -> bool) {
        if let Some(entries) = self.lock().get_mut(cluster) {
            entries.retain(|key, _| wanted(key));
        }
    }

    /// Returns the time until the next refused write is due, or `None` if no write is refused.
    #[must_use]
    pub fn next_try(&self, cluster: &str) -> Option<Duration> {
        let clusters = self.lock();
        let refused = clusters.get(cluster)?.values().filter_map(|entry| match &entry.state {
            EntryState::Refused { next, .. } => Some(next.saturating_duration_since(Instant::now())),
            EntryState::Applied { .. } => None,
        });
        refused.min()
    }

    /// Forgets a ChatCluster that has been deleted.
    pub fn forget(&self, cluster: &str) {
        self.lock().remove(cluster);
    }

    fn set(&self, cluster: &str, key: &str, entry: LedgerEntry) {
        self.lock().entry(cluster.to_owned()).or_default().insert(key.to_owned(), entry);
    }

    /// Locks the map. A poisoned lock remains usable, because it guards a map of complete values.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, LedgerEntry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ContentDigest = [1; 32];
    const TWO: ContentDigest = [2; 32];

    fn refusal() -> WriteRefusal {
        WriteRefusal { object: "Service/team".into(), words: "quota".into(), lasts: true, fresh: true, times: 1 }
    }

    #[test]
    fn what_was_applied_is_left_alone_until_it_or_the_wish_changes() {
        let ledger = WriteLedger::default();
        let version = "generation 1".to_owned();
        assert_eq!(ledger.due("chat/team", "Service/team", &ONE, Some(&version)), WriteDue::Now);
        ledger.applied("chat/team", "Service/team", ONE, version.clone());
        assert_eq!(ledger.due("chat/team", "Service/team", &ONE, Some(&version)), WriteDue::Done);
        assert_eq!(ledger.due("chat/team", "Service/team", &TWO, Some(&version)), WriteDue::Now);
        assert_eq!(ledger.due("chat/team", "Service/team", &ONE, Some(&"generation 2".into())), WriteDue::Now);
        assert_eq!(ledger.due("chat/team", "Service/team", &ONE, None), WriteDue::Now, "it was deleted");
        assert_eq!(ledger.due("play/team", "Service/team", &ONE, Some(&version)), WriteDue::Now, "another's");
    }

    #[test]
    fn what_was_refused_waits_unless_the_wish_changes() {
        let ledger = WriteLedger::default();
        // Often enough for the wait to outlast any test.
        let refuse = |wanted| ledger.refused("chat/team", "Service/team", wanted, refusal()).times;
        let counts: Vec<u32> = (0..9).map(|_| refuse(ONE)).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let due = ledger.due("chat/team", "Service/team", &ONE, None);
        assert_eq!(due, WriteDue::Later(WriteRefusal { fresh: false, times: 9, ..refusal() }));
        assert_eq!(ledger.due("chat/team", "Service/team", &TWO, None), WriteDue::Now);
        assert_eq!(refuse(TWO), 1, "another wish counts anew");
        assert!(ledger.next_try("chat/team").is_some());
        ledger.retain("chat/team", |key| key != "Service/team");
        assert_eq!(ledger.next_try("chat/team"), None);
    }
}
