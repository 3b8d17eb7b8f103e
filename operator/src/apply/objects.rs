use super::ApplyError;
use crate::{
    build::Resources,
    cluster::Cluster,
    names::MANAGER,
    observe::{Live, key, version},
};
use k8s_openapi::{
    NamespaceResourceScope, api::policy::v1::PodDisruptionBudget, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What was applied, and what the objects' versions were then. While both are the same there is nothing to write.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    wanted: [u8; 32],
    versions: BTreeMap<String, String>,
    at: Instant,
}

/// Objects are compared in full at least this often, so that changed labels are put right too.
const RESYNC: Duration = Duration::from_secs(300);

/// The fingerprint of each ChatCluster, by uid.
#[derive(Debug, Default)]
pub struct Fingerprints(Mutex<HashMap<String, Fingerprint>>);

impl Fingerprints {
    fn matches(&self, uid: &str, wanted: &[u8; 32], live: &Live) -> bool {
        let prints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prints.get(uid).is_some_and(|print| {
            print.wanted == *wanted
                && print.at.elapsed() < RESYNC
                && print.versions.iter().all(|(key, version)| live.versions.get(key) == Some(version))
        })
    }

    fn keep(&self, uid: &str, print: Fingerprint) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), print);
    }

    /// Forgets a ChatCluster that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Applies every object, unless all are as they were left.
pub(super) async fn apply(
    client: &Client,
    fingerprints: &Fingerprints,
    cluster: &Cluster,
    live: &Live,
    resources: Resources,
) -> Result<(), ApplyError> {
    let wanted = hash(&resources);
    if fingerprints.matches(&cluster.uid, &wanted, live) {
        return Ok(());
    }
    // Without `..`: a kind that is added must be applied.
    let Resources { service_account, config, service, peers, leader, disruption_budget, stateful_set } = resources;
    let writer = Writer { client, namespace: &cluster.namespace, live };
    let mut versions = BTreeMap::new();
    let mut note = |(key, version)| versions.insert(key, version);
    note(writer.apply(service_account).await?);
    if let Some(config) = config {
        note(writer.apply(config).await?);
    }
    note(writer.apply(service).await?);
    note(writer.apply(peers).await?);
    note(writer.apply(leader).await?);
    match disruption_budget {
        Some(budget) => drop(note(writer.apply(budget).await?)),
        None => writer.prune::<PodDisruptionBudget>(&cluster.name).await?,
    }
    // Last: it refers to the others.
    note(writer.apply(stateful_set).await?);
    fingerprints.keep(&cluster.uid, Fingerprint { wanted, versions, at: Instant::now() });
    Ok(())
}

fn hash(resources: &Resources) -> [u8; 32] {
    let Resources { service_account, config, service, peers, leader, disruption_budget, stateful_set } = resources;
    let all = serde_json::json!([service_account, config, service, peers, leader, disruption_budget, stateful_set]);
    Sha256::digest(all.to_string()).into()
}

struct Writer<'a> {
    client: &'a Client,
    namespace: &'a str,
    live: &'a Live,
}

impl Writer<'_> {
    async fn apply<K>(&self, mut object: K) -> Result<(String, String), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let name = object.meta().name.clone().unwrap_or_default();
        let key = key::<K>(&name);
        // The very object whose owner was looked at: one that was put in its place meanwhile is refused as a conflict.
        object.meta_mut().uid = self.live.uids.get(&key).cloned();
        let written = Api::<K>::namespaced(self.client.clone(), self.namespace)
            .patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object))
            .await
            .map_err(ApplyError::api("apply", key.clone()))?;
        let metadata: &ObjectMeta = written.meta();
        Ok((key, version(metadata)))
    }

    async fn prune<K>(&self, name: &str) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let key = key::<K>(name);
        let Some(uid) = self.live.uids.get(&key).cloned() else { return Ok(()) };
        let only = Preconditions { uid: Some(uid), resource_version: None };
        let api = Api::<K>::namespaced(self.client.clone(), self.namespace);
        match api.delete(name, &DeleteParams::background().preconditions(only)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(ApplyError::api("delete", key)(error)),
        }
    }
}
