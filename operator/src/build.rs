//! Builders: pure functions from a [`ValidCluster`] to the objects that it needs, one file per kind, without a client,
//! a clock or randomness. The expected results are in `golden/`; run the tests with `UPDATE_GOLDEN=1` after an intended
//! change.

mod accounts;
mod config;
#[cfg(test)]
mod coverage;
mod disruption_budget;
mod pod;
mod secrets;
mod service;
mod service_account;
mod stateful_set;
mod template;

pub(crate) use config::FILE as CONFIG_FILE;
pub use config::{config_map, config_name, config_text};
pub use stateful_set::stateful_set;
pub(crate) use template::short_hash;
pub use template::{RecordedTemplate, TemplateChoice, choose_template};

use crate::{cluster::ValidCluster, names, observed::ConfigView};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use quorate_crd::annotation;
use serde_json::Value;
use std::collections::BTreeMap;

/// Objects of a cluster that are applied. Secrets and the marker are not among them, because they are created once.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredResources {
    /// Identity of the pods, without any permissions.
    pub service_account: ServiceAccount,
    /// Configuration of the pods, and every other configuration that is missing but still referenced.
    pub configs: Vec<ConfigMap>,
    /// Service for clients, which routes to any ready pod.
    pub service: Service,
    /// Headless Service that gives pods their DNS names, ready or not.
    pub peers: Service,
    /// Service that routes people to the leader, on a best-effort basis.
    pub leader: Service,
    /// Budget for drains; `None` at one replica or when disabled.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// StatefulSet that runs the pods.
    pub stateful_set: StatefulSet,
}

/// State of the live StatefulSet that is carried over to the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CarriedState {
    /// Template that the live StatefulSet was applied with.
    pub recorded: Option<RecordedTemplate>,
    /// Claim templates of the live StatefulSet as JSON. They are immutable.
    pub claim_templates: Option<Value>,
    /// Partition of the rolling update: pods with a lower ordinal keep their revision. `None` stands for the rest
    /// state, a partition at `replicas`.
    pub partition: Option<i32>,
    /// `true` if the update strategy is `OnDelete`: recreated pods get the newest revision whatever the partition, and
    /// no pod is restarted for it.
    pub on_delete: bool,
    /// Number of pods to run; `None` stands for the number in the spec.
    pub replicas: Option<i32>,
    /// `true` if no pod can be spared, so that a drain has to wait.
    pub fragile: bool,
}

/// Builds all objects of the cluster.
#[must_use]
pub fn build_resources(cluster: &ValidCluster, carried: &CarriedState) -> DesiredResources {
    let template = choose_template(cluster, carried.recorded.as_ref());
    DesiredResources {
        service_account: service_account::service_account(cluster),
        // A kept template mounts the configuration that it was applied with, for which `keep_configs` provides.
        configs: template.is_current().then(|| config_map(cluster)).into_iter().collect(),
        service: service::client_service(cluster),
        peers: service::peer_service(cluster),
        leader: service::leader_service(cluster),
        disruption_budget: disruption_budget::disruption_budget(cluster, carried),
        stateful_set: stateful_set(cluster, &template, carried),
    }
}

impl DesiredResources {
    /// Adds every missing configuration that is still referenced, and records the contents of all configurations in
    /// use. A pod whose ConfigMap is missing hangs in `FailedMount` for ever.
    pub fn keep_configs(&mut self, cluster: &ValidCluster, known: &[ConfigView]) {
        let current = self.configs.iter().filter_map(|map| {
            let text = map.data.as_ref()?.get(config::FILE)?.clone();
            Some((map.metadata.name.clone()?, text))
        });
        let mut texts: BTreeMap<String, String> = current.collect();
        for view in known.iter().filter(|view| view.used) {
            let Some(text) = &view.text else { continue };
            if texts.insert(view.name.clone(), text.clone()).is_none() && !view.exists {
                self.configs.push(config::named_config_map(cluster, view.name.clone(), text.clone()));
            }
        }
        let annotations = self.stateful_set.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation::CONFIGS.to_owned(), serde_json::json!(texts).to_string());
    }
}

