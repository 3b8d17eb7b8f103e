use k8s_openapi::api::core::v1::{Affinity, EnvVar, ResourceRequirements, Toleration, TopologySpreadConstraint};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Customization of the pods. Only the listed fields can be set; the operator controls everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations added to those that the operator sets.
    #[serde(default)]
    pub metadata: PodMetadata,
    /// Affinity and anti-affinity rules that decide where the pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Rules for spreading the pods over the topology. By default, pods are spread over nodes and zones as far as
    /// possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Labels that a node must have to run the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Name of the PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,
    /// Compute resources of the chatd container. The default is a request of 100m CPU without a limit, because
    /// throttling loses elections, and 1Gi of memory as both request and limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("!has(self.requests) || !has(self.limits) || !('memory' in self.requests) || !('memory' in self.limits) || \
             (isQuantity(string(self.requests['memory'])) && isQuantity(string(self.limits['memory'])) && \
              quantity(string(self.requests['memory'])).compareTo(quantity(string(self.limits['memory']))) <= 0)")
            .message("requests.memory must be a quantity, such as 1Gi, and at most limits.memory, or no pod can be created"),
        validation = Rule::new("!has(self.requests) || !has(self.limits) || !('cpu' in self.requests) || !('cpu' in self.limits) || \
             (isQuantity(string(self.requests['cpu'])) && isQuantity(string(self.limits['cpu'])) && \
              quantity(string(self.requests['cpu'])).compareTo(quantity(string(self.limits['cpu']))) <= 0)")
            .message("requests.cpu must be a quantity, such as 500m, and at most limits.cpu, or no pod can be created")
    )]
    pub resources: Option<ResourceRequirements>,
    /// User that the pods run as: `Fixed` is the image's own user, `Assigned` leaves the choice to the platform.
    // Omitted if it has the default: the inputs of the pod template are compared as text, and a newly added field must
    // not restart pods.
    #[serde(default, skip_serializing_if = "PodUser::is_fixed")]
    pub user: PodUser,
    /// Environment variables of the chatd container. Names that begin with `QUORATE_` are reserved for the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.all(e, !e.name.startsWith('QUORATE_'))")
        .message("names that begin with QUORATE_ belong to the operator: use the fields of the spec instead"))]
    pub env: Vec<EnvVar>,
}

/// User that the pods run as, never root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodUser {
    /// User and group 65532, which are the image's own; volumes belong to that group.
    #[default]
    Fixed,
    /// User assigned by the platform: the pods specify neither user nor groups, as OpenShift requires. On other
    /// platforms they run as the image's own user, and the storage must let that user write.
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
    /// Labels to add to the pods. Labels that the operator or Kubernetes sets are not allowed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('chat.quorate.dev/') && \
         !(key in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component', 'app.kubernetes.io/managed-by', \
                   'controller-revision-hash', 'statefulset.kubernetes.io/pod-name', 'apps.kubernetes.io/pod-index']))")
        .message("the labels app.kubernetes.io/name, instance, component and managed-by, those under chat.quorate.dev/ and those of StatefulSets belong to the operator and to Kubernetes: use other keys"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add to the pods. Keys under `chat.quorate.dev/` are reserved for the operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('chat.quorate.dev/'))")
        .message("annotations under chat.quorate.dev/ belong to the operator: use other keys"))]
    pub annotations: BTreeMap<String, String>,
}
