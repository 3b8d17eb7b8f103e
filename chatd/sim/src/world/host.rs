//! One machine: a tokio runtime of its own, with its own idea of the time.

use super::{SimTime, to_sim_time};
use std::future::Future;
use tokio::runtime::{Builder, Runtime};

/// Reading of the monotonic clocks at the start: far enough from zero that nothing subtracts below it.
const BOOT_NS: u64 = 1_000_000_000_000;
/// Reading of the wall clocks at the start: 2026-01-01T00:00:00Z.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// Errors of a machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock {
    /// Milliseconds by which the wall clock is ahead, or behind if negative.
    pub ahead_ms: i64,
    /// Parts per million by which all clocks run too fast, or too slow if negative.
    pub fast_ppm: i64,
}

impl HostClock {
    fn local(self, now: SimTime) -> u64 {
        let drift = i128::from(now) * i128::from(self.fast_ppm) / 1_000_000;
        u64::try_from(i128::from(now) + drift).unwrap()
    }

    /// Returns the first moment at which `local` has passed on this clock.
    fn when(self, local: u64) -> SimTime {
        let whole = i128::from(local) * 1_000_000;
        let rate = 1_000_000 + i128::from(self.fast_ppm);
        u64::try_from((whole + rate - 1) / rate).unwrap()
    }

    fn wall(self, now: SimTime) -> u64 {
        u64::try_from(i128::from(EPOCH_NS + self.local(now)) + i128::from(self.ahead_ms) * 1_000_000).unwrap()
    }
}

/// A machine with its clocks. See the [module](self).
pub struct SimHost {
    runtime: Option<Runtime>,
    wake_at: Option<SimTime>,
    /// Clocks of the machine.
    pub clock: HostClock,
    /// Time before which the machine does nothing.
    pub paused_until: SimTime,
}

impl SimHost {
    pub(super) fn new(clock: HostClock) -> Self {
        Self { runtime: None, wake_at: None, clock, paused_until: 0 }
    }

    /// Switches the machine on, with `task` as its first task.
    pub fn boot(&mut self, now: SimTime, task: impl Future<Output = ()> + Send + 'static) {
        self.set_time(now);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(task);
        self.runtime = Some(runtime);
    }

    /// Spawns one more task, if the machine is on.
    pub fn spawn(&mut self, now: SimTime, task: impl Future<Output = ()> + Send + 'static) {
        self.set_time(now);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// Switches the machine off: every task is gone, wherever it stood.
    pub fn crash(&mut self, now: SimTime) {
        self.set_time(now);
        (self.wake_at, self.paused_until) = (None, 0);
        drop(self.runtime.take());
    }

    /// Returns `true` if the machine is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.runtime.is_some()
    }

    pub(super) fn may_run(&self, now: SimTime) -> bool {
        self.paused_until <= now
    }

    pub(super) fn wakes_at(&self) -> Option<SimTime> {
        let wake = self.wake_at.map(|at| at.max(self.paused_until));
        // Packets may have come in during a pause.
        let resumes = Some(self.paused_until).filter(|at| *at > 0);
        wake.into_iter().chain(resumes).min()
    }

    /// Runs the machine until it waits.
    pub(super) fn run(&mut self, now: SimTime) {
        self.paused_until = 0;
        self.set_time(now);
        let Some(runtime) = &self.runtime else { return };
        let waits = quorate_steer::until_idle(|idle| runtime.block_on(idle));
        self.wake_at = waits.map(|waits| self.clock.when(self.clock.local(now) + to_sim_time(waits)).max(now + 1));
    }

    /// Sets the time of this thread to the machine's, for its work that is done outside of its runtime.
    pub fn set_time(&self, now: SimTime) {
        quorate_steer::set_time(BOOT_NS + self.clock.local(now), self.clock.wall(now));
    }
}
