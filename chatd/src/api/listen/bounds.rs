//! What the clients' doors of one process share: limits, budgets in bytes, addresses, the patrol's clock.

use super::address::AddressBook;
use super::budget::{AnswerBudget, RequestBudget};
use crate::api::caller::{CallerAddress, TrustedProxies};
use crate::config::Limits;
use crate::metrics::{Door, Metrics};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// Descriptors for the log, the state, peers and the probes, beside the places of the two doors.
const OTHER_FILES: usize = 2_048;

/// How long the doors wait for their callers.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A connection without a session may be silent, or at its request's head, for so long. A browser sends its first
    /// request at once; 10 s are for slow networks.
    pub stranger_idle: Duration,
    /// A connection that showed a session may be silent for so long: longer than the 90 s that client libraries keep
    /// unused connections, so that mostly they close first and no request meets a closed door.
    pub session_idle: Duration,
    /// After a connection was told to finish.
    pub finish: Duration,
    /// A caller who takes none of its answer for so long is given up. Answers are counted in pieces of 64 KiB: 1 KiB/s.
    pub stalled: Duration,
    /// The same while answers fill most of their budget.
    pub stalled_when_full: Duration,
    /// A body is given so long, and more as it comes ([`Patience::body_rate`]).
    pub body: Duration,
    /// Bytes a second that a body must bring: a megabyte in four minutes.
    pub body_rate: u32,
    /// Between two looks at all connections. They cost some 10 ns each.
    pub patrol: Duration,
}

impl Default for Patience {
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

/// What all doors of one process share.
pub struct Bounds {
    pub(super) limits: Limits,
    pub(super) patience: Patience,
    pub(super) metrics: Metrics,
    pub(super) book: Arc<AddressBook>,
    pub(super) requests: RequestBudget,
    pub(super) answers: AnswerBudget,
    stopping: AtomicBool,
    began: Instant,
    /// Milliseconds since `began`, brought up to date by the patrols: reading a clock for each request is not needed.
    now: AtomicU32,
}

impl Bounds {
    /// Bounds of these limits. The files that the process may open bound the connections, too.
    #[must_use]
    pub fn new(limits: Limits, patience: Patience, metrics: Metrics) -> Arc<Self> {
        let mut limits = limits;
        let files = quorate_meter::process::max_fds().and_then(|files| usize::try_from(files).ok());
        let fit = files.map_or(usize::MAX, places_in);
        if fit < limits.connections {
            tracing::warn!(
                connections = fit,
                configured = limits.connections,
                "the process may open too few files (ulimit -n) for limits.connections; each door takes fewer"
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

    /// From now on answers ask HTTP/1 clients to connect elsewhere.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Milliseconds since the start, as of the last patrol.
    pub(super) fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }

    /// Brings the clock up to date. It wraps after 49 days: ages are differences that wrap with it.
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

    /// Whether a proxy that speaks for many callers is at the other end.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies().hold(peer)
    }

    pub(super) fn counted(&self, peer: IpAddr) -> CallerAddress {
        CallerAddress::counted(peer)
    }

    pub(super) fn refused(&self, door: Door, reason: &'static str) {
        self.metrics.door_refused(door, reason);
    }
}

/// Places of each door, where a process may open so many files: both doors together leave what everything else needs, so
/// that clients never take the descriptors of the log or of the peers' door.
fn places_in(files: usize) -> usize {
    (files.saturating_sub(OTHER_FILES.min(files / 2)) / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_doors_leave_files_for_the_log_and_the_peers() {
        assert_eq!(places_in(65_536), 31_744);
        assert_eq!(places_in(20_000), 8_976);
        assert_eq!(places_in(1_024), 256);
        assert_eq!(places_in(0), 1);
    }
}
