use k8s_openapi::api::core::v1::{Affinity, EnvVar, ResourceRequirements, Toleration, TopologySpreadConstraint};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What may be said about the pods. A closed list: everything else is the operator's business.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations of the pods, beside those of the operator.
    #[serde(default)]
    pub metadata: PodMetadata,
    /// Where pods may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How pods spread; by default over nodes, as far as there are enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Priority of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// Resources of the chatd container. By default 100m of processor without a limit (throttling loses elections)
    /// and 1Gi of memory as request and limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("!has(self.requests) || !has(self.limits) || !('memory' in self.requests) || !('memory' in self.limits) || \
             (isQuantity(string(self.requests['memory'])) && isQuantity(string(self.limits['memory'])) && \
              quantity(string(self.requests['memory'])).compareTo(quantity(string(self.limits['memory']))) <= 0)")
            .message("requests.memory must be a quantity, such as 1Gi, and at most limits.memory: else no pod can be made"),
        validation = Rule::new("!has(self.requests) || !has(self.limits) || !('cpu' in self.requests) || !('cpu' in self.limits) || \
             (isQuantity(string(self.requests['cpu'])) && isQuantity(string(self.limits['cpu'])) && \
              quantity(string(self.requests['cpu'])).compareTo(quantity(string(self.limits['cpu']))) <= 0)")
            .message("requests.cpu must be a quantity, such as 500m, and at most limits.cpu: else no pod can be made")
    )]
    pub resources: Option<ResourceRequirements>,
    /// Which user the pods run as.
    // Not written where it is the default: what pods are made from is compared as text, and a field that is added must
    // not restart them.
    #[serde(default, skip_serializing_if = "PodUser::is_fixed")]
    pub user: PodUser,
    /// Environment of the chatd container. Names that begin with `QUORATE_` belong to the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.all(e, !e.name.startsWith('QUORATE_'))")
        .message("names that begin with QUORATE_ belong to the operator: use the fields of the spec instead"))]
    pub env: Vec<EnvVar>,
}

/// Which user the pods run as. Never as root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodUser {
    /// User and group 65532, the image's own, and volumes of that group.
    #[default]
    Fixed,
    /// Whom the platform gives: nothing is said about user and groups, as OpenShift wants it. Elsewhere the image's own
    /// user, and then the storage must let it write.
    Assigned,
}

impl PodUser {
    fn is_fixed(&self) -> bool {
        *self == Self::Fixed
    }
}

/// Labels and annotations of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Labels. Those that the operator and Kubernetes set cannot be set here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('chat.quorate.dev/') && \
         !(key in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component', 'app.kubernetes.io/managed-by', \
                   'controller-revision-hash', 'statefulset.kubernetes.io/pod-name', 'apps.kubernetes.io/pod-index']))")
        .message("the labels app.kubernetes.io/name, instance, component and managed-by, those under chat.quorate.dev/ and those of StatefulSets belong to the operator and to Kubernetes: take other keys"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('chat.quorate.dev/'))")
        .message("annotations under chat.quorate.dev/ belong to the operator: take other keys"))]
    pub annotations: BTreeMap<String, String>,
}
