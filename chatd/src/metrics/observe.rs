//! What log, apply and proposals report as they go.

use super::Metrics;
use crate::raft::log::{BatchReport, LogObserver};
use crate::raft::machine::{AppliedBatch, MachineObserver};
use crate::raft::propose::{ProposeObserver, ProposeResult};
use std::time::Duration;

/// Figures are far below the precision that `f64` keeps.
#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl LogObserver for Metrics {
    fn batch(&self, report: &BatchReport) {
        let BatchReport { records, bytes, write, sync, queued } = *report;
        self.all.log_batch_records.observe(float(records));
        self.all.log_batch_bytes.observe(float(bytes));
        self.all.log_write_seconds.observe(write.as_secs_f64());
        self.all.log_sync_seconds.observe(sync.as_secs_f64());
        self.all.log_queue.set(signed(queued));
    }

    fn segments(&self, count: usize, _making: Option<Duration>) {
        self.all.log_segments.set(signed(count));
    }
}

impl ProposeObserver for Metrics {
    fn packed(&self, commands: usize, queued: usize) {
        self.all.proposal_entries.inc();
        self.all.proposal_commands.observe(float(commands));
        self.all.proposal_queue.set(signed(queued));
    }

    fn settled(&self, result: ProposeResult, took: Duration) {
        self.all.proposals.with_label_values(&[result.label()]).inc();
        self.all.proposal_seconds.observe(took.as_secs_f64());
    }

    fn forwarded(&self) {
        self.all.proposal_forwarded.inc();
    }

    fn read_index(&self, reads: usize, took: Duration) {
        self.all.read_index_reads.observe(float(reads));
        self.all.read_index_seconds.observe(took.as_secs_f64());
    }
}

impl MachineObserver for Metrics {
    fn applied(&self, batch: &AppliedBatch) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.all.apply_seconds.observe(batch.elapsed.as_secs_f64());
        self.all.apply_entries.inc_by(count(batch.entries));
        self.all.apply_commands.inc_by(count(batch.commands));
        self.all.apply_bytes.inc_by(count(batch.bytes));
    }

    fn snapshot_built(&self, elapsed: Duration, _bytes: u64) {
        self.all.snapshots.with_label_values(&["built"]).inc();
        self.all.snapshot_seconds.with_label_values(&["built"]).observe(elapsed.as_secs_f64());
    }

    fn snapshot_failed(&self) {
        self.all.snapshots.with_label_values(&["failed"]).inc();
    }

    fn snapshot_installed(&self) {
        self.all.snapshots.with_label_values(&["installed"]).inc();
    }
}
