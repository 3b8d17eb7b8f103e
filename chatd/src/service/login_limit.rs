//! Bounds guessing: failed logins per account on this pod. In memory, because a restart gives a guesser little.

use super::{Code, Refusal};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures at once; people mistype, and scripts with a stale password retry a few times.
const BURST: u32 = 10;
/// One more after each of these: 8,640 guesses a day and pod, nothing against a decent password.
const PER: Duration = Duration::from_secs(10);
/// Accounts remembered: 10,000 names of at most 255 bytes are a few MiB. Beyond it all unknown names share one count.
const ACCOUNTS: usize = 10_000;

/// Counts failures by account: each moves a "free again" time on (the generic cell rate algorithm).
#[derive(Default)]
pub(super) struct LoginLimit {
    busy_until: Mutex<HashMap<String, Instant>>,
}

impl LoginLimit {
    /// Counts an attempt before it is verified; [`LoginLimit::succeeded`] takes it back.
    pub(super) fn attempt(&self, localpart: &str, now: Instant) -> Result<(), Refusal> {
        let mut busy = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.len() >= ACCOUNTS && !busy.contains_key(localpart) {
            busy.retain(|_, until| *until > now);
        }
        // The empty name is nobody's: it counts for all that there is no room for.
        let key = if busy.len() >= ACCOUNTS && !busy.contains_key(localpart) { "" } else { localpart };
        let until = busy.entry(key.to_owned()).or_insert(now);
        let from = (*until).max(now);
        let ahead = from.duration_since(now);
        let allowed = PER.saturating_mul(BURST.saturating_sub(1));
        if ahead > allowed {
            let wait = ahead.saturating_sub(allowed);
            let message =
                format!("too many failed logins for this account; wait {} s", wait.as_secs().saturating_add(1));
            return Err(Refusal::new(Code::LimitExceeded, message).after(wait));
        }
        *until = from + PER;
        Ok(())
    }

    /// The attempt was the owner's.
    pub(super) fn succeeded(&self, localpart: &str) {
        self.busy_until.lock().unwrap_or_else(PoisonError::into_inner).remove(localpart);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_slowed_down_for_the_account_alone() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        for _ in 0..BURST {
            limit.attempt("alice", now).unwrap();
        }
        let refused = limit.attempt("alice", now).unwrap_err();
        assert_eq!(refused.code, Code::LimitExceeded);
        assert!(refused.retry_after.unwrap() <= PER);
        assert!(limit.attempt("bob", now).is_ok());
        assert!(limit.attempt("alice", now + PER).is_ok());
        assert!(limit.attempt("alice", now + PER).is_err());
    }

    #[test]
    fn a_success_forgives() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        for _ in 0..100 {
            limit.attempt("alice", now).unwrap();
            limit.succeeded("alice");
        }
    }

    #[test]
    fn many_names_take_bounded_memory() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        for n in 0..ACCOUNTS + 100 {
            let _ = limit.attempt(&n.to_string(), now);
        }
        assert!(limit.busy_until.lock().unwrap().len() <= ACCOUNTS + 1);
    }
}
