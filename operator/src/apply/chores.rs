use super::{ApplyError, peer_tls};
use crate::{cluster::Cluster, names::MANAGER, observe::Seen, plan::Chore};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use quorate_crd::{annotation, label};
use serde_json::json;

pub(super) async fn carry_out(
    client: &Client,
    cluster: &Cluster,
    seen: &Seen,
    chore: &Chore,
) -> Result<(), ApplyError> {
    let namespace = &cluster.namespace;
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let outcome = match chore {
        Chore::IssuePeerTls => return peer_tls::issue(client, cluster, seen).await,
        Chore::StampClaim { claim, cluster_id, node_id } => {
            let annotations = json!({ annotation::CLUSTER_ID: cluster_id, annotation::NODE_ID: node_id.to_string() });
            let patch = json!({"metadata": {"annotations": annotations}});
            claims(client, namespace).patch(claim, &params, &Patch::Merge(patch)).await.map(drop)
        }
        Chore::GrowClaim { claim, size } => {
            let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            claims(client, namespace).patch(claim, &params, &Patch::Merge(patch)).await.map(drop)
        }
        Chore::LabelRole { pod, role } => {
            // The pod that was seen: its successor may have another role.
            let Some(uid) = seen.pod_uids.get(pod) else { return Ok(()) };
            let patch = json!({"metadata": {"uid": uid, "labels": { label::ROLE: role }}});
            Api::<Pod>::namespaced(client.clone(), namespace).patch(pod, &params, &Patch::Merge(patch)).await.map(drop)
        }
        Chore::PruneConfig { name } => Api::<ConfigMap>::namespaced(client.clone(), namespace)
            .delete(name, &DeleteParams::default())
            .await
            .map(drop),
    };
    match outcome {
        Ok(()) => Ok(()),
        // Gone or replaced since it was seen: its successor is seen next time.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(ApplyError::api("carry out", format!("{chore:?}"))(error)),
    }
}

fn claims(client: &Client, namespace: &str) -> Api<PersistentVolumeClaim> {
    Api::namespaced(client.clone(), namespace)
}
