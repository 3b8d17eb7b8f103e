use super::whole_seconds;
use crate::names::MANAGER;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
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

/// Writes the status, if it differs from the one that the object has.
///
/// # Errors
/// When the API server does not take it.
pub async fn patch(client: &Client, object: &ChatCluster, status: ChatClusterStatus) -> Result<bool, PatchError> {
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
    // Applied, so that fields that are absent now are removed.
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(body)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => Ok(false),
        Err(source) => Err(PatchError { name, source }),
    }
}

/// The status of an object whose spec cannot be carried out: as it was, but stalled.
#[must_use]
pub fn stalled(object: &ChatCluster, reason: &str, message: &str) -> ChatClusterStatus {
    let generation = object.metadata.generation.unwrap_or_default();
    let mut status = object.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    for (kind, value) in [(condition::STALLED, "True"), (condition::RECONCILING, "False"), (condition::READY, "False")]
    {
        let old = status.conditions.iter().find(|old| old.type_ == kind && old.status == value);
        let since = old.map_or_else(|| Time(whole_seconds(Timestamp::now())), |old| old.last_transition_time.clone());
        status.conditions.retain(|old| old.type_ != kind);
        status.conditions.push(Condition {
            type_: kind.to_owned(),
            status: value.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: Some(generation),
            last_transition_time: since,
        });
    }
    status
}
