//! Time and place of the next attempt of a call.

use super::{CallFailure, ClusterClient, PooledServer, RetryRule};
use crate::backoff::JitteredBackoff;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// State that decides when and where the next attempt is made.
pub(crate) struct RetryPacer {
    deadline: Option<Instant>,
    attempt_timeout: Duration,
    backoff: JitteredBackoff,
    attempts: usize,
    avoid: Option<String>,
    unknown: bool,
}

impl RetryPacer {
    pub(crate) fn new(client: &ClusterClient) -> Self {
        let options = &client.options;
        Self {
            deadline: options.limit.map(|limit| Instant::now() + limit),
            attempt_timeout: options.attempt_timeout,
            backoff: JitteredBackoff::new(options.backoff_base, options.backoff_cap),
            attempts: 0,
            avoid: None,
            unknown: false,
        }
    }

    /// Removes the deadline: from here on, attempts never end.
    pub(crate) fn forget_deadline(&mut self) {
        self.deadline = None;
    }

    /// Starts over without a deadline after something has arrived, so that the next loss counts as a first one.
    pub(crate) fn restart(&mut self, client: &ClusterClient) {
        *self = Self { deadline: None, ..Self::new(client) };
    }

    pub(crate) fn next_server(&mut self, client: &ClusterClient) -> Result<Arc<PooledServer>, CallFailure> {
        let slot = client.servers.pick(self.avoid.as_deref());
        slot.ok_or_else(|| CallFailure::unreachable("-", "no servers are known"))
    }

    /// Prefers another server for the next attempt, if there is one.
    pub(crate) fn avoid(&mut self, slot: &PooledServer) {
        self.avoid = Some(slot.address().to_owned());
    }

    /// Returns the longest time that the next attempt may take.
    pub(crate) fn patience(&self) -> Duration {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map_or(self.attempt_timeout, |left| left.min(self.attempt_timeout))
    }

    /// Waits until the next attempt is due, or gives up and returns the failure.
    pub(crate) async fn after(
        &mut self,
        client: &ClusterClient,
        slot: &PooledServer,
        failure: CallFailure,
    ) -> Result<(), CallFailure> {
        self.unknown |= failure.unknown;
        self.attempts += 1;
        let wait = match failure.retry {
            RetryRule::No => return Err(self.last(failure)),
            RetryRule::After(wait) => {
                client.counters.rate_limited.fetch_add(1, Ordering::Relaxed);
                // Jitter keeps callers that were told to wait equally long from coming back together.
                wait + wait.mul_f64(0.1 * rand::random::<f64>())
            }
            // Every other server gets one try at once: the loss of a pod is a hiccup, not a pause.
            RetryRule::Elsewhere(least) if self.attempts < client.servers.len().max(2) => least,
            RetryRule::Elsewhere(least) => least.max(self.backoff.next_wait()),
        };
        self.avoid(slot);
        // Given up now rather than after a wait that leaves no time for an attempt.
        if self.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return Err(self.last(failure));
        }
        client.counters.retries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn last(&self, failure: CallFailure) -> CallFailure {
        CallFailure { unknown: self.unknown, ..failure }
    }
}
