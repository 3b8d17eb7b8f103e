//! Metrics that log, apply, proposals and Raft report as they go.

use super::catalogue::Instruments;
use super::{ChatMetrics, GaugeGuard};
use crate::raft::log::{BatchReport, LogObserver};
use crate::raft::observe::{AppliedBatch, MachineObserver, PeerObserver, RaftObserver, VoteKind};
use crate::raft::propose::{LimitClass, ProposeObserver, ProposeResult};
use crate::tls::{HandshakeEnd, HandshakeObserver};
use quorate_meter::{Histogram, IntCounter, IntCounterVec};
use std::sync::Arc;
use std::time::Duration;

/// Converts a count to a float. All figures are far below the precision that `f64` keeps.
#[allow(clippy::cast_precision_loss)]
fn count_as_f64(count: usize) -> f64 {
    count as f64
}

fn gauge_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl LogObserver for ChatMetrics {
    fn batch(&self, report: &BatchReport) {
        let BatchReport { records, bytes, write, sync, queued } = *report;
        self.all.log.batch_records.observe(count_as_f64(records));
        self.all.log.batch_bytes.observe(count_as_f64(bytes));
        self.all.log.write_seconds.observe(write.as_secs_f64());
        self.all.log.sync_seconds.observe(sync.as_secs_f64());
        self.all.log.queue.set(gauge_count(queued));
    }

    fn segments(&self, count: usize, _making: Option<Duration>) {
        self.all.log.segments.set(gauge_count(count));
    }
}

impl ProposeObserver for ChatMetrics {
    fn packed(&self, commands: usize, queued: usize) {
        self.all.proposals.entries.inc();
        self.all.proposals.commands.observe(count_as_f64(commands));
        self.all.proposals.queue.set(gauge_count(queued));
    }

    fn settled(&self, result: ProposeResult, took: Duration) {
        self.hot.outcomes.count(result);
        self.all.proposals.seconds.observe(took.as_secs_f64());
    }

    fn limited(&self, class: LimitClass) {
        self.all.proposals.limited.with_label_values(&[class.label()]).inc();
    }

    fn forwarded(&self) {
        self.all.proposals.forwarded.inc();
    }

    fn read_index(&self, reads: usize, took: Duration) {
        self.all.proposals.index_reads.observe(count_as_f64(reads));
        self.all.proposals.index_seconds.observe(took.as_secs_f64());
    }
}

impl ChatMetrics {
    /// Counts a read that waits for its turn at the store, until the guard is dropped.
    pub(crate) fn read_waiting(&self) -> GaugeGuard {
        GaugeGuard::one(&self.all.proposals.reads_waiting)
    }

    /// Records how long a read waited for its turn.
    pub(crate) fn read_waited(&self, took: Duration) {
        self.all.proposals.read_wait.observe(took.as_secs_f64());
    }

    /// Counts a read that was refused because too many wait.
    pub(crate) fn read_refused(&self, why: &'static str) {
        self.all.proposals.reads_refused.with_label_values(&[why]).inc();
    }
}

impl MachineObserver for ChatMetrics {
    fn applied(&self, batch: &AppliedBatch) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.all.apply.seconds.observe(batch.elapsed.as_secs_f64());
        self.all.apply.entries.inc_by(count(batch.entries));
        self.all.apply.commands.inc_by(count(batch.commands));
        self.all.apply.bytes.inc_by(count(batch.bytes));
    }

    fn snapshot_built(&self, elapsed: Duration, _bytes: u64) {
        self.all.apply.snapshots.with_label_values(&["built"]).inc();
        self.all.apply.snapshot_seconds.with_label_values(&["built"]).observe(elapsed.as_secs_f64());
    }

    fn snapshot_failed(&self) {
        self.all.apply.snapshots.with_label_values(&["failed"]).inc();
    }

    fn snapshot_installed(&self) {
        self.all.apply.snapshots.with_label_values(&["installed"]).inc();
    }
}

/// Counters of ended proposals, one for each outcome.
pub(super) struct OutcomeCounters([IntCounter; ProposeResult::ALL.len()]);

impl OutcomeCounters {
    pub(super) fn of(counters: &IntCounterVec) -> Self {
        Self(ProposeResult::ALL.map(|result| counters.with_label_values(&[result.label()])))
    }

    fn count(&self, result: ProposeResult) {
        if let Some(counter) = self.0.get(result as usize) {
            counter.inc();
        }
    }
}

impl HandshakeObserver for ChatMetrics {
    fn handshake_ended(&self, end: HandshakeEnd) {
        self.all.listeners.handshakes_ended.with_label_values(&[end.label()]).inc();
    }
}

impl RaftObserver for ChatMetrics {
    fn candidate(&self) {
        self.all.raft.candidacies.inc();
    }

    fn voted(&self, ballot: VoteKind, granted: bool) {
        let kind = match ballot {
            VoteKind::Vote => "vote",
            VoteKind::PreVote => "pre_vote",
        };
        self.all.raft.votes.with_label_values(&[kind, if granted { "granted" } else { "refused" }]).inc();
    }

    fn peer(&self, name: &str) -> Arc<dyn PeerObserver> {
        let appends = self.all.raft.append_seconds.with_label_values(&[name]);
        Arc::new(PeerFigures { all: Arc::clone(&self.all), appends, name: name.to_owned() })
    }

    fn snapshot_received(&self, bytes: u64) {
        self.all.raft.snapshot_received.inc_by(bytes);
    }
}

/// Metrics of one member.
struct PeerFigures {
    all: Arc<Instruments>,
    appends: Histogram,
    name: String,
}

impl PeerObserver for PeerFigures {
    fn appended(&self, took: Duration) {
        self.appends.observe(took.as_secs_f64());
    }

    fn snapshot_sending(&self, bytes: u64, sent: u64, of: u64) {
        self.all.raft.snapshot_sent.inc_by(bytes);
        // A snapshot of no bytes is complete from the beginning.
        let part = if of == 0 { 1.0 } else { bytes_as_f64(sent) / bytes_as_f64(of) };
        self.all.raft.snapshot_sending.with_label_values(&[&self.name]).set(part);
    }

    fn snapshot_ended(&self) {
        // An error means that it was not there.
        let _ = self.all.raft.snapshot_sending.remove_label_values(&[&self.name]);
    }
}

/// Converts a number of bytes to a float, with the same precision as [`count_as_f64`].
#[allow(clippy::cast_precision_loss)]
fn bytes_as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter() {
        let metrics = ChatMetrics::new().unwrap();
        for result in ProposeResult::ALL {
            metrics.settled(result, Duration::from_millis(1));
            assert_eq!(metrics.all.proposals.ended.with_label_values(&[result.label()]).get(), 1, "{result:?}");
        }
    }

    #[test]
    fn a_transfer_is_shown_while_it_runs_and_its_bytes_stay() {
        let metrics = ChatMetrics::new().unwrap();
        let peer = metrics.peer("team-1");
        peer.appended(Duration::from_millis(2));
        peer.snapshot_sending(0, 0, 400);
        peer.snapshot_sending(100, 100, 400);
        let line = "quorate_raft_snapshot_sending{peer=\"team-1\"} 0.25";
        assert!(metrics.render().unwrap().contains(line));
        peer.snapshot_ended();
        let text = metrics.render().unwrap();
        assert!(!text.contains("quorate_raft_snapshot_sending{"), "{text}");
        assert!(text.contains("quorate_raft_snapshot_sent_bytes_total 100\n"), "{text}");
        assert!(text.contains("quorate_raft_append_seconds_count{peer=\"team-1\"} 1\n"), "{text}");
    }
}
