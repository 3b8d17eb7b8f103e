//! Rates of any number of keys, in memory of a fixed size.
//!
//! A count-min sketch (Cormode and Muthukrishnan, 2005) whose counters are the "free again" times of the generic cell
//! rate algorithm: each key has one cell in each row, and its rate is that of the emptiest of them. No eviction exists
//! that somebody could force: a key is never forgotten before its time, and never counted too low. A key is counted too
//! high only when other busy keys share its cell in *every* row. Nobody can tell which keys share a cell, as the hash
//! is keyed by random numbers of the process, and the number of busy keys is bounded by what the caller of this module
//! counts.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::time::{Duration, Instant};

/// Number of rows; each takes 16 bits of a key's hash.
const ROWS: usize = 4;
/// Number of cells in a row. With 1,000 busy keys, more than a pod can hash passwords for, one of 80,000 idle keys
/// finds all four of its cells taken by them. A sketch takes 512 KiB, of which untouched pages cost nothing.
const CELLS: usize = 16_384;

/// A rate limit: `burst` times at once, and once more after each `every`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BurstRate {
    pub(super) burst: u32,
    pub(super) every: Duration,
}

/// Counts of events by key, all of which have the same rate limit.
pub(super) struct RateSketch {
    rate: BurstRate,
    seed: RandomState,
    began: Instant,
    /// Times at which the cells are free again, in milliseconds after `began`, row after row.
    free_at: Vec<u64>,
}

impl RateSketch {
    pub(super) fn new(rate: BurstRate) -> Self {
        Self { rate, seed: RandomState::new(), began: Instant::now(), free_at: vec![0; ROWS * CELLS] }
    }

    /// Returns how long `key` has to wait until it may happen once more; zero if it may happen now.
    pub(super) fn wait(&self, key: &impl Hash, now: Instant) -> Duration {
        let now = self.millis(now);
        let emptiest = self.cells(key).into_iter().filter_map(|cell| self.free_at.get(cell).copied()).min();
        let ahead = Duration::from_millis(emptiest.unwrap_or_default().saturating_sub(now));
        ahead.saturating_sub(self.rate.every.saturating_mul(self.rate.burst.saturating_sub(1)))
    }

    /// Counts `key` once, even if it had to wait.
    pub(super) fn charge(&mut self, key: &impl Hash, now: Instant) {
        let now = self.millis(now);
        let every = self.every();
        for cell in self.cells(key) {
            if let Some(free_at) = self.free_at.get_mut(cell) {
                // An idle cell begins at `now`: unused time adds nothing to the burst.
                *free_at = (*free_at).max(now).saturating_add(every);
            }
        }
    }

    /// Takes back one [`RateSketch::charge`] of this key.
    pub(super) fn give_back(&mut self, key: &impl Hash) {
        let every = self.every();
        for cell in self.cells(key) {
            if let Some(free_at) = self.free_at.get_mut(cell) {
                *free_at = free_at.saturating_sub(every);
            }
        }
    }

    /// Counts `key` if it may happen now.
    ///
    /// # Errors
    /// The time that `key` has to wait.
    pub(super) fn take(&mut self, key: &impl Hash, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(key, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.charge(key, now);
        Ok(())
    }

    fn cells(&self, key: &impl Hash) -> [usize; ROWS] {
        let hash = self.seed.hash_one(key);
        std::array::from_fn(|row| {
            // The low 14 bits of the row's 16.
            let bits = usize::try_from((hash >> (16 * row)) & 0xffff).unwrap_or_default();
            row * CELLS + bits % CELLS
        })
    }

    fn every(&self) -> u64 {
        super::session::saturating_millis(self.rate.every)
    }

    fn millis(&self, now: Instant) -> u64 {
        super::session::saturating_millis(now.saturating_duration_since(self.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: BurstRate = BurstRate { burst: 3, every: Duration::from_secs(10) };

    #[test]
    fn a_burst_passes_then_one_at_a_time_and_the_wait_is_told() {
        let (mut sketch, now) = (RateSketch::new(SLOW), Instant::now());
        for _ in 0..3 {
            assert_eq!(sketch.take(&"a", now), Ok(()));
        }
        let wait = sketch.take(&"a", now).unwrap_err();
        assert!(wait > Duration::from_secs(9) && wait <= SLOW.every, "{wait:?}");
        assert_eq!(sketch.take(&"b", now), Ok(()));
        let later = now + SLOW.every;
        assert_eq!(sketch.take(&"a", later), Ok(()));
        assert!(sketch.take(&"a", later).is_err());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let (mut sketch, now) = (RateSketch::new(SLOW), Instant::now());
        for _ in 0..3 {
            sketch.charge(&"a", now);
        }
        sketch.give_back(&"a");
        assert_eq!(sketch.take(&"a", now), Ok(()));
        assert!(sketch.take(&"a", now).is_err());
    }

    #[test]
    fn a_thousand_busy_keys_make_no_other_key_wait() {
        let (mut sketch, now) = (RateSketch::new(SLOW), Instant::now());
        for busy in 0..1000 {
            for _ in 0..3 {
                sketch.charge(&busy, now);
            }
        }
        let kept_waiting = (1000..11_000).filter(|other| !sketch.wait(other, now).is_zero()).count();
        // 0.12 are expected; a single row would keep 590 waiting.
        assert!(kept_waiting < 10, "{kept_waiting} of 10,000");
        assert!((0..1000).all(|busy| !sketch.wait(&busy, now).is_zero()), "none is forgotten");
    }
}
