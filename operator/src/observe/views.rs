//! Conversion of Kubernetes objects to views of what matters in them.

use crate::{
    build::{CarriedState, RecordedTemplate},
    observed::{ClaimView, ClusterMarker, NodeId, PodView, StatefulSetView},
    words,
};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, ContainerState, ContainerStateTerminated, ContainerStatus, PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::{SignedDuration, Timestamp},
};
use quorate_crd::{annotation, label, parse_quantity};
use serde_json::Value;

/// Label in which the StatefulSet controller records the revision that it created a pod from.
const REVISION: &str = "controller-revision-hash";
/// Maximum length of one message in characters, enough to give the reason; the scheduler names each node.
const SENTENCE: usize = 240;
/// Time within which a live kubelet confirms the end of a pod that it has killed.
const CONFIRMED_WITHIN: SignedDuration = SignedDuration::from_secs(15);

fn annotation_of(metadata: &ObjectMeta, key: &str) -> Option<String> {
    metadata.annotations.as_ref()?.get(key).cloned()
}

fn label_of(metadata: &ObjectMeta, key: &str) -> Option<String> {
    metadata.labels.as_ref()?.get(key).cloned()
}

pub(super) fn parse_marker(map: &ConfigMap) -> Option<ClusterMarker> {
    let data = map.data.as_ref()?;
    Some(ClusterMarker {
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
    let strategy = spec.update_strategy.unwrap_or_default();
    let on_delete = strategy.type_.as_deref() == Some("OnDelete");
    let rolling = strategy.rolling_update;
    let recorded = annotation_of(&set.metadata, annotation::POD_INPUTS)
        .zip(annotation_of(&set.metadata, annotation::TEMPLATE))
        .and_then(|(inputs, text)| Some(RecordedTemplate { inputs, pod: serde_json::from_str(&text).ok()? }));
    let update_revision = status.update_revision.unwrap_or_default();
    StatefulSetView {
        // Until the controller has observed the newest spec, its revisions are those of an older template.
        settled: status.observed_generation == set.metadata.generation && !update_revision.is_empty(),
        partition: rolling.and_then(|rolling| rolling.partition).unwrap_or_default(),
        current_revision: status.current_revision.unwrap_or_default(),
        update_revision,
        replicas: spec.replicas.unwrap_or_default(),
        on_delete,
        carried: CarriedState {
            recorded,
            claim_templates: spec.volume_claim_templates.and_then(|claims| serde_json::to_value(claims).ok()),
            ..CarriedState::default()
        },
    }
}

pub(super) fn pod_view(pod: &Pod, now: Timestamp) -> PodView {
    let status = pod.status.clone().unwrap_or_default();
    let condition = |name: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == name);
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let unscheduled = condition("PodScheduled")
        .filter(|condition| condition.status == "False")
        .map(|condition| condition.message.as_deref().unwrap_or("no node fits"))
        .map(|message| format!("is not scheduled: {}", words::in_short(message, SENTENCE)));
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let stuck = termination_trouble(pod, node.as_deref(), now);
    PodView {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        address: status.pod_ip.clone().filter(|address| !address.is_empty()),
        ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        revision: label_of(&pod.metadata, REVISION).unwrap_or_default(),
        role: label_of(&pod.metadata, label::ROLE),
        node,
        trouble: stuck.or_else(|| containers.iter().find_map(container_trouble)).or(unscheduled),
    }
}

/// Explains a pod that should be gone and is not, because its node does not confirm it, as after a crash of the node.
/// Until then Kubernetes creates no other pod of the same name, and it frees the volume only after some six minutes.
fn termination_trouble(pod: &Pod, node: Option<&str>, now: Timestamp) -> Option<String> {
    // The deletion timestamp is the end of the grace period.
    let due = pod.metadata.deletion_timestamp.as_ref()?.0;
    if now.duration_since(due) < CONFIRMED_WITHIN {
        return None;
    }
    let node = node.unwrap_or("NODE");
    Some(format!(
        "should have terminated at {due}, but node {node} has not confirmed it: check the node (kubectl describe node {node}); \
         if it is certainly powered off, `kubectl taint nodes {node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute` \
         frees the pod and its volume at once (remove the taint when the node is back)"
    ))
}

/// Explains a container that waits for something that will not happen by itself, or that has just ended.
fn container_trouble(container: &ContainerStatus) -> Option<String> {
    let ContainerState { waiting, terminated, .. } = container.state.clone()?;
    if let Some(waiting) = waiting {
        let reason = waiting.reason.unwrap_or_default();
        // The pod is starting as usual.
        if matches!(reason.as_str(), "ContainerCreating" | "PodInitializing" | "") {
            return None;
        }
        let message = words::end_of(&waiting.message.unwrap_or_default(), SENTENCE);
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(last_words);
        return Some(match last {
            Some(last) => format!("does not start ({reason}; last exited with {last})"),
            None if is_about_image(&reason) => {
                format!(
                    "does not start ({reason} for image {}: {message}): fix spec.image or the access to the registry",
                    container.image
                )
            }
            None => format!("does not start ({reason}: {message})"),
        });
    }
    terminated.map(|terminated| format!("exited with {}", last_words(&terminated)))
}

fn is_about_image(reason: &str) -> bool {
    matches!(
        reason,
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError"
    )
}

/// Returns the exit code and the last line that the container wrote. The pod's termination message is the end of its
/// log.
fn last_words(ended: &ContainerStateTerminated) -> String {
    let line = ended.message.as_deref().and_then(|message| message.trim().lines().last()).unwrap_or_default();
    let why = match ended.reason.as_deref() {
        // The kernel ended the process, and the log knows nothing of it.
        Some(reason @ "OOMKilled") => reason,
        _ => line,
    };
    let code = format!("code {}", ended.exit_code);
    if why.is_empty() { code } else { format!("{code}: {}", words::in_short(&plain_message(why), SENTENCE)) }
}

/// Returns the message of a line as chatd logs it in JSON, or the line itself if it is no such line.
fn plain_message(line: &str) -> String {
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    let fields = object.get("fields").and_then(Value::as_object).unwrap_or(&object);
    let words = ["message", "error"].into_iter().filter_map(|key| fields.get(key)?.as_str());
    let words: Vec<&str> = words.collect();
    if words.is_empty() { line.to_owned() } else { words.join(": ") }
}

pub(super) fn claim_view(claim: &PersistentVolumeClaim) -> ClaimView {
    let spec = claim.spec.clone().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    let requested = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned());
    let capacity = status.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    ClaimView {
        name: claim.metadata.name.clone().unwrap_or_default(),
        cluster_id: annotation_of(&claim.metadata, annotation::CLUSTER_ID),
        node_id: annotation_of(&claim.metadata, annotation::NODE_ID).and_then(|id| id.parse().ok()),
        retired: annotation_of(&claim.metadata, annotation::RETIRED).is_some(),
        deleting_since: claim.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        requested: requested.and_then(|size| parse_quantity(&size).ok()).unwrap_or_default(),
        capacity: capacity.and_then(|size| parse_quantity(size).ok()),
        volume: spec.volume_name,
        resize_pending: status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "FileSystemResizePending" && condition.status == "True"),
        trouble: None,
    }
}

