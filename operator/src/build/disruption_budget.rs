use super::{Carried, metadata};
use crate::{cluster::Cluster, names};
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

/// One pod at a time may be drained; no pod while there are voters that have none, so that losing one more would lose
/// the quorum. No budget at one replica, where it would only block drains.
pub(super) fn disruption_budget(cluster: &Cluster, carried: &Carried) -> Option<PodDisruptionBudget> {
    let pods = carried.replicas.unwrap_or(cluster.spec.replicas);
    if (pods == 1 && !carried.fragile) || !cluster.spec.pod_disruption_budget.enabled {
        return None;
    }
    Some(PodDisruptionBudget {
        metadata: metadata(cluster, cluster.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(i32::from(!carried.fragile))),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&cluster.name)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
