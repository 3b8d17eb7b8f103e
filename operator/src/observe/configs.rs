//! Configurations that exist, and those that are still referenced.
//!
//! A pod can be created from the StatefulSet's template or from any revision that its controller keeps, even while
//! there is no pod at all. A ConfigMap that one of them references must stay, or every pod created from it hangs in
//! `FailedMount`.

use crate::{build::CONFIG_FILE, observed::ConfigView};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{ConfigMap, Pod, PodSpec},
};
use quorate_crd::annotation;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the contents recorded on the StatefulSet, by the name of the ConfigMap.
pub(super) fn recorded_configs(set: Option<&StatefulSet>) -> BTreeMap<String, String> {
    let text = set.and_then(|set| set.metadata.annotations.as_ref()?.get(annotation::CONFIGS));
    // An unreadable record counts as none: as a rule, the ConfigMaps themselves exist.
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Returns every configuration that exists or is known to have existed. Without `revisions`, all count as referenced.
pub(super) fn config_views(
    configs: &[ConfigMap],
    set: Option<&StatefulSet>,
    pods: &[Pod],
    revisions: Option<&[ControllerRevision]>,
) -> Vec<ConfigView> {
    let mut known: BTreeMap<String, ConfigView> = BTreeMap::new();
    for (name, text) in recorded_configs(set) {
        known.insert(name.clone(), ConfigView { name, text: Some(text), ..ConfigView::default() });
    }
    // After the records, which they replace: ConfigMaps of configurations are immutable, so what exists is what was
    // applied.
    for map in configs {
        let Some(name) = map.metadata.name.clone() else { continue };
        let text = map.data.as_ref().and_then(|data| data.get(CONFIG_FILE).cloned());
        known.insert(name.clone(), ConfigView { name, exists: true, text, ..ConfigView::default() });
    }
    let mut named: BTreeSet<String> =
        pods.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(mounted_configs).collect();
    named.extend(set.and_then(|set| set.spec.as_ref()?.template.spec.as_ref()).into_iter().flat_map(mounted_configs));
    named.extend(revisions.into_iter().flatten().flat_map(mounted_by_revision));
    let is_named = |name: &str| revisions.is_none() || named.contains(name);
    known.into_values().map(|view| ConfigView { used: is_named(&view.name), ..view }).collect()
}

pub(super) fn mounted_configs(pod: &PodSpec) -> impl Iterator<Item = String> {
    let volumes = pod.volumes.iter().flatten();
    volumes.filter_map(|volume| Some(volume.config_map.as_ref()?.name.clone()))
}

/// Returns the names of the ConfigMaps that a revision mounts. A revision holds the template as the StatefulSet
/// controller recorded it: a patch, which is not typed.
fn mounted_by_revision(revision: &ControllerRevision) -> Vec<String> {
    let volumes = revision.data.as_ref().and_then(|data| data.0.pointer("/spec/template/spec/volumes"));
    let names = volumes.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|volume| Some(volume.pointer("/configMap/name")?.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volumes(name: &str) -> Value {
        json!([{"name": "tmp", "emptyDir": {}}, {"name": "config", "configMap": {"name": name}}])
    }

    fn config(name: &str) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": name}, "data": {"chatd.yaml": format!("of {name}")}}))
            .expect("a ConfigMap")
    }

    fn set(names: &str, recorded: &[&str]) -> StatefulSet {
        let texts: BTreeMap<&str, String> = recorded.iter().map(|name| (*name, format!("of {name}"))).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "team", "annotations": {annotation::CONFIGS: json!(texts).to_string()}},
            "spec": {"selector": {}, "serviceName": "team-peers", "template": {"spec": {"containers": [], "volumes": volumes(names)}}},
        }))
        .expect("a StatefulSet")
    }

    fn revision(names: &str) -> ControllerRevision {
        serde_json::from_value(json!({
            "metadata": {"name": format!("of-{names}")},
            "revision": 1,
            "data": {"spec": {"template": {"spec": {"volumes": volumes(names)}}}},
        }))
        .expect("a ControllerRevision")
    }

    fn used(views: &[ConfigView]) -> Vec<&str> {
        views.iter().filter(|view| view.used).map(|view| view.name.as_str()).collect()
    }

    #[test]
    fn what_the_template_names_is_used_though_no_pod_is_left() {
        let found = config_views(&[config("a"), config("b")], Some(&set("a", &[])), &[], Some(&[]));
        assert_eq!(used(&found), ["a"]);
    }

    #[test]
    fn what_a_revision_names_is_used_though_the_template_does_not() {
        let found =
            config_views(&[config("a"), config("b"), config("c")], Some(&set("b", &[])), &[], Some(&[revision("a")]));
        assert_eq!(used(&found), ["a", "b"]);
    }

    #[test]
    fn nothing_is_unused_while_the_revisions_are_not_known() {
        let found = config_views(&[config("a"), config("b")], Some(&set("a", &[])), &[], None);
        assert_eq!(used(&found), ["a", "b"]);
    }

    #[test]
    fn what_was_recorded_and_is_gone_is_known_with_its_text() {
        let found = config_views(&[config("b")], Some(&set("a", &["a", "b"])), &[], Some(&[]));
        let gone = found.iter().find(|view| view.name == "a").expect("it is known");
        assert!(gone.used && !gone.exists);
        assert_eq!(gone.text.as_deref(), Some("of a"));
    }
}
