//! Backoff between attempts, with full jitter.

use rand::Rng as _;
use std::time::Duration;

/// Backoff with full jitter: each wait is drawn evenly from zero to `base × 2ⁿ`, and is never above `cap`.
///
/// Many clients lose their pod at the same moment; drawing from the whole interval spreads their return, where a fixed
/// wait would bring them all back at once.
#[derive(Debug, Clone)]
pub struct JitteredBackoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

/// First interval, as promised in the documentation.
pub const BASE: Duration = Duration::from_secs(1);
/// Longest interval, as promised in the documentation.
pub const CAP: Duration = Duration::from_secs(30);

impl JitteredBackoff {
    /// Creates a backoff whose n-th wait is at most `base × 2ⁿ` and at most `cap`, with n counted from 0.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempt: 0 }
    }

    /// Returns the longest wait that the next call of [`Self::next_wait`] may return.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        // 2^31 intervals exceed any cap; the limit only keeps the shift defined.
        let factor = 1_u32 << self.attempt.min(31);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// Draws the next wait and doubles the interval for the one after.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(rand::rng().random::<f64>())
    }

    /// Starts again from the first interval, after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

impl Default for JitteredBackoff {
    fn default() -> Self {
        Self::new(BASE, CAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_doubles_from_one_second_and_stops_at_thirty() {
        let mut backoff = JitteredBackoff::default();
        let mut ceilings = Vec::new();
        for _ in 0..8 {
            ceilings.push(backoff.ceiling().as_secs());
            backoff.next_wait();
        }
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_wait_is_never_longer_than_its_interval_even_after_very_many_attempts() {
        let mut backoff = JitteredBackoff::default();
        for _ in 0..200 {
            let ceiling = backoff.ceiling();
            assert!(backoff.next_wait() <= ceiling);
        }
        assert_eq!(backoff.ceiling(), CAP);
    }

    #[test]
    fn waits_are_spread_over_the_whole_interval() {
        let waits: Vec<f64> = (0..400).map(|_| JitteredBackoff::default().next_wait().as_secs_f64()).collect();
        assert!(waits.iter().any(|w| *w < 0.2), "none in the first fifth");
        assert!(waits.iter().any(|w| *w > 0.8), "none in the last fifth");
    }

    #[test]
    fn a_reset_starts_from_the_first_interval() {
        let mut backoff = JitteredBackoff::default();
        for _ in 0..5 {
            backoff.next_wait();
        }
        backoff.reset();
        assert_eq!(backoff.ceiling(), BASE);
    }
}
