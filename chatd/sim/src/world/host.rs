//! One machine: a tokio runtime of its own, with its own idea of the time.

use super::{Time, nanos};
use std::future::Future;
use tokio::runtime::{Builder, Runtime};

/// Where the monotonic clocks begin: far enough from zero that nothing subtracts below it.
const BOOT_NS: u64 = 1_000_000_000_000;
/// 2026-01-01T00:00:00Z.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// How wrong a machine's clocks are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// The wall clock is ahead by so much.
    pub ahead_ms: i64,
    /// All clocks of it run faster by so many of a million.
    pub fast_ppm: i64,
}

impl Clock {
    fn local(self, now: Time) -> u64 {
        let drift = i128::from(now) * i128::from(self.fast_ppm) / 1_000_000;
        u64::try_from(i128::from(now) + drift).unwrap()
    }

    /// The first moment at which `local` has passed on this clock.
    fn when(self, local: u64) -> Time {
        let whole = i128::from(local) * 1_000_000;
        let rate = 1_000_000 + i128::from(self.fast_ppm);
        u64::try_from((whole + rate - 1) / rate).unwrap()
    }

    fn wall(self, now: Time) -> u64 {
        u64::try_from(i128::from(EPOCH_NS + self.local(now)) + i128::from(self.ahead_ms) * 1_000_000).unwrap()
    }
}

/// See the [module](self).
pub struct Host {
    runtime: Option<Runtime>,
    wake_at: Option<Time>,
    /// Its clocks.
    pub clock: Clock,
    /// It does nothing before this.
    pub paused_until: Time,
}

impl Host {
    pub(super) fn new(clock: Clock) -> Self {
        Self { runtime: None, wake_at: None, clock, paused_until: 0 }
    }

    /// Switches it on, and begins with this task.
    pub fn boot(&mut self, now: Time, task: impl Future<Output = ()> + Send + 'static) {
        self.set_time(now);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(task);
        self.runtime = Some(runtime);
    }

    /// One more task on a machine that is on.
    pub fn spawn(&mut self, now: Time, task: impl Future<Output = ()> + Send + 'static) {
        self.set_time(now);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// Switches it off: every task is gone, wherever it stood.
    pub fn crash(&mut self, now: Time) {
        self.set_time(now);
        (self.wake_at, self.paused_until) = (None, 0);
        drop(self.runtime.take());
    }

    /// It is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.runtime.is_some()
    }

    pub(super) fn may_run(&self, now: Time) -> bool {
        self.paused_until <= now
    }

    pub(super) fn wakes_at(&self) -> Option<Time> {
        let wake = self.wake_at.map(|at| at.max(self.paused_until));
        // Something may have come in during a pause.
        let resumes = Some(self.paused_until).filter(|at| *at > 0);
        wake.into_iter().chain(resumes).min()
    }

    /// Runs until it waits.
    pub(super) fn run(&mut self, now: Time) {
        self.paused_until = 0;
        self.set_time(now);
        let Some(runtime) = &self.runtime else { return };
        let waits = quorate_steer::until_idle(|idle| runtime.block_on(idle));
        self.wake_at = waits.map(|waits| self.clock.when(self.clock.local(now) + nanos(waits)).max(now + 1));
    }

    /// For work of this machine that is done outside of its runtime.
    pub fn set_time(&self, now: Time) {
        quorate_steer::set_time(BOOT_NS + self.clock.local(now), self.clock.wall(now));
    }
}
