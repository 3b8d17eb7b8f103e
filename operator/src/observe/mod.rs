//! `observe`: reads everything that a decision needs, from the API server and from the pods' admin doors. Changes nothing.

mod ownership;
mod secrets;
mod views;

use crate::{
    cluster::Cluster,
    door::{Hub, PeerIdentity, Target},
    names,
    observed::{Observed, Slot},
};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ListParams, ObjectList},
    core::PartialObjectMeta,
    runtime::reflector::ObjectRef,
};
use quorate_crd::{ChatCluster, ChatClusterStatus, label};
use std::collections::BTreeMap;

pub use ownership::Live;

/// The API server did not answer, or not as expected.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}")]
pub struct ObserveError {
    what: String,
    #[source]
    source: kube::Error,
}

/// What was seen, and what later stages need of it.
#[derive(Debug)]
pub struct Seen {
    /// The input of `plan`.
    pub observed: Observed,
    /// The live objects, by kind and name.
    pub live: Live,
    /// What to show at the pods' doors.
    pub identity: Option<PeerIdentity>,
    /// The pods' uids by name, for calls to their doors.
    pub pod_uids: BTreeMap<String, String>,
}

/// Raw objects, before they are looked at.
struct Objects {
    stateful_set: Option<StatefulSet>,
    marker: Option<ConfigMap>,
    peer_ca: Option<Secret>,
    peer_tls: Option<Secret>,
    pods: ObjectList<Pod>,
    claims: ObjectList<PersistentVolumeClaim>,
    configs: ObjectList<PartialObjectMeta<ConfigMap>>,
    services: Vec<(String, Option<PartialObjectMeta<Service>>)>,
    budget: Option<PartialObjectMeta<PodDisruptionBudget>>,
    account: Option<PartialObjectMeta<ServiceAccount>>,
}

/// Reads everything about one cluster, and sees to it that its pods' doors are watched.
///
/// # Errors
/// When the API server does not answer; silent pods are not an error but an observation.
pub async fn observe(
    client: &Client,
    hub: &Hub,
    cluster: &Cluster,
    previous: ChatClusterStatus,
) -> Result<Seen, ObserveError> {
    let objects = Box::pin(read(client, cluster)).await?;
    let now = Timestamp::now();
    let (peer_tls, identity) = secrets::view(objects.peer_ca.as_ref(), objects.peer_tls.as_ref(), now);
    let mut slots = slots(cluster, &objects);
    watch_doors(hub, cluster, &slots, identity.as_ref()).await;
    for slot in &mut slots {
        slot.door = slot.pod.as_ref().and_then(|pod| hub.door(&pod.uid));
    }
    let live = Live::of(&objects);
    Ok(Seen {
        observed: Observed {
            now,
            fresh_cluster_id: uuid::Uuid::new_v4().to_string(),
            marker: objects.marker.as_ref().and_then(views::marker),
            stateful_set: objects.stateful_set.as_ref().map(views::stateful_set),
            conflicts: live.conflicts(cluster, &objects),
            configs: views::configs(&objects.configs, &objects.pods),
            peer_tls,
            slots: slots.clone(),
            previous,
        },
        live,
        identity,
        pod_uids: slots.into_iter().filter_map(|slot| slot.pod.map(|pod| (slot.name, pod.uid))).collect(),
    })
}

async fn read(client: &Client, cluster: &Cluster) -> Result<Objects, ObserveError> {
    let name = &cluster.name;
    let namespace = &cluster.namespace;
    let (stateful_set, marker, peer_ca, peer_tls, pods, claims, configs, services, budget, account) = tokio::try_join!(
        get::<StatefulSet>(client, namespace, name.clone()),
        get::<ConfigMap>(client, namespace, names::marker(name)),
        get::<Secret>(client, namespace, names::peer_ca(name)),
        get::<Secret>(client, namespace, names::peer_tls(name)),
        list::<Pod>(client, namespace, names::selector_text(name)),
        list::<PersistentVolumeClaim>(client, namespace, names::selector_text(name)),
        list_configs(client, cluster),
        services(client, cluster),
        metadata::<PodDisruptionBudget>(client, namespace, name.clone()),
        metadata::<ServiceAccount>(client, namespace, name.clone()),
    )?;
    Ok(Objects { stateful_set, marker, peer_ca, peer_tls, pods, claims, configs, services, budget, account })
}

