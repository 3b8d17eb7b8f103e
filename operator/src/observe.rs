//! `observe`: reads everything that a decision needs from the API server and from the pods' admin APIs, and changes
//! nothing.

mod configs;
mod notices;
mod ownership;
mod secrets;
mod views;

use crate::{
    cluster::ValidCluster,
    names,
    observed::{LeaderContact, MemberSlot, ObservedState, StatefulSetView},
    pod_watch::{PeerIdentity, WatchHub, WatchTarget},
    quorum,
    secret_inputs::{SecretInputs, inspect_inputs, secret_references},
    words,
};
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
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
use quorate_crd::{ChatCluster, ChatClusterStatus, MOST_REPLICAS, label};
use std::collections::{BTreeMap, BTreeSet};

pub use notices::WarningCache;
pub use ownership::LiveVersions;

/// The API server did not answer, or not as expected.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}")]
pub struct ObserveError {
    what: String,
    #[source]
    source: kube::Error,
}

/// Result of observing a cluster, with what later stages need.
#[derive(Debug)]
pub struct ClusterObservation {
    /// Observed state, the input of `plan`.
    pub observed: ObservedState,
    /// Values of the Secrets that the spec refers to.
    pub secrets: SecretInputs,
    /// Live objects by kind and name.
    pub live: LiveVersions,
    /// Identity to present to the pods' admin APIs; `None` if the Secret lacks it.
    pub identity: Option<PeerIdentity>,
    /// Uids of the pods by name, for calls to their admin APIs.
    pub pod_uids: BTreeMap<String, String>,
}

/// Raw objects as read from the API server.
struct RawObjects {
    stateful_set: Option<StatefulSet>,
    marker: Option<ConfigMap>,
    peer_ca: Option<Secret>,
    peer_tls: Option<Secret>,
    admin_tls: Option<Secret>,
    pods: ObjectList<Pod>,
    claims: ObjectList<PersistentVolumeClaim>,
    /// Names of claims that would be ours but belong to somebody else: a StatefulSet would use them without asking.
    foreign_claims: Vec<String>,
    configs: ObjectList<ConfigMap>,
    /// Revisions of the StatefulSet; `None` if nothing depends on them or the operator may not list them.
    revisions: Option<ObjectList<ControllerRevision>>,
    services: Vec<(String, Option<PartialObjectMeta<Service>>)>,
    budget: Option<PartialObjectMeta<PodDisruptionBudget>>,
    account: Option<PartialObjectMeta<ServiceAccount>>,
}

