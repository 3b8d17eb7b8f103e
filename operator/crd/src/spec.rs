use crate::{
    ChatClusterStatus, ChatSpec, DisruptionBudgetSpec, DurationString, LogSpec, PodTemplate, RaftSpec, ServiceSpec,
    StorageSpec, TracesSpec,
};
use k8s_openapi::api::core::v1::LocalObjectReference;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Desired state of a chat server of equal pods that replicate one log.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "chat.quorate.dev",
    version = "v1alpha1",
    kind = "ChatCluster",
    plural = "chatclusters",
    shortname = "chat",
    shortname = "chats",
    category = "quorate",
    namespaced,
    status = "ChatClusterStatus",
    derive = "PartialEq",
    doc = "A chat server of equal pods that replicate one log.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Available", type_ = "string", json_path = ".status.conditions[?(@.type==\"Available\")].status"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Term", type_ = "integer", json_path = ".status.raft.term", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("the name must have at most 40 characters, begin with a letter, end with a letter or digit and contain only a-z, 0-9 and '-': names of Services are derived from it"),
    validation = Rule::new("self.metadata.name != 'default'")
        .message("the name default is taken: every namespace has a ServiceAccount of that name, which other pods use; choose another name"),
    validation = Rule::new("!has(self.status) || !has(self.status.storage) || quantity(string(self.spec.storage.size)).compareTo(quantity(self.status.storage.size)) >= 0")
        .message("spec.storage.size cannot go below the size that the volumes already have (status.storage.size), because volumes cannot shrink: use that size or a larger one")
)]
#[serde(rename_all = "camelCase")]
pub struct ChatClusterSpec {
    /// Matrix server name: the part of a user id after the colon. Immutable, because every user, room and event id
    /// contains it.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("serverName is immutable, because every user, room and event id contains it: create a new ChatCluster for another name"),
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$')")
            .message("serverName must be a host name in lower case, such as chat.example.org, with an optional port from 1 to 65535")
    )]
    pub server_name: String,
    /// Container image with the `chatd` binary.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._:/@-]+$')")
        .message("image must be the name of an image, such as registry.example.org/quorate:0.1.0, without spaces"))]
    pub image: String,
    /// Policy for pulling the image: `Always`, `IfNotPresent` or `Never`.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// Names of the Secrets with credentials for the image registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Number of pods, all of which vote. A majority of them must be running: 3 replicas tolerate one failure, 5
    /// tolerate two. The number must be odd and cannot be changed.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = MOST_REPLICAS))]
    #[x_kube(
        validation = Rule::new("self % 2 == 1")
            .message("replicas must be odd (1, 3, 5, 7 or 9): an even number tolerates no more failures than one replica less"),
        validation = Rule::new("self == oldSelf")
            .message("replicas cannot be changed yet: set it back to its former value, or create a new ChatCluster with the desired number")
    )]
    pub replicas: i32,
    /// If true, the operator watches and reports but changes nothing.
    #[serde(default)]
    pub paused: bool,
    /// Time that an operation may go on without progress before the cluster reports `Stalled` with the reason. The
    /// operator keeps trying regardless.
    #[serde(default = "progress_deadline")]
    pub progress_deadline: DurationString,
    /// Persistent volume of each pod.
    pub storage: StorageSpec,
    /// Timing of Raft replication.
    #[serde(default)]
    pub raft: RaftSpec,
    /// Service that clients connect to.
    #[serde(default)]
    pub service: ServiceSpec,
    /// Protection against drains that would take down more than one pod at a time.
    #[serde(default)]
    pub pod_disruption_budget: DisruptionBudgetSpec,
    /// Customization of the pods, such as scheduling and resources.
    #[serde(default)]
    pub pod_template: PodTemplate,
    /// Chat server settings, such as registration and the rate limit.
    #[serde(default)]
    pub chat: ChatSpec,
    /// Log output of the pods.
    #[serde(default)]
    pub log: LogSpec,
    /// Export of traces by the pods. Without this field, no traces are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<TracesSpec>,
}

/// Policy for pulling an image, as described in
/// <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// Returns the name that Kubernetes uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Returns the default, twice the time that a slow image pull and a slow volume take together.
fn progress_deadline() -> DurationString {
    "10m".into()
}

/// Maximum number of voters of a cluster. Each additional voter costs every write an acknowledgement, and nine already
/// tolerate four failures.
pub const MOST_REPLICAS: i32 = 9;

fn default_replicas() -> i32 {
    3
}