async fn services(
    client: &Client,
    cluster: &Cluster,
) -> Result<Vec<(String, Option<PartialObjectMeta<Service>>)>, ObserveError> {
    let named = [cluster.name.clone(), names::peers(&cluster.name), names::leader(&cluster.name)];
    let reads = named.map(async |name| {
        let found = metadata::<Service>(client, &cluster.namespace, name.clone()).await?;
        Ok((name, found))
    });
    futures::future::try_join_all(reads).await
}

async fn list_configs(
    client: &Client,
    cluster: &Cluster,
) -> Result<ObjectList<PartialObjectMeta<ConfigMap>>, ObserveError> {
    let selector = format!("{},{}=true", names::selector_text(&cluster.name), label::CONFIG);
    Api::<ConfigMap>::namespaced(client.clone(), &cluster.namespace)
        .list_metadata(&ListParams::default().labels(&selector))
        .await
        .map_err(|source| ObserveError { what: "the list of ConfigMaps".into(), source })
}

async fn get<K>(client: &Client, namespace: &str, name: String) -> Result<Option<K>, ObserveError>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    Api::<K>::namespaced(client.clone(), namespace)
        .get_opt(&name)
        .await
        .map_err(|source| ObserveError { what: format!("{} {name}", K::kind(&())), source })
}

async fn metadata<K>(
    client: &Client,
    namespace: &str,
    name: String,
) -> Result<Option<PartialObjectMeta<K>>, ObserveError>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    Api::<K>::namespaced(client.clone(), namespace)
        .get_metadata_opt(&name)
        .await
        .map_err(|source| ObserveError { what: format!("{} {name}", K::kind(&())), source })
}

async fn list<K>(client: &Client, namespace: &str, selector: String) -> Result<ObjectList<K>, ObserveError>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    Api::<K>::namespaced(client.clone(), namespace)
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|source| ObserveError { what: format!("the list of {}s", K::kind(&())), source })
}

/// One for each ordinal, whether there is a pod or not.
fn slots(cluster: &Cluster, objects: &Objects) -> Vec<Slot> {
    let pods = objects.pods.iter().map(|pod| (pod.metadata.name.clone().unwrap_or_default(), pod));
    let pods: BTreeMap<String, &Pod> = pods.collect();
    let claims = objects.claims.iter().map(|claim| (claim.metadata.name.clone().unwrap_or_default(), claim));
    let claims: BTreeMap<String, &PersistentVolumeClaim> = claims.collect();
    cluster
        .ordinals()
        .map(|ordinal| {
            let name = names::pod(&cluster.name, ordinal);
            Slot {
                ordinal,
                pod: pods.get(&name).map(|pod| views::pod(pod)),
                claim: claims.get(&names::claim(&cluster.name, ordinal)).map(|claim| views::claim(claim)),
                door: None,
                name,
            }
        })
        .collect()
}

async fn watch_doors(hub: &Hub, cluster: &Cluster, slots: &[Slot], identity: Option<&PeerIdentity>) {
    let Some(identity) = identity else { return };
    let targets = slots.iter().filter_map(|slot| {
        let pod = slot.pod.as_ref()?;
        Some(Target { uid: pod.uid.clone(), address: pod.address.clone()? })
    });
    let reference = ObjectRef::<ChatCluster>::new(&cluster.name).within(&cluster.namespace);
    if let Err(error) = hub.watch(&reference, &targets.collect::<Vec<_>>(), identity) {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(cluster = cluster.name, namespace = cluster.namespace, error, "cannot watch a pod");
    }
    hub.listen(&reference).await;
}

/// The marker in a ConfigMap, for the test of `apply`, which writes what this reads.
#[cfg(test)]
pub(crate) fn marker_of(map: &ConfigMap) -> Option<crate::observed::Marker> {
    views::marker(map)
}

pub(crate) use ownership::{key, version};
pub(crate) use secrets::{RENEW_AT, text};
