use super::RawObjects;
use crate::{
    cluster::ValidCluster,
    names::{self, MANAGER},
    observed::{OwnedObject, OwnerView},
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use quorate_crd::{annotation, label};
use std::collections::BTreeMap;

/// Versions of the objects that exist, which `apply` compares to detect changes by others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveVersions {
    /// Version of each object by `Kind/name`.
    pub versions: BTreeMap<String, String>,
    /// Exact version of the objects whose writes depend on what was observed of them: the StatefulSet, whose partition
    /// must not be lowered by an operator that has seen another one.
    pub guards: BTreeMap<String, String>,
    /// Uid of each object, so that a write means this object and no other of the same name.
    pub uids: BTreeMap<String, String>,
}

/// Returns `Kind/name`, by which messages and versions refer to an object.
pub(crate) fn object_key<K: Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{}/{name}", K::kind(&()))
}

/// Returns a version that changes when somebody writes the object, and not when a controller reports its status.
pub(crate) fn object_version(metadata: &ObjectMeta) -> String {
    match metadata.generation {
        // Changes of labels and annotations do not increase the generation; they are compared at each resync.
        Some(generation) if generation > 0 => format!("generation {generation}"),
        // Kinds without a spec, such as ConfigMaps and Secrets, have no generation, but no status either.
        _ => metadata.resource_version.clone().unwrap_or_default(),
    }
}

impl LiveVersions {
    pub(super) fn of(objects: &RawObjects) -> Self {
        let mut live = Self::default();
        objects.each(|key, metadata| {
            live.versions.insert(key.clone(), object_version(metadata));
            live.uids.insert(key, metadata.uid.clone().unwrap_or_default());
        });
        if let Some(set) = &objects.stateful_set {
            let name = set.metadata.name.as_deref().unwrap_or_default();
            let version = set.metadata.resource_version.clone().unwrap_or_default();
            live.guards.insert(object_key::<k8s_openapi::api::apps::v1::StatefulSet>(name), version);
        }
        live
    }

    /// Returns the objects with our names that belong to somebody else. A forced server-side apply would take them over
    /// silently.
    pub(super) fn conflicts(&self, cluster: &ValidCluster, objects: &RawObjects) -> Vec<String> {
        let mut conflicts = Vec::new();
        objects.each(|key, metadata| {
            if !is_ours(cluster, metadata) {
                conflicts.push(key);
            }
        });
        // As a rule the marker has no owner, because it outlives the ChatCluster unless the volumes are deleted with
        // it.
        if let Some(marker) = &objects.marker
            && (marker.metadata.labels.as_ref().and_then(|labels| labels.get(label::MANAGED_BY)).map(String::as_str)
                != Some(MANAGER)
                || is_of_another(cluster, &marker.metadata))
        {
            conflicts.push(format!("ConfigMap/{}", names::marker_name(&cluster.name)));
        }
        let left = objects.claims.iter().filter(|claim| is_of_another(cluster, &claim.metadata));
        let left = left.filter_map(|claim| claim.metadata.name.clone());
        let claims = left.chain(objects.foreign_claims.iter().cloned());
        conflicts.extend(claims.map(|name| object_key::<PersistentVolumeClaim>(&name)));
        conflicts
    }
}

/// Returns `true` if a former ChatCluster of the same name owns the object, so that it is about to be deleted with that
/// one.
fn is_of_another(cluster: &ValidCluster, metadata: &ObjectMeta) -> bool {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|owner| owner.kind == cluster.owner.kind && owner.uid != cluster.uid)
}

/// Returns `true` if a claim with one of our names belongs to the cluster. The StatefulSet controller labels its
/// claims; one that has lost its labels is recognized by its annotated cluster id.
pub(super) fn is_our_claim(claim: &PersistentVolumeClaim, marker: Option<&ConfigMap>) -> bool {
    let cluster_id = marker.and_then(|marker| marker.data.as_ref()?.get("clusterId"));
    let stamped = claim.metadata.annotations.as_ref().and_then(|all| all.get(annotation::CLUSTER_ID));
    stamped.is_some() && stamped == cluster_id
}