/// Reads everything about one cluster, and ensures that the admin APIs of its pods are watched.
///
/// # Errors
/// Fails if the API server does not answer. Silent pods are an observation, not an error.
pub async fn observe_cluster(
    client: &Client,
    hub: &WatchHub,
    notices: &WarningCache,
    cluster: &ValidCluster,
    previous: ChatClusterStatus,
) -> Result<ClusterObservation, ObserveError> {
    let reads = Box::pin(async { tokio::try_join!(read_objects(client, cluster), read_secrets(client, cluster)) });
    let (objects, referenced) = reads.await?;
    let now = Timestamp::now();
    let (peer_tls, identity) =
        secrets::inspect_secrets(objects.peer_ca.as_ref(), objects.peer_tls.as_ref(), objects.admin_tls.as_ref(), now);
    let mut slots = member_slots(cluster, &objects, now);
    let reference = ObjectRef::<ChatCluster>::new(&cluster.name).within(&cluster.namespace);
    // Before the answers are taken: pods that are new since the last reconcile have none yet.
    watch_pods(hub, cluster, &reference, &slots, identity.as_ref()).await;
    for slot in &mut slots {
        let answer = slot.pod.as_ref().and_then(|pod| hub.answer(&pod.uid));
        // The address may belong to another pod by now, and that pod's status is not about this slot.
        slot.answer = answer.filter(|answer| answer.node.name.is_empty() || answer.node.name == slot.name);
    }
    explain_trouble(client, notices, cluster, &objects, &mut slots, now).await;
    let uids = slots.iter().filter_map(|slot| Some((slot.name.clone(), slot.pod.as_ref()?.uid.clone()))).collect();
    let (slots, beyond) = slots.into_iter().partition(|slot| slot.ordinal < cluster.spec.replicas);
    let live = LiveVersions::of(&objects);
    let mut observed = ObservedState {
        now,
        fresh_cluster_id: uuid::Uuid::new_v4().to_string(),
        marker: objects.marker.as_ref().and_then(views::parse_marker),
        stateful_set: objects.stateful_set.as_ref().map(|set| stateful_set(set, &objects)),
        conflicts: live.conflicts(cluster, &objects),
        configs: configs::config_views(
            &objects.configs.items,
            objects.stateful_set.as_ref(),
            &objects.pods.items,
            objects.revisions.as_ref().map(|list| list.items.as_slice()),
        ),
        peer_tls,
        sight: LeaderContact::default(),
        ownership: ownership::owner_views(cluster, &objects),
        slots,
        beyond,
        previous,
    };
    observed.sight.leader_unheard = hub.leader_unheard(&reference, quorum::find_leader(&observed).is_some());
    Ok(ClusterObservation { secrets: inspect_inputs(cluster, &referenced), live, identity, pod_uids: uids, observed })
}

/// Finds out why pods or volumes do not come up where their own status does not say. Warnings are read only in that
/// case.
async fn explain_trouble(
    client: &Client,
    notices: &WarningCache,
    cluster: &ValidCluster,
    objects: &RawObjects,
    slots: &mut [MemberSlot],
    now: Timestamp,
) {
    let waits =
        |slot: &MemberSlot| slot.answer.is_none() || slot.claim.as_ref().is_none_or(|claim| claim.volume.is_none());
    // Without a StatefulSet nothing has been requested yet.
    if objects.stateful_set.is_none() || !slots.iter().any(waits) {
        return;
    }
    let warnings = notices.read(client, cluster, now).await;
    for slot in slots.iter_mut().filter(|slot| waits(slot)) {
        slot.notice = match &slot.pod {
            None => notices::of_missing_pod(&warnings, &slot.name),
            Some(pod) => notices::of_pod(&warnings, &pod.uid),
        };
        let Some(claim) = slot.claim.as_mut().filter(|claim| claim.volume.is_none()) else { continue };
        let class = objects.claims.iter().find(|found| found.metadata.name.as_ref() == Some(&claim.name));
        let class = class.and_then(|found| found.spec.as_ref()?.storage_class_name.as_deref());
        claim.trouble =
            notices::of_claim(&warnings, &claim.name).map(|why| views::claim_trouble(&claim.name, class, &why));
    }
}

/// Returns the view of the StatefulSet. A recorded template is dropped if its configuration is gone and cannot be
/// recreated, so that this operator's own template is applied.
fn stateful_set(set: &StatefulSet, objects: &RawObjects) -> StatefulSetView {
    let mut view = views::stateful_set(set);
    let configs = configs::config_views(&objects.configs.items, Some(set), &objects.pods.items, None);
    let names = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let missing = names.is_some_and(|pod| {
        configs::mounted_configs(pod).any(|name| !configs.iter().any(|view| view.name == name && view.text.is_some()))
    });
    if missing {
        view.carried.recorded = None;
    }
    view
}

