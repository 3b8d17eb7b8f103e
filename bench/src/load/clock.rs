//! When measuring starts and ends.

use std::time::{Duration, Instant};

/// Lengths of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Load without measuring: connections, caches and code get warm.
    pub(crate) warm: Duration,
    /// Load that counts.
    pub(crate) steady: Duration,
}

impl Timing {
    /// The clock of a measurement that starts now.
    pub(crate) fn start(self) -> Clock {
        let steady = Instant::now() + self.warm;
        Clock { steady, end: steady + self.steady }
    }
}

/// A measurement under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What happens from here on counts.
    pub(crate) steady: Instant,
    /// Nothing is sent from here on.
    pub(crate) end: Instant,
}

impl Clock {
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
