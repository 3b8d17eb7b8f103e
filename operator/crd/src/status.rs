use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Condition types of a ChatCluster.
pub mod condition {
    /// A leader serves writes with a quorum.
    pub const AVAILABLE: &str = "Available";
    /// The cluster matches the spec: all members vote and are ready, and no operation is in progress.
    pub const READY: &str = "Ready";
    /// An operation is in progress; the message says what it waits for.
    pub const RECONCILING: &str = "Reconciling";
    /// The operator cannot proceed by itself; the message says what an administrator must do.
    pub const STALLED: &str = "Stalled";
    /// Every volume is bound, is there to stay and is not nearly full.
    pub const STORAGE_HEALTHY: &str = "StorageHealthy";
}

/// Observed state of the chat server. Only state is reported; figures that change with every message are metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatClusterStatus {
    /// Generation of the spec that this status describes; -1 until an operator has seen the object.
    #[serde(default)]
    pub observed_generation: i64,
    /// Number of pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Number of pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Number of ready pods out of the desired ones in human-readable form, such as `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Version of chatd that the pods run; the oldest one while versions differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Unique identifier of the cluster, chosen once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Size that the volumes have reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
    /// Current leader; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderStatus>,
    /// State of Raft replication, as the leader sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft: Option<RaftStatus>,
    /// Members of the cluster: one entry per node of the Raft membership, and one per pod that has not joined yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
    /// Operation in progress; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// Conditions of the cluster: Available, Ready, Reconciling, Stalled and StorageHealthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Size that the volumes have reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Largest `spec.storage.size` that every volume has reached. The spec cannot go below this size.
    #[schemars(length(max = 32))]
    pub size: String,
}

/// Current leader of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaderStatus {
    /// Name of the leader's pod.
    pub name: String,
    /// Raft node id of the leader, as a decimal string because JSON numbers lose precision.
    pub node_id: String,
    /// Term in which the leader was elected.
    pub term: i64,
    /// Time since which the operator has seen this leader lead.
    pub since: Time,
}

/// State of Raft replication, as the leader sees it. While there is no leader, the values of the last one are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RaftStatus {
    /// Highest Raft term seen.
    pub term: i64,
    /// Number of members with a vote.
    pub voters: i32,
    /// Number of members without a vote.
    pub learners: i32,
    /// Number of votes that a decision needs.
    pub quorum: i32,
    /// Number of voters that may still fail before writes stop; negative if writes have stopped.
    pub fault_tolerance: i32,
}

/// Member of the cluster, or pod that is joining it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Raft node id, as a decimal string. A fresh volume gets a fresh id.
    pub node_id: String,
    /// Name of the member's pod.
    pub pod: String,
    /// UID of the pod that answers for the member; absent while none does.
    #[serde(default, rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Raft role or state of the member: `leader`, `follower`, `candidate`, `learner`, `unreachable` or `joining`.
    pub role: String,
    /// True if the member has a vote.
    pub voter: bool,
    /// True if the member's pod is ready.
    pub ready: bool,
    /// Version of chatd that the member runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Name of the member's persistent volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

/// Operation in progress, described in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Type of the operation: `Initialize`, `Recover`, `ReplaceMember`, `RemoveMember`, `ReplaceVolume`, `Rollout` or
    /// `GrowVolumes`.
    pub r#type: String,
    /// Step that is being taken or waited for.
    pub step: String,
    /// Name of the pod that the operation concerns, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Time at which the operation began.
    pub started_at: Time,
    /// Time of the last progress. `spec.progressDeadline` counts from this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressed_at: Option<Time>,
    /// Highest number of pods so far that matched the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_pods: Option<i32>,
    /// Number of times that the current step has failed.
    pub attempts: i32,
    /// Description of what the operation does or waits for.
    pub message: String,
}
