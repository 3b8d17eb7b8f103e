use super::{CarriedState, object_meta};
use crate::{cluster::ValidCluster, names};
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

/// Builds the PodDisruptionBudget, which lets one pod at a time be drained. While the cluster is fragile, for instance
/// because voters have no pod, no pod may be drained, because losing one more would lose the quorum. Returns `None` if
/// the budget is disabled, or at one replica, where it would only block drains.
pub(super) fn disruption_budget(cluster: &ValidCluster, carried: &CarriedState) -> Option<PodDisruptionBudget> {
    let pods = carried.replicas.unwrap_or(cluster.spec.replicas);
    if (pods == 1 && !carried.fragile) || !cluster.spec.pod_disruption_budget.enabled {
        return None;
    }
    Some(PodDisruptionBudget {
        metadata: object_meta(cluster, cluster.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(i32::from(!carried.fragile))),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector_labels(&cluster.name)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
