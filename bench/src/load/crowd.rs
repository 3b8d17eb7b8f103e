//! Record of what a crowd of long polls receives, and of how long a writer elsewhere waits meanwhile.

use super::latency;
use anyhow::bail;
use hdrhistogram::Histogram;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Board on which polls and the sender record their progress, for one message to the crowd at a time.
#[derive(Debug)]
pub(crate) struct CrowdBoard {
    polls: u64,
    state: Mutex<CrowdState>,
}

#[derive(Debug)]
struct CrowdState {
    /// Number of requests that were sent and are not answered.
    asking: u64,
    /// Number of the message under way, and the time at which it was due.
    message: Option<(u64, Instant)>,
    received: u64,
    deliveries: Histogram<u64>,
    elsewhere: Histogram<u64>,
    failure: Option<String>,
}

impl CrowdBoard {
    pub(crate) fn new(polls: usize) -> anyhow::Result<Self> {
        let state = CrowdState {
            asking: 0,
            message: None,
            received: 0,
            deliveries: latency::new_histogram()?,
            elsewhere: latency::new_histogram()?,
            failure: None,
        };
        Ok(Self { polls: polls as u64, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, CrowdState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a poll has been sent.
    pub(crate) fn asked(&self) {
        self.state().asking += 1;
    }

    /// Records that a poll was answered with these bytes.
    pub(crate) fn answered(&self, body: &[u8]) {
        let now = Instant::now();
        let number = crate::payload::find_number(body);
        let mut state = self.state();
        state.asking -= 1;
        if let Some((wanted, due)) = state.message
            && number == Some(wanted)
        {
            state.received += 1;
            latency::record_latency(&mut state.deliveries, now.saturating_duration_since(due));
        }
    }

    /// Begins a message: from then on only `number` counts.
    pub(crate) fn begin(&self, number: u64, due: Instant) {
        let mut state = self.state();
        (state.message, state.received) = (Some((number, due)), 0);
    }

    /// Returns the number of polls that wait for an answer.
    pub(crate) fn asking(&self) -> u64 {
        self.state().asking
    }

    /// Returns `true` if every poll waits for an answer.
    pub(crate) fn all_ask(&self) -> bool {
        self.asking() >= self.polls
    }

    /// Returns `true` if every poll has received the message.
    pub(crate) fn all_received(&self) -> bool {
        self.state().received >= self.polls
    }

    /// Returns the number of polls that have received the message.
    pub(crate) fn received(&self) -> u64 {
        self.state().received
    }

    /// Records that a message elsewhere was acknowledged; it counts if one to the crowd was under way.
    pub(crate) fn acknowledged(&self, due: Instant) {
        let now = Instant::now();
        let mut state = self.state();
        let under_way = state.received < self.polls && state.message.is_some_and(|(_, began)| began <= now);
        if under_way {
            latency::record_latency(&mut state.elsewhere, now.saturating_duration_since(due));
        }
    }

    /// Records that a participant has failed; only the first failure is kept.
    pub(crate) fn fail(&self, who: &str, error: &dyn std::fmt::Display) {
        self.state().failure.get_or_insert(format!("{who}: {error:#}"));
    }

    /// Checks that no participant has failed.
    ///
    /// # Errors
    /// Returns the first failure that was recorded.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match &self.state().failure {
            Some(failure) => bail!("{failure}"),
            None => Ok(()),
        }
    }

    /// Returns the latencies of deliveries and of what was sent elsewhere meanwhile, and resets both.
    pub(crate) fn take(&self) -> (Histogram<u64>, Histogram<u64>) {
        let mut state = self.state();
        let taken = (state.deliveries.clone(), state.elsewhere.clone());
        state.deliveries.reset();
        state.elsewhere.reset();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload;

    #[test]
    fn only_the_message_under_way_counts_and_only_what_was_sent_meanwhile() {
        let board = CrowdBoard::new(2).unwrap();
        (0..2).for_each(|_| board.asked());
        assert!(board.all_ask());
        board.acknowledged(Instant::now());
        let number = payload::next_number();
        board.begin(number, Instant::now());
        board.acknowledged(Instant::now());
        board.answered(payload::message_text(number).as_bytes());
        board.asked();
        board.answered(payload::message_text(payload::next_number()).as_bytes());
        assert_eq!((board.received(), board.all_received()), (1, false));
        board.answered(payload::message_text(number).as_bytes());
        assert!(board.all_received());
        board.acknowledged(Instant::now());
        let (deliveries, elsewhere) = board.take();
        assert_eq!((deliveries.len(), elsewhere.len()), (2, 1));
    }
}
