use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Service that clients connect to. Traffic is routed to every ready pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Type of the Service: `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(default)]
    pub r#type: ServiceType,
    /// Annotations of the Service, for example those that a load balancer reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// Type of a Service, as described in
/// <https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

impl ServiceType {
    /// Returns the name that Kubernetes uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Protection against drains that would take down more than one pod at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionBudgetSpec {
    /// Enables the PodDisruptionBudget. A cluster with one replica never has one, because it would only block drains.
    #[serde(default = "budget_enabled")]
    pub enabled: bool,
}

fn budget_enabled() -> bool {
    true
}

impl Default for DisruptionBudgetSpec {
    fn default() -> Self {
        Self { enabled: budget_enabled() }
    }
}
