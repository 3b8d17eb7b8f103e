use super::{
    ApiRequest, ApplyError, WriteRefusal,
    ledger::{WriteDue, WriteLedger},
    peer_tls, within_time,
};
use crate::{
    cluster::ValidCluster, names::MANAGER, observe::ClusterObservation, observed::OwnedObject, plan::PlanChore,
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
};
use quorate_crd::{annotation, label};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// Prefix that distinguishes the ledger keys of chores from those of objects.
const PREFIX: &str = "chore ";

/// Returns the key under which the ledger remembers the refusals of a chore.
pub(super) fn chore_key(chore: &PlanChore) -> String {
    format!("{PREFIX}{chore:?}")
}

pub(super) fn is_chore(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Carries out the chores independently of each other and returns the refusals: a refused chore does not prevent the
/// others. Only a missing answer ends the round, because the next chore would wait as long; the next reconcile finds
/// what is left undone.
pub(super) async fn carry_out_all(
    client: &Client,
    ledger: &WriteLedger,
    cluster: &ValidCluster,
    seen: &ClusterObservation,
    chores: &[PlanChore],
) -> Vec<WriteRefusal> {
    let mut refusals = Vec::new();
    for chore in chores {
        let key = chore_key(chore);
        // The key contains the whole chore, so there is nothing left that a digest could tell apart.
        let wanted = [0; 32];
        if let WriteDue::Later(refusal) = ledger.due(&cluster.key(), &key, &wanted, None) {
            refusals.push(refusal);
            continue;
        }
        match carry_out(client, cluster, seen, chore).await {
            Ok(()) => ledger.done(&cluster.key(), &key),
            Err(error) => {
                let refusal = WriteRefusal::new(&target_object(cluster, chore), &error);
                refusals.push(ledger.refused(&cluster.key(), &key, wanted, refusal));
                if matches!(error, ApplyError::Silent { .. }) {
                    break;
                }
            }
        }
    }
    refusals
}

/// Returns the object that a chore writes, as `Kind/name`.
fn target_object(cluster: &ValidCluster, chore: &PlanChore) -> String {
    match chore {
        PlanChore::IssuePeerTls => format!("Secret/{}", crate::names::peer_tls(&cluster.name)),
        PlanChore::StampClaim { claim, .. }
        | PlanChore::RetireClaim { claim, .. }
        | PlanChore::GrowClaim { claim, .. } => {
            format!("PersistentVolumeClaim/{claim}")
        }
        PlanChore::LabelRole { pod, .. } => format!("Pod/{pod}"),
        PlanChore::PruneConfig { name } | PlanChore::SetOwner { object: OwnedObject::Marker(name), .. } => {
            format!("ConfigMap/{name}")
        }
        PlanChore::SetOwner { object: OwnedObject::Secret(name), .. } => format!("Secret/{name}"),
        PlanChore::SetOwner { object: OwnedObject::Claim(name), .. } => format!("PersistentVolumeClaim/{name}"),
    }
}

async fn carry_out(
    client: &Client,
    cluster: &ValidCluster,
    seen: &ClusterObservation,
    chore: &PlanChore,
) -> Result<(), ApplyError> {
    let namespace = &cluster.namespace;
    // For merge patches: under server-side apply, each chore would remove the fields that an earlier one of this
    // manager had set.
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let object = target_object(cluster, chore);
    let outcome = match chore {
        PlanChore::IssuePeerTls => return peer_tls::issue_certificates(client, cluster, seen).await,
        PlanChore::StampClaim { claim, cluster_id, node_id } => {
            // A `null` removes the annotation.
            let annotations = json!({
                annotation::CLUSTER_ID: cluster_id,
                annotation::NODE_ID: node_id.to_string(),
                annotation::RETIRED: null,
            });
            let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
            within_time(ApiRequest::Annotate, &object, claim_api(client, namespace).patch(claim, &params, &patch))
                .await
                .map(drop)
        }
        PlanChore::RetireClaim { claim, node_id } => {
            let annotations = json!({ annotation::RETIRED: node_id.to_string() });
            let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
            within_time(ApiRequest::Annotate, &object, claim_api(client, namespace).patch(claim, &params, &patch))
                .await
                .map(drop)
        }
        PlanChore::GrowClaim { claim, size } => {
            let patch = Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": size}}}}));
            within_time(ApiRequest::Expand, &object, claim_api(client, namespace).patch(claim, &params, &patch))
                .await
                .map(drop)
        }
        PlanChore::LabelRole { pod, role } => {
            // Only the pod that was observed: its successor may have another role.
            let Some(uid) = seen.pod_uids.get(pod) else { return Ok(()) };
            let patch = Patch::Merge(json!({"metadata": {"uid": uid, "labels": { label::ROLE: role.as_str() }}}));
            let pods = Api::<Pod>::namespaced(client.clone(), namespace);
            within_time(ApiRequest::Label, &object, pods.patch(pod, &params, &patch)).await.map(drop)
        }
        PlanChore::SetOwner { object: owned_object, owned } => {
            let patch = owner_patch(cluster, owned_object, *owned);
            match owned_object {
                OwnedObject::Secret(name) => set_owner::<Secret>(client, namespace, name, &object, &patch).await,
                OwnedObject::Claim(name) => {
                    set_owner::<PersistentVolumeClaim>(client, namespace, name, &object, &patch).await
                }
                OwnedObject::Marker(name) => set_owner::<ConfigMap>(client, namespace, name, &object, &patch).await,
            }
        }
        PlanChore::PruneConfig { name } => {
            let configs = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            // Without a precondition: the name contains a hash of the content, so a successor has the same content.
            within_time(ApiRequest::Delete, &object, configs.delete(name, &DeleteParams::default())).await.map(drop)
        }
    };
    match outcome {
        // Deleted or replaced since it was observed: the next reconcile sees the successor.
        Err(ApplyError::Api { source: kube::Error::Api(status), .. })
            if status.is_not_found() || status.is_conflict() =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

/// Returns a patch that adds or removes the ChatCluster as owner. Owners are merged by uid, so no other owner is
/// touched.
fn owner_patch(cluster: &ValidCluster, object: &OwnedObject, owned: bool) -> Value {
    let owner = match object {
        _ if !owned => json!({"$patch": "delete", "uid": cluster.uid}),
        OwnedObject::Secret(_) => json!(cluster.owner),
        OwnedObject::Claim(_) | OwnedObject::Marker(_) => json!(data_owner(cluster)),
    };
    json!({"metadata": {"ownerReferences": [owner]}})
}

/// Returns the owner reference for objects that hold data. The ChatCluster does not control them: they are only to be
/// deleted when it is.
pub(super) fn data_owner(cluster: &ValidCluster) -> OwnerReference {
    OwnerReference { controller: None, block_owner_deletion: None, ..cluster.owner.clone() }
}

async fn set_owner<K>(
    client: &Client,
    namespace: &str,
    name: &str,
    object: &str,
    patch: &Value,
) -> Result<(), ApplyError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let api = Api::<K>::namespaced(client.clone(), namespace);
    within_time(ApiRequest::SetOwner, object, api.patch(name, &params, &Patch::Strategic(patch))).await.map(drop)
}

fn claim_api(client: &Client, namespace: &str) -> Api<PersistentVolumeClaim> {
    Api::namespaced(client.clone(), namespace)
}