/// Returns the ownership of the objects that are not applied.
pub(super) fn owner_views(cluster: &ValidCluster, objects: &RawObjects) -> Vec<OwnerView> {
    let owned =
        |metadata: &ObjectMeta| metadata.owner_references.iter().flatten().any(|owner| owner.uid == cluster.uid);
    let view = |object: fn(String) -> OwnedObject, metadata: &ObjectMeta| OwnerView {
        object: object(metadata.name.clone().unwrap_or_default()),
        owned: owned(metadata),
    };
    let secrets = [&objects.peer_ca, &objects.peer_tls].into_iter().flatten();
    let mut views: Vec<OwnerView> = secrets.map(|secret| view(OwnedObject::Secret, &secret.metadata)).collect();
    // A claim that is already being deleted goes, whoever owns it.
    let claims = objects.claims.iter().filter(|claim| claim.metadata.deletion_timestamp.is_none());
    views.extend(claims.map(|claim| view(OwnedObject::Claim, &claim.metadata)));
    views.extend(objects.marker.iter().map(|marker| view(OwnedObject::Marker, &marker.metadata)));
    views
}

/// Returns `true` if this very ChatCluster controls the object, or if nobody does and it is ours by its labels, as
/// after a deletion that left orphans.
fn is_ours(cluster: &ValidCluster, metadata: &ObjectMeta) -> bool {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    match owners.iter().find(|owner| owner.controller == Some(true)) {
        Some(owner) => owner.uid == cluster.uid,
        None => {
            let labels = metadata.labels.clone().unwrap_or_default();
            names::object_labels(&cluster.name).iter().all(|(key, value)| labels.get(key) == Some(value))
        }
    }
}

impl RawObjects {
    /// Visits every object that the ChatCluster owns.
    fn each(&self, mut look: impl FnMut(String, &ObjectMeta)) {
        use k8s_openapi::api::{
            apps::v1::StatefulSet,
            core::v1::{Secret, Service, ServiceAccount},
            policy::v1::PodDisruptionBudget,
        };
        let mut see = |key: fn(&str) -> String, metadata: &ObjectMeta| {
            look(key(metadata.name.as_deref().unwrap_or_default()), metadata);
        };
        self.stateful_set.iter().for_each(|object| see(object_key::<StatefulSet>, &object.metadata));
        [&self.peer_ca, &self.peer_tls, &self.admin_tls]
            .into_iter()
            .flatten()
            .for_each(|object| see(object_key::<Secret>, &object.metadata));
        self.configs.iter().for_each(|object| see(object_key::<ConfigMap>, &object.metadata));
        self.services
            .iter()
            .filter_map(|(_, object)| object.as_ref())
            .for_each(|object| see(object_key::<Service>, &object.metadata));
        self.budget.iter().for_each(|object| see(object_key::<PodDisruptionBudget>, &object.metadata));
        self.account.iter().for_each(|object| see(object_key::<ServiceAccount>, &object.metadata));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_claim_without_labels_is_ours_only_by_its_mark() {
        let claim = |annotations: serde_json::Value| -> PersistentVolumeClaim {
            let object = serde_json::json!({"metadata": {"name": "data-team-0", "annotations": annotations}});
            serde_json::from_value(object).expect("a claim")
        };
        let marker = ConfigMap { data: Some([("clusterId".into(), "c".into())].into()), ..ConfigMap::default() };
        assert!(!is_our_claim(&claim(serde_json::json!({})), Some(&marker)));
        assert!(!is_our_claim(&claim(serde_json::json!({})), None));
        assert!(!is_our_claim(&claim(serde_json::json!({annotation::CLUSTER_ID: "d"})), Some(&marker)));
        assert!(is_our_claim(&claim(serde_json::json!({annotation::CLUSTER_ID: "c"})), Some(&marker)));
    }

    #[test]
    fn what_a_former_chat_cluster_of_the_name_owned_is_not_ours() {
        let cluster = fixture::cluster();
        let mut former = cluster.owner.clone();
        former.uid = "former".into();
        former.controller = None;
        let of = |owners| ObjectMeta { owner_references: owners, ..ObjectMeta::default() };
        assert!(is_of_another(&cluster, &of(Some(vec![former]))));
        assert!(!is_of_another(&cluster, &of(Some(vec![cluster.owner.clone()]))));
        assert!(!is_of_another(&cluster, &of(None)));
    }

    #[test]
    fn a_foreign_object_is_a_conflict_and_an_orphan_of_ours_is_not() {
        let cluster = fixture::cluster();
        let ours = ObjectMeta { owner_references: Some(vec![cluster.owner.clone()]), ..ObjectMeta::default() };
        assert!(is_ours(&cluster, &ours));
        let mut other = cluster.owner.clone();
        other.uid = "another".into();
        assert!(!is_ours(&cluster, &ObjectMeta { owner_references: Some(vec![other]), ..ObjectMeta::default() }));
        assert!(!is_ours(&cluster, &ObjectMeta::default()));
        let orphan = ObjectMeta { labels: Some(names::object_labels("team")), ..ObjectMeta::default() };
        assert!(is_ours(&cluster, &orphan));
    }
}
