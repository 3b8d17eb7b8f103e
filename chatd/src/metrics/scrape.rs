//! What is read only when somebody scrapes: figures of Raft, the store and the volume.

use super::Metrics;
use crate::feed::Feed;
use crate::raft::cluster::{Cluster, NodeStatus, Readiness};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A storage engine's own figures.
pub trait StoreFigures: Send + Sync + 'static {
    /// Names and values; must not block.
    fn figures(&self) -> Vec<(&'static str, u64)>;
}

#[cfg(feature = "rocksdb")]
impl StoreFigures for crate::store::RocksStore {
    fn figures(&self) -> Vec<(&'static str, u64)> {
        let stats = self.stats();
        vec![
            ("disk_bytes", stats.disk_bytes),
            ("memtable_bytes", stats.memtable_bytes),
            ("block_cache_bytes", stats.block_cache_bytes),
            ("pending_compaction_bytes", stats.pending_compaction_bytes),
        ]
    }
}

/// Where the figures come from.
#[derive(Clone)]
pub struct Sources {
    /// Raft.
    pub cluster: Cluster,
    /// The state.
    pub store: Arc<dyn StoreFigures>,
    /// Its readers.
    pub feed: Feed,
}

/// Counts and sizes are far below the precision that `f64` keeps.
#[allow(clippy::cast_precision_loss)]
fn float(number: u64) -> f64 {
    number as f64
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// -1 where there is no age: a gap in the line would look like a pod that is gone.
fn age(age: Option<Duration>) -> f64 {
    age.map_or(-1.0, |age| age.as_secs_f64())
}

impl Metrics {
    /// Reads all sources.
    pub fn refresh(&self, sources: &Sources) {
        let Sources { cluster, store, feed } = sources;
        self.refresh_raft(&cluster.status());
        self.all.feed_subscribers.set(count(feed.subscribers()));
        for (property, value) in store.figures() {
            self.all.rocksdb.with_label_values(&[property]).set(float(value));
        }
    }

    /// How full the volume is.
    pub fn storage(&self, used: u64, free: u64) {
        self.all.storage_used.set(signed(used));
        self.all.storage_free.set(signed(free));
    }

    fn refresh_raft(&self, status: &NodeStatus) {
        let all = &self.all;
        let voters = status.membership.voters();
        all.raft_term.set(signed(status.term));
        all.raft_is_leader.set(i64::from(status.leads()));
        all.raft_has_leader.set(i64::from(status.leader.is_some()));
        all.raft_is_voter.set(i64::from(voters.contains(&status.node_id)));
        all.raft_voters.set(count(voters.len()));
        all.raft_learners.set(count(status.membership.learners.len()));
        all.raft_last_log.set(signed(status.last_log_index));
        all.raft_committed.set(signed(status.committed_index));
        all.raft_applied.set(signed(status.applied_index));
        all.raft_snapshot.set(signed(status.snapshot_index));
        all.raft_purged.set(signed(status.purged_index));
        all.raft_quorum_age.set(age(status.quorum_ack_age));
        all.raft_contact_age.set(age(status.leader_contact_age));
        // Members that are gone, and all of them on a pod that no longer leads, must not linger as lines.
        all.raft_peer_lag.reset();
        all.raft_peer_age.reset();
        for progress in &status.progress {
            let name = status.membership.member(progress.node_id).map(|member| member.name.as_str());
            let name = name.unwrap_or("unknown");
            all.raft_peer_lag.with_label_values(&[name]).set(signed(progress.lag));
            all.raft_peer_age.with_label_values(&[name]).set(age(progress.contact_age));
        }
    }

    /// Counts new leaders as this pod sees them; ends with the cluster's watch.
    pub async fn count_leaders(self, cluster: Cluster) {
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
                self.all.raft_elections.inc();
                tracing::info!(leader, term, "there is a leader");
            }
            if headlines.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Why a pod is not ready, for `/readyz`.
///
/// # Errors
/// The reason.
pub fn readiness(cluster: &Cluster) -> Result<(), String> {
    match cluster.status().readiness {
        Readiness::Ready => Ok(()),
        other => Err(other.reason().to_owned()),
    }
}

/// Bytes that the files under a directory take. Snapshots share files with the state by links: each counts once.
/// Files come and go meanwhile: those that are gone count nothing.
#[must_use]
pub fn used(dir: &Path) -> u64 {
    let mut linked = HashSet::new();
    taken(dir, &mut linked)
}

fn taken(dir: &Path, linked: &mut HashSet<u64>) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => taken(&entry.path(), linked),
        Ok(data) if data.nlink() > 1 && !linked.insert(data.ino()) => 0,
        // What is allocated, in the unit of stat(2).
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
        let before = used(dir.path());
        assert!(before >= 100_000);
        fs::hard_link(dir.path().join("a"), dir.path().join("inner/b")).unwrap();
        assert_eq!(used(dir.path()), before);
    }
}
