//! Exponential backoff after failures, counted for each object separately and reset by success.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(250);
// The status promises a retry at least this often (`status/conditions.rs`).
const LONGEST: Duration = Duration::from_secs(30);

/// Returns the wait after the given number of failures in a row.
#[must_use]
pub fn wait_after(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST)
}

/// Number of failures in a row of each object.
#[derive(Debug, Default)]
pub struct ObjectBackoff(Mutex<HashMap<String, u32>>);

impl ObjectBackoff {
    /// Records a failure of the object and returns the wait before the next attempt.
    pub fn failed(&self, object: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        *count = count.saturating_add(1);
        wait_after(*count)
    }

    /// Returns the number of failures in a row of the object.
    #[must_use]
    pub fn failures(&self, object: &str) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(object).copied().unwrap_or_default()
    }

    /// Forgets the failures of an object that has succeeded or is gone.
    pub fn reset(&self, object: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew() {
        let backoff = ObjectBackoff::default();
        let waits: Vec<u64> = (0..10).map(|_| backoff.failed("a").as_millis() as u64).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!((backoff.failures("a"), backoff.failures("b")), (10, 0));
        assert_eq!(backoff.failed("b"), FIRST, "each by itself");
        backoff.reset("a");
        assert_eq!(backoff.failed("a"), FIRST);
    }
}
