//! Counters of totals that are kept elsewhere: by the kernel, the storage engine or the runtime.

use prometheus::{Counter, IntCounter};

/// Counter that can be raised to a total that is only read at each scrape.
pub trait CatchUp<T> {
    /// Raises the counter to `total`. A total below the current value changes nothing, because a counter never
    /// decreases. Must not be called by two threads at the same time, since both would add the difference.
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
        // Prometheus' counter panics on negative steps in debug builds.
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
