//! Metrics that are read only when somebody scrapes: of Raft, the store and the volume.

use super::ChatMetrics;
use crate::feed::ChangeFeed;
use crate::raft::cluster::{ClusterMonitor, NodeReadiness, NodeStatus};
use crate::raft::volume::{VolumeGauge, VolumeLevel, WriteClass};
use crate::store::{EngineFigures, StoreFigures};
use quorate_meter::CatchUp as _;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Sources of the metrics.
#[derive(Clone)]
pub struct MetricSources {
    /// Status of Raft on this pod.
    pub cluster: ClusterMonitor,
    /// Store that holds the state.
    pub store: Arc<dyn StoreFigures>,
    /// Feed that the store's readers subscribe to.
    pub feed: ChangeFeed,
    /// Volume, as it was measured last.
    pub volume: VolumeGauge,
}

fn gauge_value(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn gauge_count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts an age to seconds; -1 if there is none, as a gap in the line would look like a pod that is gone.
fn age_seconds(age: Option<Duration>) -> f64 {
    age.map_or(-1.0, |age| age.as_secs_f64())
}

impl ChatMetrics {
    /// Updates all metrics from their sources.
    pub fn refresh(&self, sources: &MetricSources) {
        let MetricSources { cluster, store, feed, volume } = sources;
        let status = cluster.status();
        self.refresh_raft(&status);
        self.refresh_volume(volume, status.leads());
        self.all.delivery.subscribers.set(gauge_count(feed.subscribers()));
        self.all.delivery.wakeups.catch_up(feed.wakeups());
        self.all.delivery.lagged.catch_up(feed.lagged());
        self.refresh_store(&store.figures());
    }

    /// Sets how full the volume is.
    pub fn storage(&self, used: u64, free: u64) {
        self.all.storage.used.set(gauge_value(used));
        self.all.storage.free.set(gauge_value(free));
    }

    /// Updates how the volume stands to its reserve, and if this pod refuses people's writes.
    fn refresh_volume(&self, volume: &VolumeGauge, leads: bool) {
        let all = &self.all.storage;
        all.total.set(gauge_value(volume.space().total));
        all.reserve.set(gauge_value(volume.reserve()));
        all.short.set(i64::from(volume.own().level != VolumeLevel::Enough));
        all.refused.set(i64::from(leads && !volume.admits(WriteClass::Growing)));
    }

    fn refresh_store(&self, figures: &EngineFigures) {
        let all = &self.all.rocks;
        all.disk.set(gauge_value(figures.disk_bytes));
        all.memtables.set(gauge_value(figures.memtable_bytes));
        all.immutable.set(gauge_value(figures.immutable_memtables));
        all.cache.set(gauge_value(figures.block_cache_bytes));
        all.cache_capacity.set(gauge_value(figures.block_cache_capacity_bytes));
        all.pending_compaction.set(gauge_value(figures.pending_compaction_bytes));
        all.compactions.set(gauge_value(figures.running_compactions));
        all.flushes.set(gauge_value(figures.running_flushes));
        all.level0.set(gauge_value(figures.level0_files));
        all.write_stopped.set(i64::from(figures.write_stopped));
        all.background_errors.set(gauge_value(figures.background_errors));
        // The figures are another database's once a snapshot has taken the place of the one before: then they begin
        // anew, as counters may. Nobody scrapes between the two steps.
        all.stall_seconds.reset();
        all.stall_seconds.inc_by(figures.stalled.as_secs_f64());
        for (counter, total) in [
            (&all.compaction_read, figures.compaction_read_bytes),
            (&all.compaction_written, figures.written_bytes),
            (&all.flush_written, figures.flush_written_bytes),
        ] {
            counter.reset();
            counter.inc_by(total);
        }
        all.table_readers.set(gauge_value(figures.table_readers_bytes));
    }

    fn refresh_raft(&self, status: &NodeStatus) {
        let all = &self.all.raft;
        let voters = status.membership.voters();
        all.term.set(gauge_value(status.term));
        all.is_leader.set(i64::from(status.leads()));
        all.has_leader.set(i64::from(status.leader.is_some()));
        all.is_voter.set(i64::from(voters.contains(&status.node_id)));
        all.voters.set(gauge_count(voters.len()));
        all.learners.set(gauge_count(status.membership.learners.len()));
        all.last_log.set(gauge_value(status.last_log_index));
        all.committed.set(gauge_value(status.committed_index));
        all.applied.set(gauge_value(status.applied_index));
        all.snapshot.set(gauge_value(status.snapshot_index));
        all.purged.set(gauge_value(status.purged_index));
        all.quorum_age.set(age_seconds(status.quorum_ack_age));
        all.contact_age.set(age_seconds(status.leader_contact_age));
        let seconds = |ms: f64| ms / 1000.0;
        all.clock_offset.set(seconds(status.time.offset_ms.map_or(0.0, |ms| ms as f64)));
        all.time_confirmed.set(i64::from(status.time.confirmed));
        all.log_time_ahead.set(seconds(status.time.log_ahead_ms as f64));
        all.format_level.set(i64::from(status.levels.in_force));
        all.known_format_level.set(i64::from(status.levels.known));
        // Members that are gone, and all of them on a pod that no longer leads, must not linger as series.
        all.peer_lag.reset();
        all.peer_age.reset();
        for progress in &status.progress {
            let name = status.membership.member(progress.node_id).map(|member| member.name.as_str());
            let name = name.unwrap_or("unknown");
            all.peer_lag.with_label_values(&[name]).set(gauge_value(progress.lag));
            all.peer_age.with_label_values(&[name]).set(age_seconds(progress.contact_age));
        }
    }

    /// Counts new leaders as this pod sees them. Ends with the cluster's watch.
    pub async fn count_leaders(self, cluster: ClusterMonitor) {
        let mut headlines: watch::Receiver<_> = cluster.watch();
        let mut last = None;
        loop {
            let (leader, term) = {
                let headline = headlines.borrow_and_update();
                (headline.leader, headline.term)
            };
            if let Some(leader) = leader
                && last.replace((leader, term)) != Some((leader, term))
            {
                self.all.raft.leader_changes.inc();
            }
            if headlines.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Checks that a pod is ready, for `/readyz`.
///
/// # Errors
/// The reason for which it is not.
pub fn check_readiness(cluster: &ClusterMonitor) -> Result<(), String> {
    match cluster.status().readiness {
        NodeReadiness::Ready => Ok(()),
        other => Err(other.reason()),
    }
}

/// Returns the bytes that the files under a directory take. Snapshots share files with the state by hard links: each
/// file counts once. Files come and go meanwhile: those that are gone count nothing.
#[must_use]
pub fn disk_usage(dir: &Path) -> u64 {
    let mut linked = HashSet::new();
    tree_usage(dir, &mut linked)
}

fn tree_usage(dir: &Path, linked: &mut HashSet<u64>) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => tree_usage(&entry.path(), linked),
        Ok(data) if data.nlink() > 1 && !linked.insert(data.ino()) => 0,
        // Allocated size, in the unit of stat(2).
        Ok(data) => data.blocks().saturating_mul(512),
        Err(_) => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_takes_its_space_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("a"), vec![1; 100_000]).unwrap();
        let before = disk_usage(dir.path());
        assert!(before >= 100_000);
        fs::hard_link(dir.path().join("a"), dir.path().join("inner/b")).unwrap();
        assert_eq!(disk_usage(dir.path()), before);
    }
}
