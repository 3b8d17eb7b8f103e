use super::{AdminCall, ApiRequest, ApplyError, chores::data_owner, within_time};
use crate::{
    cluster::ValidCluster,
    names,
    observe::ClusterObservation,
    observed::ClusterMarker,
    plan::PlanStep,
    pod_watch::{WatchHub, to_proto},
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};
use quorate_crd::{RetentionPolicy, annotation};
use quorate_wire::admin::v1::{
    AddLearnerRequest, ChangeMembershipRequest, InitializeRequest, TransferLeaderRequest, admin_client::AdminClient,
};
use std::{future::Future, time::Duration};
use tokio::time::timeout;
use tonic::{Response, Status, transport::Channel};

/// Longest wait for an answer of the admin API. A change of voters waits for two majorities and is itself bounded by
/// chatd; if the answer is late, the next reconcile shows the outcome.
const CALL: Duration = Duration::from_secs(10);

pub(super) async fn take_step(
    client: &Client,
    hub: &WatchHub,
    cluster: &ValidCluster,
    seen: &ClusterObservation,
    step: &PlanStep,
) -> Result<(), ApplyError> {
    match step {
        PlanStep::CreateMarker(marker) => create_marker(client, cluster, marker).await,
        PlanStep::UpdateMarker(marker) => update_marker(client, cluster, marker).await,
        PlanStep::Initialize { pod, cluster_id, voters } => {
            let request = InitializeRequest {
                cluster_id: cluster_id.clone(),
                server_name: cluster.spec.server_name.clone(),
                voters: voters.iter().map(to_proto).collect(),
            };
            AdminCaller::new(hub, seen, pod)?
                .call(AdminCall::Initialize, async |mut admin| admin.initialize(request).await)
                .await
        }
        PlanStep::AddLearner { leader, node, cluster_id } => {
            let request = AddLearnerRequest { node: Some(to_proto(node)), cluster_id: cluster_id.clone() };
            AdminCaller::new(hub, seen, leader)?
                .call(AdminCall::AddLearner, async |mut admin| admin.add_learner(request).await)
                .await
        }
        PlanStep::ChangeMembership { leader, voters, expected, remove_learners } => {
            let request = ChangeMembershipRequest {
                voters: voters.iter().copied().collect(),
                // Compare-and-swap: the leader refuses with ABORTED if the voters have changed since they were
                // observed.
                expected_voters: expected.iter().copied().collect(),
                // A removed voter has lost its volume, or its pod is about to go: it is of no use as a learner either.
                retain_removed: false,
                max_lag: crate::quorum::MAX_LAG,
                remove_learners: remove_learners.iter().copied().collect(),
            };
            AdminCaller::new(hub, seen, leader)?
                .call(AdminCall::ChangeMembership, async |mut admin| admin.change_membership(request).await)
                .await
        }
        PlanStep::TransferLeader { leader, to } => {
            // 0 stands for the limit of chatd itself, which is shorter than `CALL`.
            let request = TransferLeaderRequest { to_node_id: *to, timeout_ms: 0 };
            AdminCaller::new(hub, seen, leader)?
                .call(AdminCall::TransferLeader, async |mut admin| admin.transfer_leader(request).await)
                .await
        }
        // Carried out by applying the StatefulSet.
        PlanStep::SetPartition(_) | PlanStep::RenewOnDelete => Ok(()),
        // Deleted, not evicted: the pod counts for no quorum, and the budget may be protecting the others from this
        // very state.
        PlanStep::ReplacePod { pod, uid } => delete_pod(client, cluster, pod, uid).await,
        PlanStep::DeletePod { pod, uid } => remove_pod(client, cluster, seen, pod, uid).await,
    }
}

/// Client of one pod's admin API.
struct AdminCaller<'a> {
    pod: &'a str,
    client: AdminClient<Channel>,
}

impl<'a> AdminCaller<'a> {
    fn new(hub: &WatchHub, seen: &ClusterObservation, pod: &'a str) -> Result<Self, ApplyError> {
        // By uid: the plan was made for this pod, and not for its successor of the same name.
        let channel = seen.pod_uids.get(pod).and_then(|uid| hub.channel(uid));
        let channel = channel.ok_or_else(|| ApplyError::NoPod(pod.to_owned()))?;
        Ok(Self { pod, client: AdminClient::new(channel) })
    }

    async fn call<T, F>(
        self,
        call: AdminCall,
        request: impl FnOnce(AdminClient<Channel>) -> F,
    ) -> Result<(), ApplyError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        match timeout(CALL, request(self.client)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(ApplyError::RefusedCall { pod: self.pod.to_owned(), call, status }),
            Err(_) => Err(ApplyError::Slow { pod: self.pod.to_owned(), call }),
        }
    }
}

