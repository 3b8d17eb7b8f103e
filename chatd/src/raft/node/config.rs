//! openraft's configuration, and the reason for each value that is not the default.

use openraft::{Config, ConfigError, SnapshotPolicy};
use quorate_wire::whole_millis;
use std::time::Duration;

/// Heartbeat and election times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTiming {
    /// Interval of a leader's heartbeats.
    pub heartbeat: Duration,
    /// Shortest wait for a heartbeat before an election, on top of the lease.
    pub election_min: Duration,
    /// Longest wait; also the lease, within which followers vote for no other candidate.
    pub election_max: Duration,
}

impl Default for RaftTiming {
    /// Returns times for a failover in 450 to 600 ms after the last heartbeat, plus the election itself.
    fn default() -> Self {
        let [heartbeat, election_min, election_max] = [50, 150, 300].map(Duration::from_millis);
        Self { heartbeat, election_min, election_max }
    }
}

/// Entries of one append; its bytes are bounded by the log's reader (1 MiB).
const APPEND_ENTRIES: u64 = 1024;
/// Entries of one write to the log, which is bounded in bytes by the log itself (4 MiB).
const WRITE_ENTRIES: u64 = 1024;
/// Messages waiting for openraft's core. Each is a request of a peer or of this node, and these have their own bounds,
/// far below this one.
const CORE_QUEUE: u64 = 4096;
/// Lag from which a follower is sent a snapshot even if the log still has its entries: reading so many of them is
/// slower than copying files.
const SNAPSHOT_LAG: u64 = 500_000;

/// Returns the configuration, which is the same for all nodes.
///
/// # Errors
/// If the times contradict each other, for instance if a heartbeat is not shorter than an election.
pub(crate) fn raft_config(cluster_name: &str, timing: RaftTiming) -> Result<Config, ConfigError> {
    let heartbeat = whole_millis(timing.heartbeat);
    let min = whole_millis(timing.election_min);
    let max = whole_millis(timing.election_max);
    Config {
        cluster_name: cluster_name.to_owned(),
        heartbeat_interval: heartbeat,
        election_timeout_min: min,
        election_timeout_max: max,
        // A node that was cut off must not come back with a higher term and unseat a leader that works.
        enable_pre_vote: Some(true),
        // A restarted leader must be elected again, because its lease and its commit index belong to an earlier
        // process.
        enable_leader_restore: Some(false),
        // A disk may lose what it reported as synced. The node is then filled again, with a warning, instead of being
        // left behind for as long as the leader lives, with one copy less of the lost entries all that time.
        allow_log_reversion: Some(true),
        // A leader without a quorum pauses its heartbeats, so that the others can elect: at least lease + election.
        quorum_loss_probe_interval: Some(max.saturating_mul(2)),
        // openraft's policy would purge all older entries at its first snapshot; `membership::snapshot` replaces it.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1,
        max_payload_entries: APPEND_ENTRIES,
        max_append_entries: Some(WRITE_ENTRIES),
        replication_lag_threshold: SNAPSHOT_LAG,
        api_channel_size: Some(CORE_QUEUE),
        notification_channel_size: Some(CORE_QUEUE),
        ..Config::default()
    }
    .validate()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_contradictions_are_refused() {
        let made = raft_config("a", RaftTiming::default()).expect("valid");
        assert_eq!(made.quorum_loss_probe_interval, Some(600));
        assert_eq!(made.snapshot_policy, SnapshotPolicy::Never);
        assert_eq!((made.enable_pre_vote, made.enable_leader_restore), (Some(true), Some(false)));
        let slow = RaftTiming { heartbeat: Duration::from_secs(1), ..RaftTiming::default() };
        assert!(raft_config("a", slow).is_err());
    }
}