fn object_meta(cluster: &ValidCluster, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(names::object_labels(&cluster.name)),
        owner_references: Some(vec![cluster.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use serde::Serialize;
    use std::{env, fs, path::PathBuf};

    /// Compares an object with `golden/NAME.yaml`, or writes that file.
    fn golden<T: Serialize>(name: &str, object: &T) {
        // Tests run in the directory of their package.
        let path = PathBuf::from(format!("src/build/golden/{name}.yaml"));
        let value = serde_json::to_value(object).expect("JSON");
        let text = serde_yaml_ng::to_string(&value).expect("YAML");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(&path, &text).expect("written");
        }
        let expected = fs::read_to_string(&path).expect("golden file");
        assert_eq!(text, expected, "{name}: if the change is meant, run with UPDATE_GOLDEN=1");
    }

    #[test]
    fn objects_of_the_sample_are_the_golden_ones() {
        let DesiredResources { service_account, configs, service, peers, leader, disruption_budget, stateful_set } =
            build_resources(&fixture::cluster(), &CarriedState::default());
        golden("service-account", &service_account);
        golden("config", &configs.first());
        golden("service", &service);
        golden("service-peers", &peers);
        golden("service-leader", &leader);
        golden("disruption-budget", &disruption_budget);
        golden("stateful-set", &stateful_set);
    }

    #[test]
    fn one_replica_has_no_disruption_budget() {
        let mut cluster = fixture::cluster();
        cluster.spec.replicas = 1;
        assert!(build_resources(&cluster, &CarriedState::default()).disruption_budget.is_none());
    }

    #[test]
    fn the_budget_and_the_pods_follow_the_voters() {
        let mut cluster = fixture::cluster();
        cluster.spec.replicas = 1;
        let carried = CarriedState { replicas: Some(5), fragile: true, on_delete: true, ..CarriedState::default() };
        let DesiredResources { disruption_budget, stateful_set, .. } = build_resources(&cluster, &carried);
        let budget = disruption_budget.and_then(|budget| budget.spec).expect("five pods are worth one");
        assert_eq!(serde_json::to_value(budget.max_unavailable).expect("JSON"), 0);
        let spec = stateful_set.spec.expect("a spec");
        assert_eq!(spec.replicas, Some(5));
        let strategy = spec.update_strategy.expect("a strategy");
        // The API server rejects a partition together with `OnDelete`.
        assert_eq!((strategy.type_.as_deref(), strategy.rolling_update), (Some("OnDelete"), None));
    }

    #[test]
    fn pods_are_scraped_unless_the_spec_says_otherwise() {
        let scraped = |cluster: &ValidCluster| {
            let set = build_resources(cluster, &CarriedState::default()).stateful_set;
            let metadata = set.spec.and_then(|spec| spec.template.metadata).expect("metadata");
            metadata.annotations.and_then(|all| all.get("prometheus.io/scrape").cloned())
        };
        let mut cluster = fixture::cluster();
        assert_eq!(scraped(&cluster).as_deref(), Some("true"));
        cluster.spec.pod_template.metadata.annotations.insert("prometheus.io/scrape".into(), "false".into());
        assert_eq!(scraped(&cluster).as_deref(), Some("false"));
    }

    #[test]
    fn claim_templates_stay_as_they_were_made() {
        let cluster = fixture::cluster();
        let made = build_resources(&cluster, &CarriedState::default()).stateful_set;
        let claims = made.spec.and_then(|spec| spec.volume_claim_templates);
        let mut grown = cluster;
        grown.spec.storage.size = k8s_openapi::apimachinery::pkg::api::resource::Quantity("5Gi".into());
        let recorded = serde_json::to_value(&claims).expect("JSON");
        let carried = CarriedState { claim_templates: Some(recorded), ..CarriedState::default() };
        let again = build_resources(&grown, &carried).stateful_set;
        assert_eq!(again.spec.and_then(|spec| spec.volume_claim_templates), claims);
    }

    #[test]
    fn a_config_map_that_something_names_is_made_again_with_its_old_content() {
        let cluster = fixture::cluster();
        let view = |name: &str, exists, used| ConfigView {
            name: name.into(),
            used,
            exists,
            text: Some(format!("text of {name}")),
        };
        let mut made = build_resources(&cluster, &CarriedState::default());
        made.keep_configs(&cluster, &[view("gone", false, true), view("there", true, true), view("old", true, false)]);
        let names: Vec<_> = made.configs.iter().filter_map(|map| map.metadata.name.clone()).collect();
        assert_eq!(names, [config_name(&cluster), "gone".into()]);
        let again = made.configs.last().and_then(|map| map.data.as_ref()?.get("chatd.yaml").cloned());
        assert_eq!(again.as_deref(), Some("text of gone"));
        let noted = made.stateful_set.metadata.annotations.and_then(|all| all.get(annotation::CONFIGS).cloned());
        let noted: BTreeMap<String, String> = serde_json::from_str(&noted.expect("a record")).expect("JSON");
        assert_eq!(noted.into_keys().collect::<Vec<_>>(), ["gone", config_name(&cluster).as_str(), "there"]);
    }

    #[test]
    fn a_recorded_template_stays_until_the_spec_changes_or_the_new_one_is_accepted() {
        let cluster = fixture::cluster();
        let mut recorded = choose_template(&cluster, None).record();
        // A template that an older operator would have built.
        recorded.pod = serde_json::json!({"spec": {"containers": [], "terminationGracePeriodSeconds": 30}});
        assert!(!choose_template(&cluster, Some(&recorded)).is_current());
        let carried = CarriedState { recorded: Some(recorded.clone()), ..CarriedState::default() };
        assert!(build_resources(&cluster, &carried).configs.is_empty());

        let mut changed = cluster.clone();
        changed.spec.image = "localhost/quorate:next".into();
        assert!(choose_template(&changed, Some(&recorded)).is_current());

        let mut accepted = cluster;
        accepted.accepted_template = Some("1".into());
        assert!(choose_template(&accepted, Some(&recorded)).is_current());
    }
}
