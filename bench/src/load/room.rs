//! A room under load: messages at a rate, delivered to all members.

use super::clock::Timing;
use super::latency;
use super::members::Board;
use super::pacer::{Pacer, Schedule};
use super::tasks::Tasks;
use anyhow::ensure;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Messages that wait for the sender's connection: a second of the highest rate that is tried.
pub(crate) const WAITING: usize = 16 * 1024;
/// How late the last delivery of a round may come.
const GRACE: Duration = Duration::from_secs(3);
/// No delivery for so long: what an overload has left behind is through.
const QUIET: Duration = Duration::from_millis(300);

/// Connected members, and a sender who posts the numbers that it is given.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) board: Arc<Board>,
    pub(crate) say: mpsc::Sender<u64>,
    /// Readers of the members, and the sender.
    pub(crate) _tasks: Tasks,
}

/// What a round showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Deliveries that should have been and were not, within the grace.
    pub(crate) missing: u64,
    /// Twice, or behind a later one.
    pub(crate) out_of_order: u64,
}

impl Room {
    /// Posts at a rate and waits for the deliveries.
    ///
    /// # Errors
    /// The sender or a member has failed.
    pub(crate) async fn round(&self, rate: f64, timing: Timing) -> anyhow::Result<Delivered> {
        self.settle().await?;
        let schedule = Schedule::at(rate, timing);
        self.board.begin(schedule);
        let pacer = Pacer::start(schedule, self.say.clone())?;
        let expected = schedule.count * self.board.members() as u64;
        let deadline = schedule.end() + GRACE;
        while self.board.seen() < expected && Instant::now() < deadline {
            self.board.check()?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(pacer);
        self.board.check()?;
        let (latencies, out_of_order) = self.board.result()?;
        ensure!(!latencies.is_empty(), "nothing was delivered");
        Ok(Delivered {
            p50_ms: latency::millis(&latencies, 0.5),
            p99_ms: latency::millis(&latencies, 0.99),
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

    /// The highest rate at which 99 of 100 deliveries come within the limit and none is missing.
    ///
    /// # Errors
    /// As [`Room::round`], or no rate that is tried passes.
    pub(crate) async fn highest_rate(&self, mut search: Search, limit_ms: f64, timing: Timing) -> anyhow::Result<f64> {
        for _ in 0..MOST_STEPS {
            let round = self.round(search.rate, timing).await?;
            if search.is_done(round.missing == 0 && round.p99_ms < limit_ms) {
                break;
            }
        }
        ensure!(search.passed > 0.0, "no rate passes, not even {:.0} a second", search.rate);
        Ok(search.passed)
    }
}

/// Enough to go up a hundredfold, or to go down as far, and to halve three times.
const MOST_STEPS: usize = 16;
/// A ratio between what fails and what passes that is near enough.
const FINE: f64 = 1.12;

/// Looks for the highest rate that passes: by steps from a first rate, then halving between the highest that passed and
/// the lowest that did not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    /// The next to try.
    rate: f64,
    passed: f64,
    failed: f64,
    step: f64,
}

impl Search {
    /// Nothing is known but that it may be near this rate.
    pub(crate) fn far(rate: f64) -> Self {
        Self { rate, passed: 0.0, failed: f64::INFINITY, step: 2.0 }
    }

    /// It was this rate a minute ago.
    pub(crate) fn near(rate: f64) -> Self {
        Self { step: 1.25, ..Self::far(rate) }
    }

    /// Takes the outcome of the present rate; whether it is known well enough.
    fn is_done(&mut self, passed: bool) -> bool {
        if passed {
            self.passed = self.rate;
        } else {
            self.failed = self.rate;
        }
        self.rate = match (self.passed > 0.0, self.failed.is_finite()) {
            (true, true) => (self.passed * self.failed).sqrt(),
            (true, false) => self.rate * self.step,
            (false, _) => self.rate / self.step,
        };
        self.passed > 0.0 && self.failed / self.passed < FINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search, against a system that carries exactly so much.
    fn found(capacity: f64, mut search: Search) -> f64 {
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
            for search in [Search::far(200.0), Search::far(5_000.0), Search::near(capacity * 1.4)] {
                let found = found(capacity, search);
                assert!(found <= capacity && found * FINE >= capacity, "{found} for {capacity} by {search:?}");
            }
        }
    }
}
