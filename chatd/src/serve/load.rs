//! Recent load by clients of this pod. Counters are sampled every second, so that a single status request can report a
//! rate.

use crate::api::admin::WriteLoad;
use crate::metrics::ChatMetrics;
use crate::raft::propose::ProposeResult;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(1);
/// Number of samples that a rate spans: ten seconds are long enough to be steady and short enough to be current.
const WINDOW: usize = 10;

/// Latest load of the pod. Clones share it.
#[derive(Clone, Default)]
pub(super) struct LoadWatch {
    last: Arc<Mutex<WriteLoad>>,
}

/// Counters at one moment.
#[derive(Clone, Copy)]
struct LoadSample {
    at: Instant,
    applied: u64,
    settled: u64,
    seconds: f64,
}

impl LoadWatch {
    /// Starts sampling, for as long as the process lives.
    pub(super) fn start(metrics: ChatMetrics) -> Self {
        let watch = Self::default();
        let looking = watch.clone();
        tokio::spawn(async move {
            let mut samples = LoadWindow::default();
            loop {
                let load = samples.add(LoadSample::take(&metrics, Instant::now()));
                *looking.last.lock().unwrap_or_else(PoisonError::into_inner) = load;
                tokio::time::sleep(EVERY).await;
            }
        });
        watch
    }

    /// Returns the load of the last seconds.
    pub(super) fn now(&self) -> WriteLoad {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Last [`WINDOW`] samples, oldest first.
#[derive(Default)]
struct LoadWindow(VecDeque<LoadSample>);

impl LoadWindow {
    /// Adds a sample and returns the load since the oldest one.
    fn add(&mut self, now: LoadSample) -> WriteLoad {
        let load = self.0.front().map(|oldest| load_between(oldest, &now)).unwrap_or_default();
        self.0.push_back(now);
        if self.0.len() > WINDOW {
            self.0.pop_front();
        }
        load
    }
}

impl LoadSample {
    fn take(metrics: &ChatMetrics, at: Instant) -> Self {
        let times = &metrics.all.proposals.seconds;
        Self {
            at,
            applied: metrics.all.proposals.ended.with_label_values(&[ProposeResult::Applied.label()]).get(),
            settled: times.get_sample_count(),
            seconds: times.get_sample_sum(),
        }
    }
}

/// Returns the load between two samples. The counts of a few seconds are far below the precision of `f64`.
#[allow(clippy::cast_precision_loss)]
fn load_between(before: &LoadSample, now: &LoadSample) -> WriteLoad {
    let elapsed = now.at.duration_since(before.at).as_secs_f64().max(f64::EPSILON);
    let settled = now.settled.saturating_sub(before.settled);
    let mean = (now.seconds - before.seconds).max(0.0) / settled as f64;
    WriteLoad {
        writes_per_second: now.applied.saturating_sub(before.applied) as f64 / elapsed,
        write_time: if settled == 0 { None } else { Duration::try_from_secs_f64(mean).ok() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::propose::ProposeObserver as _;

    #[test]
    fn a_rate_is_of_the_last_ten_seconds_and_the_time_a_mean() {
        let (metrics, start, mut samples) = (ChatMetrics::new().unwrap(), Instant::now(), LoadWindow::default());
        let mut look = |second: u32| samples.add(LoadSample::take(&metrics, start + EVERY * second));
        assert_eq!(look(0), WriteLoad::default());
        for _ in 0..50 {
            metrics.settled(ProposeResult::Applied, Duration::from_millis(4));
        }
        let load = look(5);
        assert!((9.9..10.1).contains(&load.writes_per_second), "{load:?}");
        let time = load.write_time.unwrap();
        assert!((3900..4100).contains(&time.as_micros()), "{time:?}");
        for second in 6..19 {
            look(second);
        }
        assert_eq!(look(19), WriteLoad::default());
    }
}
