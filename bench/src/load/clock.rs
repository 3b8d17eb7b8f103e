//! Clock that says when a measurement starts and ends.

use std::time::{Duration, Instant};

/// Lengths of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadTiming {
    /// Length of the warm-up load, which is not measured: connections, caches and code get warm.
    pub(crate) warm: Duration,
    /// Length of the load that counts.
    pub(crate) steady: Duration,
}

impl LoadTiming {
    /// Starts the clock of a measurement.
    pub(crate) fn start(self) -> LoadClock {
        let steady = Instant::now() + self.warm;
        LoadClock { steady, end: steady + self.steady }
    }
}

/// Clock of a measurement under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadClock {
    /// Time from which everything counts.
    pub(crate) steady: Instant,
    /// Time from which nothing is sent.
    pub(crate) end: Instant,
}

impl LoadClock {
    pub(crate) fn ended(&self) -> bool {
        Instant::now() >= self.end
    }

    pub(crate) fn counts(&self, at: Instant) -> bool {
        (self.steady..self.end).contains(&at)
    }

    pub(crate) fn seconds(&self) -> f64 {
        (self.end - self.steady).as_secs_f64()
    }
}