async fn create_marker(client: &Client, cluster: &ValidCluster, marker: &ClusterMarker) -> Result<(), ApplyError> {
    let map = marker_map(cluster, marker);
    let name = format!("ConfigMap/{}", names::marker_name(&cluster.name));
    // Created, not applied: of two operators one gets AlreadyExists and observes again.
    within_time(ApiRequest::Create, &name, marker_api(client, cluster).create(&PostParams::default(), &map))
        .await
        .map(drop)
}

/// Replaces the marker by compare-and-swap: the API server rejects the write unless the marker has the version that was
/// read.
async fn update_marker(client: &Client, cluster: &ValidCluster, marker: &ClusterMarker) -> Result<(), ApplyError> {
    let map = marker_map(cluster, marker);
    let name = names::marker_name(&cluster.name);
    let what = format!("ConfigMap/{name}");
    within_time(ApiRequest::Update, &what, marker_api(client, cluster).replace(&name, &PostParams::default(), &map))
        .await
        .map(drop)
}

fn marker_api(client: &Client, cluster: &ValidCluster) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), &cluster.namespace)
}

/// Builds the marker ConfigMap. The marker has an owner only if the volumes have one: it must outlive the ChatCluster
/// as they do, and be deleted when they are.
fn marker_map(cluster: &ValidCluster, marker: &ClusterMarker) -> ConfigMap {
    let policy = cluster.spec.storage.persistent_volume_claim_retention_policy.when_deleted;
    let voters: Vec<String> = marker.voters.iter().map(u64::to_string).collect();
    let data = [
        ("clusterId", marker.cluster_id.clone()),
        ("serverName", marker.server_name.clone()),
        ("initialized", marker.initialized.to_string()),
        ("voters", voters.join(",")),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::marker_name(&cluster.name)),
            labels: Some(names::object_labels(&cluster.name)),
            annotations: Some([(annotation::CLUSTER_ID.to_owned(), marker.cluster_id.clone())].into()),
            resource_version: marker.resource_version.clone(),
            owner_references: (policy == RetentionPolicy::Delete).then(|| vec![data_owner(cluster)]),
            ..ObjectMeta::default()
        },
        data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
        ..ConfigMap::default()
    }
}

/// Removes a pod. A ready pod is evicted, so that the PodDisruptionBudget accounts for whatever else the cluster's
/// owner or a drain is doing at this moment. A broken pod is deleted at once, because that reduces no service.
async fn remove_pod(
    client: &Client,
    cluster: &ValidCluster,
    seen: &ClusterObservation,
    pod: &str,
    uid: &str,
) -> Result<(), ApplyError> {
    let mut views = seen.observed.slots.iter().chain(&seen.observed.beyond).filter_map(|slot| slot.pod.as_ref());
    if views.any(|view| view.uid == uid && view.ready && !view.deleting) {
        evict_pod(client, cluster, pod, uid).await
    } else {
        delete_pod(client, cluster, pod, uid).await
    }
}

async fn evict_pod(client: &Client, cluster: &ValidCluster, pod: &str, uid: &str) -> Result<(), ApplyError> {
    let pods = Api::<Pod>::namespaced(client.clone(), &cluster.namespace);
    // Built by hand: `Api::evict` of kube 5.0 writes `delete_options`, which the API server does not know, and so loses
    // the precondition.
    let eviction = serde_json::json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": cluster.namespace},
        "deleteOptions": {"preconditions": only_this(uid)},
    });
    let params = PostParams::default();
    let evicting = pods.create_subresource::<_, serde_json::Value>("eviction", pod, &params, &eviction);
    unless_gone(within_time(ApiRequest::Evict, &format!("Pod/{pod}"), evicting).await.map(drop))
}

async fn delete_pod(client: &Client, cluster: &ValidCluster, pod: &str, uid: &str) -> Result<(), ApplyError> {
    let pods = Api::<Pod>::namespaced(client.clone(), &cluster.namespace);
    let params = DeleteParams::default().preconditions(only_this(uid));
    unless_gone(within_time(ApiRequest::Delete, &format!("Pod/{pod}"), pods.delete(pod, &params)).await.map(drop))
}

/// Returns preconditions that match only the pod that was observed, not its successor of the same name.
fn only_this(uid: &str) -> Preconditions {
    Preconditions { uid: Some(uid.to_owned()), resource_version: None }
}

fn unless_gone(outcome: Result<(), ApplyError>) -> Result<(), ApplyError> {
    match outcome {
        // A conflict means that the uid differs, so the pod has already been replaced.
        Err(ApplyError::Api { source: kube::Error::Api(status), .. })
            if status.is_not_found() || status.is_conflict() =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, observe::marker_of};

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let marker = ClusterMarker {
            cluster_id: "c".into(),
            server_name: "chat.example.org".into(),
            initialized: true,
            voters: [1, 2, 9_007_199_254_740_993].into(),
            resource_version: Some("7".into()),
        };
        let map = marker_map(&fixture::cluster(), &marker);
        assert!(map.metadata.owner_references.is_none());
        assert_eq!(marker_of(&map), Some(marker));
    }
}
