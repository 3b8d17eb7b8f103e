use crate::DurationString;
use crate::duration::{bounded_duration_rule, related_durations_rule};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Timing of Raft replication. The defaults suit pods in one region; slower networks need longer times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(bounded_duration_rule(
        "self.heartbeatInterval",
        "duration(self.heartbeatInterval) <= duration('10s')",
    )).message("heartbeatInterval must be at most 10s: a cluster has no leader for several intervals after each loss (ms is milliseconds, m is minutes)"),
    validation = Rule::new(bounded_duration_rule(
        "self.electionTimeout.min",
        "duration(self.electionTimeout.min) <= duration('30s')",
    )).message("electionTimeout.min must be at most 30s: writes stop for that long after the loss of a leader (ms is milliseconds, m is minutes)"),
    validation = Rule::new(bounded_duration_rule(
        "self.electionTimeout.max",
        "duration(self.electionTimeout.max) <= duration('60s')",
    )).message("electionTimeout.max must be at most 60s: writes stop for that long after the loss of a leader (ms is milliseconds, m is minutes)"),
    validation = Rule::new(related_durations_rule(
        "[self.heartbeatInterval, self.electionTimeout.min]",
        "duration(self.heartbeatInterval) + duration(self.heartbeatInterval) + duration(self.heartbeatInterval) <= duration(self.electionTimeout.min)",
    )).message("electionTimeout.min must be at least three times heartbeatInterval, or one late heartbeat unseats a healthy leader: raise electionTimeout.min or lower heartbeatInterval"),
    validation = Rule::new(related_durations_rule(
        "[self.electionTimeout.min, self.electionTimeout.max]",
        "duration(self.electionTimeout.min) < duration(self.electionTimeout.max)",
    )).message("electionTimeout.max must be longer than electionTimeout.min (twice is usual), or votes split: raise electionTimeout.max")
)]
pub struct RaftSpec {
    /// Interval between heartbeats of the leader to its followers.
    #[serde(default = "heartbeat_interval")]
    pub heartbeat_interval: DurationString,
    /// Time that a follower waits for the leader before it starts an election.
    #[serde(default)]
    pub election_timeout: ElectionTimeout,
}

/// Range of the election timeout. Each timeout is drawn at random from the range, so that followers do not all start an
/// election at once (Raft paper, section 5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElectionTimeout {
    /// Shortest election timeout, at least three times the heartbeat interval.
    #[serde(default = "election_timeout_min")]
    pub min: DurationString,
    /// Longest election timeout, usually twice the shortest.
    #[serde(default = "election_timeout_max")]
    pub max: DurationString,
}

fn heartbeat_interval() -> DurationString {
    "50ms".into()
}

fn election_timeout_min() -> DurationString {
    "150ms".into()
}

fn election_timeout_max() -> DurationString {
    "300ms".into()
}

impl Default for RaftSpec {
    fn default() -> Self {
        Self { heartbeat_interval: heartbeat_interval(), election_timeout: ElectionTimeout::default() }
    }
}

impl Default for ElectionTimeout {
    fn default() -> Self {
        Self { min: election_timeout_min(), max: election_timeout_max() }
    }
}
