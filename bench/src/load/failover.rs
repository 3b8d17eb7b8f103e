//! Failover: the leader is killed under writers. Measures for how long nothing is acknowledged, and how much of what
//! was acknowledged is lost.

use anyhow::ensure;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Number of writers, each with one post at a time.
pub(crate) const WRITERS: usize = 4;
/// Time after which a writer asks another server with the same message; the same for every system.
const ATTEMPT: Duration = Duration::from_millis(500);
/// Pause before a writer asks another server.
const PAUSE: Duration = Duration::from_millis(10);
/// Length of the writing phase before the leader is killed.
const BEFORE: Duration = Duration::from_secs(1);
/// Length of the writing phase after writing has resumed.
const AFTER: Duration = Duration::from_secs(1);
/// Longest wait for writing to resume.
const PATIENCE: Duration = Duration::from_secs(30);

/// A writer that is connected to all servers.
pub(crate) trait FailoverWriter: Send + 'static {
    /// Makes one attempt at a server; repeated with the same number until one is acknowledged.
    ///
    /// # Errors
    /// Fails if the post is not acknowledged.
    fn write(&mut self, server: usize, number: u64) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Figures of one outage of the leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaderOutage {
    /// Longest time without an acknowledgement to any writer.
    pub(crate) gap: Duration,
    /// Number of messages that were acknowledged and are not there afterwards.
    pub(crate) lost: u64,
}

impl LeaderOutage {
    /// Counts the acknowledged numbers that are not stored.
    pub(crate) fn judge(gap: Duration, acknowledged: &BTreeSet<u64>, stored: &BTreeSet<u64>) -> Self {
        let lost = acknowledged.difference(stored).count() as u64;
        Self { gap, lost }
    }
}

#[derive(Debug)]
struct AckLog {
    last: Instant,
    gap: Duration,
    acknowledged: BTreeSet<u64>,
    stop: bool,
}

impl AckLog {
    fn acknowledged(&mut self, number: u64) {
        let now = Instant::now();
        self.gap = self.gap.max(now - self.last);
        self.last = now;
        self.acknowledged.insert(number);
    }
}

/// Writes, kills the leader and waits until writing resumes. Returns the longest gap and the acknowledged numbers.
///
/// # Errors
/// Fails if nothing is acknowledged before the kill, or if writing does not resume.
pub(crate) async fn run_failover<W: FailoverWriter>(
    writers: Vec<W>,
    kill: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Duration, BTreeSet<u64>)> {
    let log = AckLog { last: Instant::now(), gap: Duration::ZERO, acknowledged: BTreeSet::new(), stop: false };
    let log = Arc::new(Mutex::new(log));
    let mut writing = JoinSet::new();
    for (n, writer) in writers.into_iter().enumerate() {
        writing.spawn(keep_writing(writer, n, log.clone()));
    }
    tokio::time::sleep(BEFORE).await;
    let killed = {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!log.acknowledged.is_empty(), "no write was acknowledged within {BEFORE:?}");
        log.gap = Duration::ZERO;
        Instant::now()
    };
    kill()?;
    let deadline = killed + PATIENCE;
    // The outage is over when acknowledgements have come steadily for a while.
    let mut resumed: Option<Instant> = None;
    while resumed.is_none_or(|at| at.elapsed() < AFTER) {
        ensure!(Instant::now() < deadline, "writes did not resume within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let last = log.lock().unwrap_or_else(PoisonError::into_inner).last;
        let silent = last.elapsed() > Duration::from_millis(200) || last <= killed;
        resumed = if silent { None } else { resumed.or(Some(Instant::now())) };
    }
    log.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
    while let Some(ended) = writing.join_next().await {
        ended?;
    }
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((log.gap, log.acknowledged.clone()))
}

async fn keep_writing<W: FailoverWriter>(mut writer: W, first: usize, log: Arc<Mutex<AckLog>>) {
    let mut server = first;
    loop {
        let number = crate::payload::next_number();
        loop {
            if log.lock().unwrap_or_else(PoisonError::into_inner).stop {
                return;
            }
            if matches!(tokio::time::timeout(ATTEMPT, writer.write(server % 3, number)).await, Ok(Ok(()))) {
                break;
            }
            server += 1;
            tokio::time::sleep(PAUSE).await;
        }
        log.lock().unwrap_or_else(PoisonError::into_inner).acknowledged(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that fails until the end of a simulated outage.
    struct Fake {
        dead_until: Arc<Mutex<Option<Instant>>>,
    }

    impl FailoverWriter for Fake {
        async fn write(&mut self, _: usize, _: u64) -> anyhow::Result<()> {
            let dead = self.dead_until.lock().unwrap().is_some_and(|until| Instant::now() < until);
            ensure!(!dead, "dead");
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_gap_is_the_time_in_which_nobody_was_acknowledged() {
        let dead_until = Arc::new(Mutex::new(None));
        let writers = (0..WRITERS).map(|_| Fake { dead_until: dead_until.clone() }).collect();
        let outage = Duration::from_millis(600);
        let kill = || {
            *dead_until.lock().unwrap() = Some(Instant::now() + outage);
            Ok(())
        };
        let (gap, acknowledged) = run_failover(writers, kill).await.unwrap();
        assert!(gap >= outage - Duration::from_millis(50) && gap < outage * 3, "{gap:?}");
        assert!(acknowledged.len() > 10);
    }

    #[test]
    fn what_was_acknowledged_and_is_not_stored_is_lost() {
        let outage = LeaderOutage::judge(Duration::ZERO, &BTreeSet::from([1, 2, 3]), &BTreeSet::from([2, 3, 4]));
        assert_eq!(outage.lost, 1);
    }
}
