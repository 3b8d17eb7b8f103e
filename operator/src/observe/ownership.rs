use super::Objects;
use crate::{
    cluster::Cluster,
    names::{self, MANAGER},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use quorate_crd::label;
use std::collections::BTreeMap;

/// Which objects there are, and their versions: what `apply` compares to know whether anybody changed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Version of each object by `Kind/name`.
    pub versions: BTreeMap<String, String>,
    /// The uid of each, so that a write means this object and no other of its name.
    pub uids: BTreeMap<String, String>,
}

/// `Kind/name`, as messages and versions call an object.
pub(crate) fn key<K: Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{}/{name}", K::kind(&()))
}

/// What changes when somebody writes the object, and not when a controller reports its status.
pub(crate) fn version(metadata: &ObjectMeta) -> String {
    match metadata.generation {
        // Labels and annotations do not count as a new generation; they are compared at each resync.
        Some(generation) if generation > 0 => format!("generation {generation}"),
        _ => metadata.resource_version.clone().unwrap_or_default(),
    }
}

impl Live {
    pub(super) fn of(objects: &Objects) -> Self {
        let mut live = Self::default();
        objects.each(|key, metadata| {
            live.versions.insert(key.clone(), version(metadata));
            live.uids.insert(key, metadata.uid.clone().unwrap_or_default());
        });
        live
    }

    /// Objects of our names that belong to somebody else. A forced server-side apply would take them over silently.
    pub(super) fn conflicts(&self, cluster: &Cluster, objects: &Objects) -> Vec<String> {
        let mut conflicts = Vec::new();
        objects.each(|key, metadata| {
            if !is_ours(cluster, metadata) {
                conflicts.push(key);
            }
        });
        // The marker outlives the ChatCluster, so it has no owner.
        if let Some(marker) = &objects.marker
            && marker.metadata.labels.as_ref().and_then(|labels| labels.get(label::MANAGED_BY)).map(String::as_str)
                != Some(MANAGER)
        {
            conflicts.push(format!("ConfigMap/{}", names::marker(&cluster.name)));
        }
        conflicts
    }
}

/// Controlled by this very ChatCluster; or by nobody and ours by its labels, as after a deletion that left orphans.
fn is_ours(cluster: &Cluster, metadata: &ObjectMeta) -> bool {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    match owners.iter().find(|owner| owner.controller == Some(true)) {
        Some(owner) => owner.uid == cluster.uid,
        None => {
            let labels = metadata.labels.clone().unwrap_or_default();
            names::labels(&cluster.name).iter().all(|(key, value)| labels.get(key) == Some(value))
        }
    }
}

impl Objects {
    /// Every object that the ChatCluster owns.
    fn each(&self, mut look: impl FnMut(String, &ObjectMeta)) {
        use k8s_openapi::api::{
            apps::v1::StatefulSet,
            core::v1::{ConfigMap, Secret, Service, ServiceAccount},
            policy::v1::PodDisruptionBudget,
        };
        let mut see = |key: fn(&str) -> String, metadata: &ObjectMeta| {
            look(key(metadata.name.as_deref().unwrap_or_default()), metadata);
        };
        self.stateful_set.iter().for_each(|object| see(key::<StatefulSet>, &object.metadata));
        [&self.peer_ca, &self.peer_tls].into_iter().flatten().for_each(|object| see(key::<Secret>, &object.metadata));
        self.configs.iter().for_each(|object| see(key::<ConfigMap>, &object.metadata));
        self.services
            .iter()
            .filter_map(|(_, object)| object.as_ref())
            .for_each(|object| see(key::<Service>, &object.metadata));
        self.budget.iter().for_each(|object| see(key::<PodDisruptionBudget>, &object.metadata));
        self.account.iter().for_each(|object| see(key::<ServiceAccount>, &object.metadata));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_foreign_object_is_a_conflict_and_an_orphan_of_ours_is_not() {
        let cluster = fixture::cluster();
        let ours = ObjectMeta { owner_references: Some(vec![cluster.owner.clone()]), ..ObjectMeta::default() };
        assert!(is_ours(&cluster, &ours));
        let mut other = cluster.owner.clone();
        other.uid = "another".into();
        assert!(!is_ours(&cluster, &ObjectMeta { owner_references: Some(vec![other]), ..ObjectMeta::default() }));
        assert!(!is_ours(&cluster, &ObjectMeta::default()));
        let orphan = ObjectMeta { labels: Some(names::labels("team")), ..ObjectMeta::default() };
        assert!(is_ours(&cluster, &orphan));
    }
}