async fn read_objects(client: &Client, cluster: &ValidCluster) -> Result<RawObjects, ObserveError> {
    let name = &cluster.name;
    let namespace = &cluster.namespace;
    // All at once, because a change of leader is reported only after these reads.
    let (stateful_set, marker, peer_ca, peer_tls, admin_tls, pods, claims, configs, services, budget, account) = tokio::try_join!(
        get_object::<StatefulSet>(client, namespace, name.clone()),
        get_object::<ConfigMap>(client, namespace, names::marker_name(name)),
        get_object::<Secret>(client, namespace, names::peer_ca(name)),
        get_object::<Secret>(client, namespace, names::peer_tls(name)),
        get_object::<Secret>(client, namespace, names::admin_tls(name)),
        list_objects::<Pod>(client, namespace, names::selector_text(name)),
        list_objects::<PersistentVolumeClaim>(client, namespace, names::selector_text(name)),
        list_objects::<ConfigMap>(client, namespace, format!("{},{}=true", names::selector_text(name), label::CONFIG)),
        read_services(client, cluster),
        get_metadata::<PodDisruptionBudget>(client, namespace, name.clone()),
        get_metadata::<ServiceAccount>(client, namespace, name.clone()),
    )?;
    let revisions = list_revisions(client, cluster, stateful_set.as_ref(), &configs).await?;
    let mut objects = RawObjects {
        stateful_set,
        marker,
        peer_ca,
        peer_tls,
        admin_tls,
        pods,
        claims,
        foreign_claims: Vec::new(),
        configs,
        revisions,
        services,
        budget,
        account,
    };
    unlabelled_claims(client, cluster, &mut objects).await?;
    Ok(objects)
}

/// Reads the Secrets that the spec refers to, each once, and returns those that exist by name. They are read at each
/// reconcile, because they can be neither listed nor watched: a change is noticed within the time of a resync.
async fn read_secrets(client: &Client, cluster: &ValidCluster) -> Result<BTreeMap<String, Secret>, ObserveError> {
    let references = secret_references(&cluster.spec).into_iter();
    let names: BTreeSet<String> = references.map(|(_, reference)| reference.name.clone()).collect();
    let reads = names.into_iter().map(|name| get_object::<Secret>(client, &cluster.namespace, name));
    let found = futures::future::try_join_all(reads).await?.into_iter().flatten();
    Ok(found.map(|secret| (secret.metadata.name.clone().unwrap_or_default(), secret)).collect())
}

/// Reads by name the claims that the list by labels does not show.
async fn unlabelled_claims(
    client: &Client,
    cluster: &ValidCluster,
    objects: &mut RawObjects,
) -> Result<(), ObserveError> {
    let known: BTreeSet<String> = objects.claims.iter().filter_map(|claim| claim.metadata.name.clone()).collect();
    let names = cluster.ordinals().map(|ordinal| names::claim_name(&cluster.name, ordinal));
    let missing = names.filter(|name| !known.contains(name));
    let reads = missing.map(|name| get_object::<PersistentVolumeClaim>(client, &cluster.namespace, name));
    for claim in futures::future::try_join_all(reads).await?.into_iter().flatten() {
        // The claim was created between the two reads.
        let labels = claim.metadata.labels.clone().unwrap_or_default();
        let is_labelled =
            names::selector_labels(&cluster.name).iter().all(|(key, value)| labels.get(key) == Some(value));
        if is_labelled || ownership::is_our_claim(&claim, objects.marker.as_ref()) {
            objects.claims.items.push(claim);
        } else {
            objects.foreign_claims.push(claim.metadata.name.unwrap_or_default());
        }
    }
    Ok(())
}

/// Lists the revisions, but only while there is a choice of configurations: at rest there is one, and it is the
/// template's.
async fn list_revisions(
    client: &Client,
    cluster: &ValidCluster,
    set: Option<&StatefulSet>,
    configs: &ObjectList<ConfigMap>,
) -> Result<Option<ObjectList<ControllerRevision>>, ObserveError> {
    let there = configs.iter().filter_map(|map| map.metadata.name.clone());
    let known: BTreeSet<String> = configs::recorded_configs(set).into_keys().chain(there).collect();
    if known.len() < 2 {
        return Ok(None);
    }
    let selector = ListParams::default().labels(&names::selector_text(&cluster.name));
    match Api::<ControllerRevision>::namespaced(client.clone(), &cluster.namespace).list(&selector).await {
        Ok(list) => Ok(Some(list)),
        // An older chart does not grant this permission; then nothing is pruned, which does no harm.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(source) => Err(ObserveError { what: "the list of ControllerRevisions".into(), source }),
    }
}

