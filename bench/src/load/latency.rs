//! Latencies and rates, recorded without keeping every single one.

use super::clock::LoadClock;
use anyhow::Context as _;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Creates a histogram of durations in nanoseconds, up to one minute with three significant digits.
///
/// # Errors
/// Never fails with these bounds.
pub(crate) fn new_histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).context("invalid histogram bounds")
}

/// Returns a quantile of a histogram of nanoseconds, in milliseconds.
pub(crate) fn quantile_millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    Duration::from_nanos(histogram.value_at_quantile(quantile)).as_secs_f64() * 1e3
}

pub(crate) fn record_latency(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

/// Recorder of the acknowledgements of one measurement.
#[derive(Clone, Debug)]
pub(crate) struct LatencyRecorder {
    clock: LoadClock,
    histogram: Histogram<u64>,
}

impl LatencyRecorder {
    pub(crate) fn new(clock: LoadClock) -> anyhow::Result<Self> {
        Ok(Self { clock, histogram: new_histogram()? })
    }

    /// Records the acknowledgement of something that was sent at `sent`; it counts only in the steady part.
    pub(crate) fn acknowledged(&mut self, sent: Instant) {
        let now = Instant::now();
        if self.clock.counts(now) {
            record_latency(&mut self.histogram, now - sent);
        }
    }

    /// Adds what another recorder has recorded.
    ///
    /// # Errors
    /// Never fails: the bounds are the same.
    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.histogram.add(&other.histogram).context("histograms have different bounds")
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns the acknowledgements per second.
    pub(crate) fn rate(&self) -> f64 {
        self.histogram.len() as f64 / self.clock.seconds()
    }

    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        quantile_millis(&self.histogram, quantile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::clock::LoadTiming;

    #[test]
    fn what_is_acknowledged_during_warm_up_does_not_count() {
        let warm = LoadTiming { warm: Duration::from_secs(60), steady: Duration::from_secs(1) };
        let mut early = LatencyRecorder::new(warm.start()).unwrap();
        early.acknowledged(Instant::now());
        assert_eq!(early.count(), 0);

        let steady = LoadTiming { warm: Duration::ZERO, steady: Duration::from_secs(60) };
        let mut counted = LatencyRecorder::new(steady.start()).unwrap();
        counted.acknowledged(Instant::now());
        assert_eq!(counted.count(), 1);
        counted.add(&early).unwrap();
        assert!((counted.rate() - 1.0 / 60.0).abs() < 1e-9);
    }

    #[test]
    fn quantiles_come_in_milliseconds() {
        let mut all = new_histogram().unwrap();
        (1..=100).for_each(|n| record_latency(&mut all, Duration::from_millis(n)));
        assert!((quantile_millis(&all, 0.5) - 50.0).abs() < 0.1);
        assert!((quantile_millis(&all, 0.99) - 99.0).abs() < 0.1);
    }
}
