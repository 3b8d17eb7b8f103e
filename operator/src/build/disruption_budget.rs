use super::metadata;
use crate::{cluster::Cluster, names};
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

/// One pod at a time may be drained. None at one replica, where it would only block drains.
pub(super) fn disruption_budget(cluster: &Cluster) -> Option<PodDisruptionBudget> {
    if cluster.spec.replicas == 1 || !cluster.spec.pod_disruption_budget.enabled {
        return None;
    }
    Some(PodDisruptionBudget {
        metadata: metadata(cluster, cluster.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&cluster.name)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
