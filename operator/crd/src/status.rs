use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The types of condition that a ChatCluster has.
pub mod condition {
    /// A leader serves writes with a quorum.
    pub const AVAILABLE: &str = "Available";
    /// Everything is as the spec says: all members vote and are ready, nothing is under way.
    pub const READY: &str = "Ready";
    /// Something is under way; the message says what it waits for.
    pub const RECONCILING: &str = "Reconciling";
    /// The operator cannot go on by itself; the message says what a person must do.
    pub const STALLED: &str = "Stalled";
    /// Every voter's volume is there to stay.
    pub const STORAGE_HEALTHY: &str = "StorageHealthy";
}

/// What was observed. State only: figures that change with every message are metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatClusterStatus {
    /// The generation of the spec that this status tells about; -1 until an operator has seen the object.
    #[serde(default)]
    pub observed_generation: i64,
    /// Pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Ready of wanted pods, for people: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Version of chatd that all pods run, or of the oldest while they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The cluster's identity, chosen once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// What the volumes have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
    /// Who leads; absent while nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderStatus>,
    /// Replication, as the leader sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft: Option<RaftStatus>,
    /// One per node of the Raft membership, and per pod that has not joined yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
    /// What is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// Available, Ready, Reconciling, Stalled, StorageHealthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What the volumes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// The largest `spec.storage.size` that every volume has reached. The spec cannot go below it.
    #[schemars(length(max = 32))]
    pub size: String,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaderStatus {
    /// Its pod.
    pub name: String,
    /// Its Raft node id, a decimal string: JSON numbers lose bits of it.
    pub node_id: String,
    /// The term that it was elected in.
    pub term: i64,
    /// Since when the operator has seen it lead.
    pub since: Time,
}

/// Replication, as the leader sees it; kept from the last leader while there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RaftStatus {
    /// The highest term seen.
    pub term: i64,
    /// Members with a vote.
    pub voters: i32,
    /// Members without one.
    pub learners: i32,
    /// Votes that a decision needs.
    pub quorum: i32,
    /// Voters that may still be lost before writing stops; negative when writing has stopped.
    pub fault_tolerance: i32,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Raft node id, a decimal string. A fresh volume gets a fresh one.
    pub node_id: String,
    /// Its pod.
    pub pod: String,
    /// The pod that answers for it now; absent while none does.
    #[serde(default, rename = "podUID", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// `leader`, `follower`, `candidate`, `learner`, `unreachable` or `joining`.
    pub role: String,
    /// Whether it has a vote.
    pub voter: bool,
    /// Whether its pod is ready.
    pub ready: bool,
    /// Its version of chatd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its persistent volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

/// What is under way, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// `Initialize`, `Recover`, `ReplaceMember`, `RemoveMember`, `ReplaceVolume`, `Rollout` or `GrowVolumes`.
    pub r#type: String,
    /// The step that is being taken or waited for.
    pub step: String,
    /// The pod that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// When it began.
    pub started_at: Time,
    /// When it last came nearer to its end: `spec.progressDeadline` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressed_at: Option<Time>,
    /// The most pods so far that were as the spec says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_pods: Option<i32>,
    /// Steps that failed so far.
    pub attempts: i32,
    /// What it waits for.
    pub message: String,
}
