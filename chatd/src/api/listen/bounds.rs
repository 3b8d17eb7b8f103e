//! Bounds that the client listeners of one process share: limits, budgets in bytes, addresses, the patrol's clock.

use super::address::AddressBook;
use super::budget::{AnswerBudget, RequestBudget};
use crate::caller::{CallerAddress, TrustedProxies};
use crate::config::CallerLimits;
use crate::metrics::{ChatMetrics, ClientApi};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// Number of file descriptors for the log, the state, peers and the probes, besides the places of the two listeners.
const OTHER_FILES: usize = 2_048;

/// Times for which the listeners wait for their callers.
#[derive(Clone, Copy, Debug)]
pub struct ListenerTimeouts {
    /// Maximum time that a connection without a session may be silent, or at its request's head. A browser sends its
    /// first request at once; 10 s are for slow networks.
    pub stranger_idle: Duration,
    /// Maximum time that a connection that showed a session may be silent: longer than the 90 s for which client
    /// libraries keep unused connections, so that mostly they close first and no request meets a closed connection.
    pub session_idle: Duration,
    /// Time that a connection has to end after it was told to finish.
    pub finish: Duration,
    /// Time after which a caller who takes none of its answer is given up. Answers are counted in pieces of 64 KiB, so
    /// this means 1 KiB/s.
    pub stalled: Duration,
    /// Time in place of `stalled` while answers fill most of their budget.
    pub stalled_when_full: Duration,
    /// Time that a body is given, with more as it comes ([`ListenerTimeouts::body_rate`]).
    pub body: Duration,
    /// Bytes per second that a body must bring: a megabyte in four minutes.
    pub body_rate: u32,
    /// Interval between two looks at all connections. A look costs some 10 ns per connection.
    pub patrol: Duration,
}

impl Default for ListenerTimeouts {
    fn default() -> Self {
        Self {
            stranger_idle: Duration::from_secs(10),
            session_idle: Duration::from_secs(120),
            finish: Duration::from_secs(5),
            stalled: Duration::from_secs(60),
            stalled_when_full: Duration::from_secs(5),
            body: Duration::from_secs(10),
            body_rate: 4096,
            patrol: Duration::from_secs(1),
        }
    }
}

/// Bounds that all client listeners of one process share.
pub struct ListenerBounds {
    pub(super) limits: CallerLimits,
    pub(super) patience: ListenerTimeouts,
    pub(super) metrics: ChatMetrics,
    pub(super) book: Arc<AddressBook>,
    pub(super) requests: RequestBudget,
    pub(super) answers: AnswerBudget,
    stopping: AtomicBool,
    began: Instant,
    /// Milliseconds since `began`, updated by the patrols: reading a clock for each request is not needed.
    now: AtomicU32,
}

impl ListenerBounds {
    /// Creates bounds with these limits. The number of files that the process may open bounds the connections, too.
    #[must_use]
    pub fn new(limits: CallerLimits, patience: ListenerTimeouts, metrics: ChatMetrics) -> Arc<Self> {
        let mut limits = limits;
        let files = quorate_meter::process::max_fds().and_then(|files| usize::try_from(files).ok());
        let fit = files.map_or(usize::MAX, places_in);
        if fit < limits.connections {
            tracing::warn!(
                connections = fit,
                configured = limits.connections,
                "the process may open too few files (ulimit -n) for limits.connections; each listener accepts fewer"
            );
            limits.connections = fit;
        }
        Arc::new(Self {
            requests: RequestBudget::new(limits.request_bytes),
            answers: AnswerBudget::new(limits.answer_bytes),
            limits,
            patience,
            metrics,
            book: Arc::default(),
            stopping: AtomicBool::new(false),
            began: Instant::now(),
            now: AtomicU32::new(0),
        })
    }

    /// Makes answers ask HTTP/1 clients to connect elsewhere from now on.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Returns the milliseconds since the start, as of the last patrol.
    pub(super) fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }

    /// Updates the clock. It wraps after 49 days: ages are differences that wrap with it.
    pub(super) fn tick(&self) {
        #[expect(clippy::cast_possible_truncation, reason = "it is meant to wrap")]
        self.now.store(self.began.elapsed().as_millis() as u32, Relaxed);
    }

    pub(super) fn age(&self, since: u32) -> Duration {
        Duration::from_millis(self.now().wrapping_sub(since).into())
    }

    pub(super) fn proxies(&self) -> &TrustedProxies {
        &self.limits.trusted_proxies
    }

    /// Returns `true` if a proxy that speaks for many callers is at the other end.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies().hold(peer)
    }

    pub(super) fn counted(&self, peer: IpAddr) -> CallerAddress {
        CallerAddress::counted(peer)
    }

    pub(super) fn refused(&self, api: ClientApi, reason: &'static str) {
        self.metrics.client_refused(api, reason);
    }
}

/// Returns the number of places of each listener in a process that may open this many files: both listeners together
/// leave what everything else needs, so that clients never take the descriptors of the log or of the peer listener.
fn places_in(files: usize) -> usize {
    (files.saturating_sub(OTHER_FILES.min(files / 2)) / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_listeners_leave_files_for_the_log_and_the_peers() {
        assert_eq!(places_in(65_536), 31_744);
        assert_eq!(places_in(20_000), 8_976);
        assert_eq!(places_in(1_024), 256);
        assert_eq!(places_in(0), 1);
    }
}
