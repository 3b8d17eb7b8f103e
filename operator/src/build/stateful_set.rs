use super::{CarriedState, TemplateChoice, object_meta};
use crate::{
    cluster::ValidCluster,
    names::{self, DATA},
};
use k8s_openapi::{
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
            StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use quorate_crd::{AccessMode, annotation};

/// Builds the StatefulSet of the chat pods.
///
/// Pods are managed in parallel, because a pod that waits for its predecessor cannot help to form a quorum. The update
/// strategy is a rolling update with its partition at rest at `replicas`: a lost pod comes back as it was, and each
/// restart is the operator's decision. Under `OnDelete` a lost pod would come back with the *new* template, and a
/// broken revision plus one drain would lose the quorum. `OnDelete` is therefore used only while pods that cannot start
/// as they are get the new revision out of turn.
#[must_use]
pub fn stateful_set(cluster: &ValidCluster, template: &TemplateChoice, carried: &CarriedState) -> StatefulSet {
    let replicas = carried.replicas.unwrap_or(cluster.spec.replicas);
    let recorded = template.record();
    let mut metadata = object_meta(cluster, cluster.name.clone());
    metadata.annotations = Some(
        [
            (annotation::POD_INPUTS.to_owned(), recorded.inputs),
            (annotation::TEMPLATE.to_owned(), recorded.pod.to_string()),
        ]
        .into(),
    );
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(names::peer_service_name(&cluster.name)),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(update_strategy(carried, replicas)),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                // Whatever the spec says: deleting the StatefulSet alone must not delete the data. Claims that are to
                // be deleted with the ChatCluster are owned by it, which `plan::owners` ensures.
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            selector: LabelSelector {
                match_labels: Some(names::selector_labels(&cluster.name)),
                ..LabelSelector::default()
            },
            template: template.pod().clone(),
            volume_claim_templates: Some(claim_templates(cluster, carried)),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn update_strategy(carried: &CarriedState, replicas: i32) -> StatefulSetUpdateStrategy {
    if carried.on_delete {
        return StatefulSetUpdateStrategy { type_: Some("OnDelete".to_owned()), rolling_update: None };
    }
    let partition = Some(carried.partition.unwrap_or(replicas));
    StatefulSetUpdateStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateStatefulSetStrategy { partition, max_unavailable: None }),
    }
}

/// Returns the claim templates of the live StatefulSet, or those of a new one.
fn claim_templates(cluster: &ValidCluster, carried: &CarriedState) -> Vec<PersistentVolumeClaim> {
    // The API server refuses a StatefulSet whose claim templates change; growth is requested on each claim
    // (`plan/storage.rs`).
    let live = carried.claim_templates.clone();
    // An unreadable record counts as none.
    live.and_then(|templates| serde_json::from_value(templates).ok()).unwrap_or_else(|| vec![claim_template(cluster)])
}

fn claim_template(cluster: &ValidCluster) -> PersistentVolumeClaim {
    let storage = &cluster.spec.storage;
    let mode = match storage.access_mode {
        AccessMode::ReadWriteOncePod => "ReadWriteOncePod",
        AccessMode::ReadWriteOnce => "ReadWriteOnce",
    };
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA.to_owned()),
            labels: Some(names::object_labels(&cluster.name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![mode.to_owned()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), storage.size.clone())].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