/// Explains why a claim gets no volume, and what helps. The class of a claim cannot be changed, and nothing is stored
/// yet.
pub(super) fn claim_trouble(claim: &str, class: Option<&str>, why: &str) -> String {
    let class = class.map_or("the default storage class".to_owned(), |class| format!("storage class {class}"));
    format!(
        "{claim} cannot get a volume from {class} ({why}): fix that StorageClass (kubectl get storageclass) or, if it is the \
         wrong one, delete the ChatCluster and its claims, which hold no data yet, and apply it again with another \
         storageClassName"
    )
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
        pod_view(&serde_json::from_value(object).expect("a pod"), Timestamp::UNIX_EPOCH)
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
    fn last_words_are_those_of_the_log_in_plain_words() {
        let view = check_pod(json!({
            "containerStatuses": [{"name": "chatd", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"exitCode": 78, "reason": "Error", "message":
                    "{\"level\":\"INFO\",\"fields\":{\"message\":\"starting\"}}\n{\"level\":\"ERROR\",\"fields\":{\"message\":\"cannot start\",\"error\":\"no such key\"}}\n"}}}],
        }));
        let trouble = view.trouble.expect("trouble");
        assert!(trouble.contains("code 78: cannot start: no such key"), "{trouble}");
    }

    #[test]
    fn a_pod_that_ran_out_of_memory_says_so() {
        let view = check_pod(json!({
            "containerStatuses": [{"name": "chatd", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}],
        }));
        assert_eq!(view.trouble.as_deref(), Some("exited with code 137: OOMKilled"));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let view = check_pod(json!({
            "containerStatuses": [{"name": "chatd", "image": "example.org/no:1", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}],
        }));
        let trouble = view.trouble.expect("trouble");
        for words in ["ImagePullBackOff", "example.org/no:1", "not found", "spec.image"] {
            assert!(trouble.contains(words), "{words}: {trouble}");
        }
    }

    #[test]
    fn a_pod_that_its_node_does_not_let_go_names_the_node_and_the_remedy() {
        let object = json!({
            "metadata": {"name": "team-0", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "node3", "containers": []},
        });
        let object: Pod = serde_json::from_value(object).expect("a pod");
        let at = |text: &str| pod_view(&object, text.parse().expect("a time")).trouble;
        assert_eq!(at("2026-01-01T00:00:05Z"), None);
        let trouble = at("2026-01-01T00:00:20Z").expect("trouble");
        assert!(trouble.contains("node node3") && trouble.contains("out-of-service"), "{trouble}");
        assert_eq!(at("2026-01-01T00:09:00Z").as_ref(), Some(&trouble), "no figure that changes all the time");
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
        let view = claim_view(&serde_json::from_value(object).expect("a claim"));
        assert!(view.deleting_since.is_some());
        // More than 53 bits: a JSON number would have lost the last one.
        assert_eq!(view.node_id, Some(9_007_199_254_740_993));
        assert_eq!((view.requested, view.capacity), (1 << 30, Some(2 << 30)));
    }
}
