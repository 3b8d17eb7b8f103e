use super::{
    ApiRequest, ApplyError, WriteRefusal,
    ledger::{ContentDigest, WriteDue, WriteLedger},
    within_time,
};
use crate::{
    build::DesiredResources,
    cluster::ValidCluster,
    names::MANAGER,
    observe::{LiveVersions, object_key, object_version},
};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, fmt::Debug};

/// Applies every object that has changed since it was last applied. Refusals are returned and hold up no other object.
pub(super) async fn apply_objects(
    client: &Client,
    ledger: &WriteLedger,
    cluster: &ValidCluster,
    live: &LiveVersions,
    resources: DesiredResources,
) -> Vec<WriteRefusal> {
    // Without `..`, so that a newly added kind cannot be forgotten.
    let DesiredResources { service_account, configs, service, peers, leader, disruption_budget, stateful_set } =
        resources;
    let writer = ObjectWriter { client, ledger, cluster, live };
    // Concurrently, so that a request that hangs in an admission webhook does not delay the others.
    let writes: FuturesUnordered<BoxFuture<'_, Option<WriteRefusal>>> = FuturesUnordered::new();
    writes.push(Box::pin(writer.apply(service_account)));
    for config in configs {
        writes.push(Box::pin(writer.apply(config)));
    }
    for service in [service, peers, leader] {
        writes.push(Box::pin(writer.apply(service)));
    }
    match disruption_budget {
        Some(budget) => writes.push(Box::pin(writer.apply(budget))),
        None => writes.push(Box::pin(writer.prune::<PodDisruptionBudget>(&cluster.name))),
    }
    let mut refusals: Vec<WriteRefusal> = writes.filter_map(futures::future::ready).collect().await;
    // Last, because it refers to the others.
    refusals.extend(writer.apply(stateful_set).await);
    refusals.sort_by(|one, two| one.object.cmp(&two.object));
    refusals
}

/// Returns `true` if all objects are applied already, in which case the status may be reported before anything is
/// written.
pub(super) fn is_applied(
    ledger: &WriteLedger,
    cluster: &ValidCluster,
    live: &LiveVersions,
    resources: &DesiredResources,
) -> bool {
    let DesiredResources { service_account, configs, service, peers, leader, disruption_budget, stateful_set } =
        resources;
    let seen = AppliedCheck { ledger, cluster, live };
    let budget = match disruption_budget {
        Some(budget) => seen.is_applied(budget),
        None => !live.uids.contains_key(&object_key::<PodDisruptionBudget>(&cluster.name)),
    };
    budget
        && seen.is_applied::<ServiceAccount>(service_account)
        && configs.iter().all(|config| seen.is_applied::<ConfigMap>(config))
        && [service, peers, leader].into_iter().all(|service| seen.is_applied::<Service>(service))
        && seen.is_applied::<StatefulSet>(stateful_set)
}

/// Returns the ledger keys of all objects of the plan.
pub(super) fn ledger_keys(resources: &DesiredResources) -> BTreeSet<String> {
    let DesiredResources { service_account, configs, service, peers, leader, disruption_budget, stateful_set } =
        resources;
    let named = |services: &Service| object_key::<Service>(&services.name_any());
    let mut keys: BTreeSet<String> = [service, peers, leader].into_iter().map(named).collect();
    keys.insert(object_key::<ServiceAccount>(&service_account.name_any()));
    keys.extend(configs.iter().map(|config| object_key::<ConfigMap>(&config.name_any())));
    keys.extend(disruption_budget.iter().map(|budget| object_key::<PodDisruptionBudget>(&budget.name_any())));
    keys.insert(object_key::<StatefulSet>(&stateful_set.name_any()));
    keys
}

struct AppliedCheck<'a> {
    ledger: &'a WriteLedger,
    cluster: &'a ValidCluster,
    live: &'a LiveVersions,
}

impl AppliedCheck<'_> {
    fn is_applied<K: Resource<DynamicType = ()> + Serialize>(&self, object: &K) -> bool {
        let key = object_key::<K>(&object.name_any());
        self.ledger.is_applied(&self.cluster.key(), &key, &content_digest(object), self.live.versions.get(&key))
    }
}

pub(super) fn content_digest(object: &impl Serialize) -> ContentDigest {
    // An object that cannot be serialized cannot be sent either, which the write itself reports.
    Sha256::digest(serde_json::to_vec(object).unwrap_or_default()).into()
}

struct ObjectWriter<'a> {
    client: &'a Client,
    ledger: &'a WriteLedger,
    cluster: &'a ValidCluster,
    live: &'a LiveVersions,
}

impl ObjectWriter<'_> {
    async fn apply<K>(&self, mut object: K) -> Option<WriteRefusal>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let name = object.name_any();
        let key = object_key::<K>(&name);
        let wanted = content_digest(&object);
        let cluster = self.cluster.key();
        match self.ledger.due(&cluster, &key, &wanted, self.live.versions.get(&key)) {
            WriteDue::Done => return None,
            WriteDue::Later(refusal) => return Some(refusal),
            WriteDue::Now | WriteDue::Again => {}
        }
        // The very object whose owner was checked: one that has replaced it since is rejected as a conflict.
        object.meta_mut().uid = self.live.uids.get(&key).cloned();
        // The content depends on the version that was observed, above all the partition.
        object.meta_mut().resource_version = self.live.guards.get(&key).cloned();
        // Forced: the owner has been checked, so a conflict only means that somebody else has set one of our fields.
        let params = PatchParams::apply(MANAGER).force();
        let api = Api::<K>::namespaced(self.client.clone(), &self.cluster.namespace);
        match within_time(ApiRequest::Apply, &key, api.patch(&name, &params, &Patch::Apply(&object))).await {
            Ok(written) => {
                self.ledger.applied(&cluster, &key, wanted, object_version(written.meta()));
                None
            }
            Err(error) => Some(self.refuse(&key, wanted, &error)),
        }
    }

    async fn prune<K>(&self, name: &str) -> Option<WriteRefusal>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let key = object_key::<K>(name);
        let uid = self.live.uids.get(&key).cloned()?;
        let wanted = content_digest(&("absent", &uid));
        if let WriteDue::Later(refusal) = self.ledger.due(&self.cluster.key(), &key, &wanted, None) {
            return Some(refusal);
        }
        // The very object whose owner was checked, not one that has replaced it since.
        let only = Preconditions { uid: Some(uid), resource_version: None };
        let api = Api::<K>::namespaced(self.client.clone(), &self.cluster.namespace);
        let params = DeleteParams::background().preconditions(only);
        match within_time(ApiRequest::Delete, &key, api.delete(name, &params)).await {
            Ok(_) => self.ledger.done(&self.cluster.key(), &key),
            Err(ApplyError::Api { source: kube::Error::Api(status), .. }) if status.is_not_found() => {}
            Err(error) => return Some(self.refuse(&key, wanted, &error)),
        }
        None
    }

    fn refuse(&self, key: &str, wanted: ContentDigest, error: &ApplyError) -> WriteRefusal {
        self.ledger.refused(&self.cluster.key(), key, wanted, WriteRefusal::new(key, error))
    }
}
