use super::{ConditionReason, whole_seconds};
use crate::names::MANAGER;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use quorate_crd::{ChatCluster, ChatClusterStatus, condition};
use serde_json::json;

/// The status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the status of {name}")]
pub struct PatchError {
    name: String,
    #[source]
    source: kube::Error,
}

/// Writes the status if it differs from the one that the object has. Returns `true` if it was written.
///
/// # Errors
/// Fails if the API server refuses the write.
pub async fn patch_status(
    client: &Client,
    object: &ChatCluster,
    status: ChatClusterStatus,
) -> Result<bool, PatchError> {
    if object.status.as_ref() == Some(&status) {
        return Ok(false);
    }
    let name = object.name_any();
    let api = Api::<ChatCluster>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let body = json!({
        "apiVersion": "chat.quorate.dev/v1alpha1",
        "kind": "ChatCluster",
        // Another ChatCluster of the same name has another status.
        "metadata": {"name": name, "uid": object.uid()},
        "status": status,
    });
    // Applied, so that fields that are absent are removed.
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(body)).await {
        Ok(_) => Ok(true),
        // The object is deleted, or another one by now, which has its own reconcile.
        Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => Ok(false),
        Err(source) => Err(PatchError { name, source }),
    }
}

/// Reports in the status of an object that the object cannot be read. The rest of its status stays.
///
/// # Errors
/// Fails if the API server refuses the write.
pub async fn patch_unreadable(client: &Client, metadata: &ObjectMeta, words: &str) -> Result<(), PatchError> {
    let name = metadata.name.clone().unwrap_or_default();
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let generation = metadata.generation.unwrap_or_default();
    let message = format!("the operator cannot read this object and leaves it unchanged: {words}");
    let now = Time(whole_seconds(Timestamp::now()));
    let condition = |(kind, value): (&str, &str)| Condition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: ConditionReason::Unreadable.as_str().to_owned(),
        message: message.clone(),
        observed_generation: Some(generation),
        last_transition_time: now.clone(),
    };
    let told = [(condition::STALLED, "True"), (condition::RECONCILING, "False"), (condition::READY, "False")];
    let body = json!({
        "apiVersion": "chat.quorate.dev/v1alpha1",
        "kind": "ChatCluster",
        "metadata": {"name": name, "uid": metadata.uid},
        "status": {"observedGeneration": generation, "conditions": told.map(condition)},
    });
    // With a field manager of its own: under the usual one, fields that are absent here would be removed.
    let params = PatchParams::apply(&format!("{MANAGER}-guard")).force();
    let objects: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &namespace, &ApiResource::erase::<ChatCluster>(&()));
    match objects.patch_status(&name, &params, &Patch::Apply(body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => Ok(()),
        Err(source) => Err(PatchError { name, source }),
    }
}

/// Returns the status of an object whose spec cannot be carried out: as it was, but stalled.
#[must_use]
pub fn stalled_status(object: &ChatCluster, reason: ConditionReason, message: &str) -> ChatClusterStatus {
    let told = [
        (condition::STALLED, "True"),
        (condition::RECONCILING, "False"),
        (condition::READY, "False"),
        // Not observed: the pods go on as they are, healthy or not.
        (condition::AVAILABLE, "Unknown"),
        (condition::STORAGE_HEALTHY, "Unknown"),
    ];
    let generation = object.metadata.generation.unwrap_or_default();
    ChatClusterStatus { observed_generation: generation, ..with_conditions(object, &told, reason, message) }
}

/// Returns the status of an object that could not be observed for long: as it was, but with nothing certain any more.
#[must_use]
pub fn unobserved_status(object: &ChatCluster, words: &str) -> ChatClusterStatus {
    let told = [condition::AVAILABLE, condition::READY, condition::RECONCILING, condition::STORAGE_HEALTHY];
    let message = format!("the operator cannot observe the cluster, which may well be serving: {words}");
    with_conditions(object, &told.map(|kind| (kind, "Unknown")), ConditionReason::NotObserved, &message)
}

fn with_conditions(
    object: &ChatCluster,
    told: &[(&str, &str)],
    reason: ConditionReason,
    message: &str,
) -> ChatClusterStatus {
    let mut status = object.status.clone().unwrap_or_default();
    for (kind, value) in told {
        let old = status.conditions.iter().find(|old| old.type_ == *kind && old.status == *value);
        let since = old.map_or_else(|| Time(whole_seconds(Timestamp::now())), |old| old.last_transition_time.clone());
        status.conditions.retain(|old| old.type_ != *kind);
        status.conditions.push(Condition {
            type_: (*kind).to_owned(),
            status: (*value).to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.to_owned(),
            observed_generation: object.metadata.generation,
            last_transition_time: since,
        });
    }
    // In the same order as elsewhere, because another order would be another status.
    status.conditions.sort_by(|one, two| one.type_.cmp(&two.type_));
    status
}