async fn read_services(
    client: &Client,
    cluster: &ValidCluster,
) -> Result<Vec<(String, Option<PartialObjectMeta<Service>>)>, ObserveError> {
    let named =
        [cluster.name.clone(), names::peer_service_name(&cluster.name), names::leader_service_name(&cluster.name)];
    let reads = named.map(async |name| {
        // Metadata is enough: Services are applied as a whole, and read only to learn whose they are.
        let found = get_metadata::<Service>(client, &cluster.namespace, name.clone()).await?;
        Ok((name, found))
    });
    futures::future::try_join_all(reads).await
}

async fn get_object<K>(client: &Client, namespace: &str, name: String) -> Result<Option<K>, ObserveError>
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

async fn get_metadata<K>(
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

async fn list_objects<K>(client: &Client, namespace: &str, selector: String) -> Result<ObjectList<K>, ObserveError>
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

/// Returns one slot for each ordinal of the spec, whether there is a pod or not, and one for each higher ordinal that
/// has a pod or a claim.
fn member_slots(cluster: &ValidCluster, objects: &RawObjects, now: Timestamp) -> Vec<MemberSlot> {
    let pods = objects.pods.iter().map(|pod| (pod.metadata.name.clone().unwrap_or_default(), pod));
    let pods: BTreeMap<String, &Pod> = pods.collect();
    let claims = objects.claims.iter().map(|claim| (claim.metadata.name.clone().unwrap_or_default(), claim));
    let claims: BTreeMap<String, &PersistentVolumeClaim> = claims.collect();
    // Higher ordinals belong to no member, because no cluster ever had so many replicas.
    let possible = (0..MOST_REPLICAS).filter(|ordinal| {
        pods.contains_key(&names::pod_name(&cluster.name, *ordinal))
            || claims.contains_key(&names::claim_name(&cluster.name, *ordinal))
    });
    let ordinals: BTreeSet<i32> = cluster.ordinals().chain(possible).collect();
    ordinals
        .into_iter()
        .map(|ordinal| {
            let name = names::pod_name(&cluster.name, ordinal);
            MemberSlot {
                ordinal,
                pod: pods.get(&name).map(|pod| views::pod_view(pod, now)),
                claim: claims.get(&names::claim_name(&cluster.name, ordinal)).map(|claim| views::claim_view(claim)),
                answer: None,
                notice: None,
                name,
            }
        })
        .collect()
}

async fn watch_pods(
    hub: &WatchHub,
    cluster: &ValidCluster,
    reference: &ObjectRef<ChatCluster>,
    slots: &[MemberSlot],
    identity: Option<&PeerIdentity>,
) {
    let Some(identity) = identity else { return };
    let targets = slots.iter().filter_map(|slot| {
        let pod = slot.pod.as_ref()?;
        Some(WatchTarget { uid: pod.uid.clone(), address: pod.address.clone()? })
    });
    if let Err(error) = hub.watch(reference, &targets.collect::<Vec<_>>(), identity) {
        let error = words::with_causes(&error);
        tracing::warn!(
            cluster = cluster.name,
            namespace = cluster.namespace,
            error,
            "cannot watch the admin API of a pod"
        );
    }
    hub.listen(reference).await;
}

/// Returns the marker in a ConfigMap, for the test of `apply`, which writes what this function reads.
#[cfg(test)]
pub(crate) fn marker_of(map: &ConfigMap) -> Option<crate::observed::ClusterMarker> {
    views::parse_marker(map)
}

pub(crate) use ownership::{object_key, object_version};
pub(crate) use secrets::{RENEW_AT, renew_at, secret_text};
