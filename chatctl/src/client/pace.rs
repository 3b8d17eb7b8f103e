//! When and where the next attempt of a call happens.

use super::{Client, Failure, Retry, Slot};
use crate::backoff::Backoff;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// When and where the next attempt happens.
pub(crate) struct Pace {
    deadline: Option<Instant>,
    attempt_timeout: Duration,
    backoff: Backoff,
    attempts: usize,
    avoid: Option<String>,
    unknown: bool,
}

impl Pace {
    pub(crate) fn new(client: &Client) -> Self {
        let options = &client.options;
        Self {
            deadline: options.limit.map(|limit| Instant::now() + limit),
            attempt_timeout: options.attempt_timeout,
            backoff: Backoff::new(options.backoff_base, options.backoff_cap),
            attempts: 0,
            avoid: None,
            unknown: false,
        }
    }

    /// From here on there is no end.
    pub(crate) fn forget_deadline(&mut self) {
        self.deadline = None;
    }

    /// Something arrived: the next loss is a first one again.
    pub(crate) fn restart(&mut self, client: &Client) {
        *self = Self { deadline: None, ..Self::new(client) };
    }

    pub(crate) fn next_server(&mut self, client: &Client) -> Result<Arc<Slot>, Failure> {
        let slot = client.servers.pick(self.avoid.as_deref());
        slot.ok_or_else(|| Failure::unreachable("-", "no server is known"))
    }

    /// Goes elsewhere first, if there is another server.
    pub(crate) fn avoid(&mut self, slot: &Slot) {
        self.avoid = Some(slot.address().to_owned());
    }

    /// How long the next attempt may take.
    pub(crate) fn patience(&self) -> Duration {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map_or(self.attempt_timeout, |left| left.min(self.attempt_timeout))
    }

    /// Waits until the next attempt is due, or gives up.
    pub(crate) async fn after(&mut self, client: &Client, slot: &Slot, failure: Failure) -> Result<(), Failure> {
        self.unknown |= failure.unknown;
        self.attempts += 1;
        let wait = match failure.retry {
            Retry::No => return Err(self.last(failure)),
            Retry::After(wait) => {
                client.counters.rate_limited.fetch_add(1, Ordering::Relaxed);
                // Those told to wait equally long do not come back together.
                wait + wait.mul_f64(0.1 * rand::random::<f64>())
            }
            // Every other server gets one try at once: the loss of a pod is a hiccup, not a pause.
            Retry::Elsewhere(least) if self.attempts < client.servers.len().max(2) => least,
            Retry::Elsewhere(least) => least.max(self.backoff.next_wait()),
        };
        self.avoid(slot);
        if self.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return Err(self.last(failure));
        }
        client.counters.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn last(&self, failure: Failure) -> Failure {
        Failure { unknown: self.unknown, ..failure }
    }
}
