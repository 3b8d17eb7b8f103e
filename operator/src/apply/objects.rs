use super::{
    ApplyError, Refusal,
    ledger::{Due, Ledger, Wanted},
    within_time,
};
use crate::{
    build::Resources,
    cluster::Cluster,
    names::MANAGER,
    observe::{Live, key, version},
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
pub(super) async fn apply(
    client: &Client,
    ledger: &Ledger,
    cluster: &Cluster,
    live: &Live,
    resources: Resources,
) -> Vec<Refusal> {
    // Without `..`, so that a newly added kind cannot be forgotten.
    let Resources { service_account, configs, service, peers, leader, disruption_budget, stateful_set } = resources;
    let writer = Writer { client, ledger, cluster, live };
    // Concurrently, so that a request that hangs in an admission webhook does not delay the others.
    let writes: FuturesUnordered<BoxFuture<'_, Option<Refusal>>> = FuturesUnordered::new();
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
    let mut refusals: Vec<Refusal> = writes.filter_map(futures::future::ready).collect().await;
    // Last, because it refers to the others.
    refusals.extend(writer.apply(stateful_set).await);
    refusals.sort_by(|one, two| one.object.cmp(&two.object));
    refusals
}

/// Returns `true` if all objects are applied already, in which case the status may be reported before anything is
/// written.
pub(super) fn is_applied(ledger: &Ledger, cluster: &Cluster, live: &Live, resources: &Resources) -> bool {
    let Resources { service_account, configs, service, peers, leader, disruption_budget, stateful_set } = resources;
    let seen = Sight { ledger, cluster, live };
    let budget = match disruption_budget {
        Some(budget) => seen.is_applied(budget),
        None => !live.uids.contains_key(&key::<PodDisruptionBudget>(&cluster.name)),
    };
    budget
        && seen.is_applied::<ServiceAccount>(service_account)
        && configs.iter().all(|config| seen.is_applied::<ConfigMap>(config))
        && [service, peers, leader].into_iter().all(|service| seen.is_applied::<Service>(service))
        && seen.is_applied::<StatefulSet>(stateful_set)
}

/// Returns the ledger keys of all objects of the plan.
pub(super) fn keys(resources: &Resources) -> BTreeSet<String> {
    let Resources { service_account, configs, service, peers, leader, disruption_budget, stateful_set } = resources;
    let named = |services: &Service| key::<Service>(&services.name_any());
    let mut keys: BTreeSet<String> = [service, peers, leader].into_iter().map(named).collect();
    keys.insert(key::<ServiceAccount>(&service_account.name_any()));
    keys.extend(configs.iter().map(|config| key::<ConfigMap>(&config.name_any())));
    keys.extend(disruption_budget.iter().map(|budget| key::<PodDisruptionBudget>(&budget.name_any())));
    keys.insert(key::<StatefulSet>(&stateful_set.name_any()));
    keys
}

struct Sight<'a> {
    ledger: &'a Ledger,
    cluster: &'a Cluster,
    live: &'a Live,
}

impl Sight<'_> {
    fn is_applied<K: Resource<DynamicType = ()> + Serialize>(&self, object: &K) -> bool {
        let key = key::<K>(&object.name_any());
        self.ledger.is_applied(&self.cluster.key(), &key, &digest(object), self.live.versions.get(&key))
    }
}

pub(super) fn digest(object: &impl Serialize) -> Wanted {
    // An object that cannot be serialized cannot be sent either, which the write itself reports.
    Sha256::digest(serde_json::to_vec(object).unwrap_or_default()).into()
}

struct Writer<'a> {
    client: &'a Client,
    ledger: &'a Ledger,
    cluster: &'a Cluster,
    live: &'a Live,
}

impl Writer<'_> {
    async fn apply<K>(&self, mut object: K) -> Option<Refusal>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let name = object.name_any();
        let key = key::<K>(&name);
        let wanted = digest(&object);
        let cluster = self.cluster.key();
        match self.ledger.due(&cluster, &key, &wanted, self.live.versions.get(&key)) {
            Due::Done => return None,
            Due::Later(refusal) => return Some(refusal),
            Due::Now | Due::Again => {}
        }
        // The very object whose owner was checked: one that has replaced it since is rejected as a conflict.
        object.meta_mut().uid = self.live.uids.get(&key).cloned();
        // The content depends on the version that was observed, above all the partition.
        object.meta_mut().resource_version = self.live.guards.get(&key).cloned();
        let params = PatchParams::apply(MANAGER).force();
        let api = Api::<K>::namespaced(self.client.clone(), &self.cluster.namespace);
        match within_time("apply", &key, api.patch(&name, &params, &Patch::Apply(&object))).await {
            Ok(written) => {
                self.ledger.applied(&cluster, &key, wanted, version(written.meta()));
                None
            }
            Err(error) => Some(self.refuse(&key, wanted, &error)),
        }
    }

    async fn prune<K>(&self, name: &str) -> Option<Refusal>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let key = key::<K>(name);
        let uid = self.live.uids.get(&key).cloned()?;
        let wanted = digest(&("absent", &uid));
        if let Due::Later(refusal) = self.ledger.due(&self.cluster.key(), &key, &wanted, None) {
            return Some(refusal);
        }
        let only = Preconditions { uid: Some(uid), resource_version: None };
        let api = Api::<K>::namespaced(self.client.clone(), &self.cluster.namespace);
        let params = DeleteParams::background().preconditions(only);
        match within_time("delete", &key, api.delete(name, &params)).await {
            Ok(_) => self.ledger.done(&self.cluster.key(), &key),
            Err(ApplyError::Api { source: kube::Error::Api(status), .. }) if status.is_not_found() => {}
            Err(error) => return Some(self.refuse(&key, wanted, &error)),
        }
        None
    }

    fn refuse(&self, key: &str, wanted: Wanted, error: &ApplyError) -> Refusal {
        self.ledger.refused(&self.cluster.key(), key, wanted, Refusal::new(key, error))
    }
}
