//! A room under load: messages at a rate, delivered to all members.

use super::clock::LoadTiming;
use super::latency;
use super::members::DeliveryBoard;
use super::pacer::{MessagePacer, MessageSchedule};
use super::tasks::TaskGroup;
use anyhow::ensure;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Messages that may wait for the sender's connection: a second of the highest rate that is tried.
pub(crate) const WAITING: usize = 16 * 1024;
/// Time after the end of a round by which its last delivery must have arrived.
const GRACE: Duration = Duration::from_secs(3);
/// Time without a delivery after which the backlog of an overload counts as drained.
const QUIET: Duration = Duration::from_millis(300);

/// Connected members, and a sender that posts the numbers that it is given.
#[derive(Debug)]
pub(crate) struct RoomUnderLoad {
    pub(crate) board: Arc<DeliveryBoard>,
    pub(crate) say: mpsc::Sender<u64>,
    /// Tasks of the members' readers and of the sender.
    pub(crate) _tasks: TaskGroup,
}

/// Figures of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveryFigures {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Number of deliveries that did not arrive within the grace period.
    pub(crate) missing: u64,
    /// Number of deliveries that came twice, or behind a later one.
    pub(crate) out_of_order: u64,
}

impl RoomUnderLoad {
    /// Posts messages at a rate and waits for the deliveries.
    ///
    /// # Errors
    /// Fails if the sender or a member has failed, or if nothing was delivered.
    pub(crate) async fn round(&self, rate: f64, timing: LoadTiming) -> anyhow::Result<DeliveryFigures> {
        self.settle().await?;
        let schedule = MessageSchedule::at(rate, timing);
        self.board.begin(schedule);
        let pacer = MessagePacer::start(schedule, self.say.clone())?;
        let expected = schedule.count * self.board.members() as u64;
        let deadline = schedule.end() + GRACE;
        while self.board.seen() < expected && Instant::now() < deadline {
            self.board.check()?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(pacer);
        self.board.check()?;
        let (latencies, out_of_order) = self.board.result()?;
        ensure!(!latencies.is_empty(), "no message was delivered");
        Ok(DeliveryFigures {
            p50_ms: latency::quantile_millis(&latencies, 0.5),
            p99_ms: latency::quantile_millis(&latencies, 0.99),
            missing: expected.saturating_sub(self.board.seen()),
            out_of_order,
        })
    }

    /// Waits until what an earlier round has left behind is delivered.
    async fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut last = (self.board.seen(), Instant::now());
        while last.1.elapsed() < QUIET && Instant::now() < deadline {
            self.board.check()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let seen = self.board.seen();
            if seen != last.0 || self.say.capacity() < WAITING {
                last = (seen, Instant::now());
            }
        }
        Ok(())
    }

    /// Searches for the highest rate at which 99 of 100 deliveries come within the limit and none is missing.
    ///
    /// # Errors
    /// Fails as [`RoomUnderLoad::round`] does, or if no rate that is tried passes.
    pub(crate) async fn highest_rate(
        &self,
        mut search: RateSearch,
        limit_ms: f64,
        timing: LoadTiming,
    ) -> anyhow::Result<f64> {
        for _ in 0..MOST_STEPS {
            let round = self.round(search.rate, timing).await?;
            if search.is_done(round.missing == 0 && round.p99_ms < limit_ms) {
                break;
            }
        }
        ensure!(search.passed > 0.0, "no rate passes, not even {:.0} per second", search.rate);
        Ok(search.passed)
    }
}

/// Maximum number of steps: enough to go up a hundredfold, or to go down as far, and to halve three times.
const MOST_STEPS: usize = 16;
/// Ratio of the lowest failing to the highest passing rate that is precise enough.
const FINE: f64 = 1.12;

/// Search for the highest rate that passes: by steps from a first rate, then halving between the highest that passed
/// and the lowest that did not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateSearch {
    /// Rate to try next.
    rate: f64,
    passed: f64,
    failed: f64,
    step: f64,
}

impl RateSearch {
    /// Creates a search about which nothing is known but that its result may be near this rate.
    pub(crate) fn far(rate: f64) -> Self {
        Self { rate, passed: 0.0, failed: f64::INFINITY, step: 2.0 }
    }

    /// Creates a search whose result was this rate a minute ago, with smaller steps.
    pub(crate) fn near(rate: f64) -> Self {
        Self { step: 1.25, ..Self::far(rate) }
    }

    /// Takes the outcome of the current rate and chooses the next one. Returns `true` if the result is precise enough.
    fn is_done(&mut self, passed: bool) -> bool {
        if passed {
            self.passed = self.rate;
        } else {
            self.failed = self.rate;
        }
        self.rate = if self.passed <= 0.0 {
            self.rate / self.step
        } else if self.failed.is_infinite() {
            self.rate * self.step
        } else {
            (self.passed * self.failed).sqrt()
        };
        self.passed > 0.0 && self.failed / self.passed < FINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the search against a system that carries exactly `capacity`.
    fn found(capacity: f64, mut search: RateSearch) -> f64 {
        for _ in 0..MOST_STEPS {
            if search.is_done(search.rate <= capacity) {
                break;
            }
        }
        search.passed
    }

    #[test]
    fn the_search_finds_the_highest_rate_from_below_and_from_above() {
        for capacity in [130.0, 600.0, 2_870.0, 9_999.0] {
            for search in [RateSearch::far(200.0), RateSearch::far(5_000.0), RateSearch::near(capacity * 1.4)] {
                let found = found(capacity, search);
                assert!(found <= capacity && found * FINE >= capacity, "{found} for {capacity} by {search:?}");
            }
        }
    }
}
