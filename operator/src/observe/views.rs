//! From Kubernetes objects to what matters of them.

use crate::{
    build::{Carried, Recorded},
    observed::{ClaimView, ConfigView, Marker, NodeId, PodView, StatefulSetView},
};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, ContainerState, ContainerStatus, PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{api::ObjectList, core::PartialObjectMeta};
use quorate_crd::{annotation, label, parse_quantity};
use std::collections::BTreeSet;

const REVISION: &str = "controller-revision-hash";

fn annotation_of(metadata: &ObjectMeta, key: &str) -> Option<String> {
    metadata.annotations.as_ref()?.get(key).cloned()
}

fn label_of(metadata: &ObjectMeta, key: &str) -> Option<String> {
    metadata.labels.as_ref()?.get(key).cloned()
}

pub(super) fn marker(map: &ConfigMap) -> Option<Marker> {
    let data = map.data.as_ref()?;
    Some(Marker {
        cluster_id: data.get("clusterId")?.clone(),
        server_name: data.get("serverName").cloned().unwrap_or_default(),
        initialized: data.get("initialized").is_some_and(|text| text == "true"),
        voters: data
            .get("voters")
            .map(|text| text.split(',').filter_map(|id| id.parse::<NodeId>().ok()).collect())
            .unwrap_or_default(),
        resource_version: map.metadata.resource_version.clone(),
    })
}

pub(super) fn stateful_set(set: &StatefulSet) -> StatefulSetView {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let rolling = spec.update_strategy.and_then(|strategy| strategy.rolling_update);
    let recorded = annotation_of(&set.metadata, annotation::POD_INPUTS)
        .zip(annotation_of(&set.metadata, annotation::TEMPLATE))
        .and_then(|(inputs, text)| Some(Recorded { inputs, pod: serde_json::from_str(&text).ok()? }));
    let update_revision = status.update_revision.unwrap_or_default();
    StatefulSetView {
        settled: status.observed_generation == set.metadata.generation && !update_revision.is_empty(),
        partition: rolling.and_then(|rolling| rolling.partition).unwrap_or_default(),
        current_revision: status.current_revision.unwrap_or_default(),
        update_revision,
        carried: Carried { recorded, claim_templates: spec.volume_claim_templates, partition: None },
    }
}

pub(super) fn pod(pod: &Pod) -> PodView {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |name: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == name);
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let unscheduled = condition("PodScheduled")
        .filter(|condition| condition.status == "False")
        .map(|condition| format!("is not scheduled: {}", condition.message.clone().unwrap_or_default()));
    PodView {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        address: status.pod_ip.clone().filter(|address| !address.is_empty()),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        revision: label_of(&pod.metadata, REVISION).unwrap_or_default(),
        role: label_of(&pod.metadata, label::ROLE),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        trouble: containers.iter().find_map(trouble).or(unscheduled),
    }
}

/// A container that waits for something that does not come by itself, or that has just ended.
fn trouble(container: &ContainerStatus) -> Option<String> {
    let ContainerState { waiting, terminated, .. } = container.state.clone()?;
    if let Some(waiting) = waiting {
        let reason = waiting.reason.unwrap_or_default();
        // The ordinary beginning of a pod.
        if matches!(reason.as_str(), "ContainerCreating" | "PodInitializing" | "") {
            return None;
        }
        return Some(match last_words(container) {
            Some(words) => format!("does not start ({reason}; it last ended with {words})"),
            None => format!("does not start ({reason}: {})", in_short(&waiting.message.unwrap_or_default())),
        });
    }
    terminated.map(|terminated| format!("has ended with code {}", terminated.exit_code))
}

/// Messages of image pulls run to several lines; their end says why.
fn in_short(message: &str) -> String {
    const MOST: usize = 120;
    let skipped = message.chars().count().saturating_sub(MOST);
    if skipped == 0 { message.to_owned() } else { format!("…{}", message.chars().skip(skipped).collect::<String>()) }
}

fn last_words(container: &ContainerStatus) -> Option<String> {
    let ended = container.last_state.as_ref()?.terminated.as_ref()?;
    let message = ended.message.as_deref().and_then(|message| message.trim().lines().last()).unwrap_or_default();
    Some(format!("code {} {}", ended.exit_code, in_short(message)).trim().to_owned())
}

pub(super) fn claim(claim: &PersistentVolumeClaim) -> ClaimView {
    let spec = claim.spec.clone().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    let requested = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned());
    let capacity = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    ClaimView {
        name: claim.metadata.name.clone().unwrap_or_default(),
        cluster_id: annotation_of(&claim.metadata, annotation::CLUSTER_ID),
        node_id: annotation_of(&claim.metadata, annotation::NODE_ID).and_then(|id| id.parse().ok()),
        deleting_since: claim.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        requested: requested.and_then(|size| parse_quantity(&size).ok()).unwrap_or_default(),
        capacity: capacity.and_then(|size| parse_quantity(size).ok()),
        volume: spec.volume_name,
        resize_pending: status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "FileSystemResizePending" && condition.status == "True"),
    }
}

pub(super) fn configs(configs: &ObjectList<PartialObjectMeta<ConfigMap>>, pods: &ObjectList<Pod>) -> Vec<ConfigView> {
    let mounted: BTreeSet<&str> = pods
        .iter()
        .filter_map(|pod| pod.spec.as_ref()?.volumes.as_ref())
        .flatten()
        .filter_map(|volume| Some(volume.config_map.as_ref()?.name.as_str()))
        .collect();
    let names = configs.iter().filter_map(|config| config.metadata.name.clone());
    names.map(|name| ConfigView { used: mounted.contains(name.as_str()), name }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_pod(status: serde_json::Value) -> PodView {
        let object = json!({
            "metadata": {"name": "team-0", "uid": "u", "labels": {REVISION: "team-abc", "chat.quorate.dev/role": "leader"}},
            "status": status,
        });
        pod(&serde_json::from_value(object).expect("a pod"))
    }

    #[test]
    fn a_running_pod_has_no_trouble() {
        let view = check_pod(json!({
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "chatd", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {}}}],
        }));
        assert_eq!(view.trouble, None);
        assert!(view.ready);
        assert_eq!((view.revision.as_str(), view.role.as_deref()), ("team-abc", Some("leader")));
    }

    #[test]
    fn a_crashing_pod_says_its_last_words() {
        let view = check_pod(json!({
            "containerStatuses": [{"name": "chatd", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"exitCode": 2, "message": "unknown key sever_name\n"}}}],
        }));
        let trouble = view.trouble.expect("trouble");
        assert!(trouble.contains("CrashLoopBackOff") && trouble.contains("unknown key sever_name"), "{trouble}");
    }

    #[test]
    fn a_starting_pod_is_not_in_trouble() {
        let view = check_pod(json!({
            "containerStatuses": [{"name": "chatd", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ContainerCreating"}}}],
        }));
        assert_eq!(view.trouble, None);
    }

    #[test]
    fn a_claim_under_deletion_says_since_when() {
        let object = json!({
            "metadata": {"name": "data-team-0", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"chat.quorate.dev/node-id": "9007199254740993"}},
            "spec": {"volumeName": "pv-1", "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"capacity": {"storage": "2Gi"}},
        });
        let view = claim(&serde_json::from_value(object).expect("a claim"));
        assert!(view.deleting_since.is_some());
        // More than 53 bits: a JSON number would have lost the last one.
        assert_eq!(view.node_id, Some(9_007_199_254_740_993));
        assert_eq!((view.requested, view.capacity), (1 << 30, Some(2 << 30)));
    }
}
