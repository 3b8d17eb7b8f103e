//! Counters of what somebody else counts: the kernel, the storage engine, the runtime.

use prometheus::{Counter, IntCounter};

/// Brings a counter up to a total that is read only when somebody scrapes. A total that is lower than the last leaves it:
/// a counter never goes back. Not for two threads at a time: both would add what is missing.
pub trait CatchUp<T> {
    /// See the trait.
    fn catch_up(&self, total: T);
}

impl CatchUp<u64> for IntCounter {
    fn catch_up(&self, total: u64) {
        self.inc_by(total.saturating_sub(self.get()));
    }
}

impl CatchUp<f64> for Counter {
    fn catch_up(&self, total: f64) {
        let missing = total - self.get();
        // Prometheus' counter refuses negative steps with a panic in debug builds.
        if missing > 0.0 {
            self.inc_by(missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_that_goes_back_leaves_the_counter_where_it_was() {
        let (whole, float) = (IntCounter::new("a", "A.").unwrap(), Counter::new("b", "B.").unwrap());
        for total in [3, 7, 5] {
            whole.catch_up(total);
            float.catch_up(f64::from(u32::try_from(total).unwrap()) / 2.0);
        }
        assert_eq!((whole.get(), float.get()), (7, 3.5));
    }
}
