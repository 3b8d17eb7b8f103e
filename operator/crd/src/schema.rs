//! The CustomResourceDefinition as it is shipped: the derived one, and what cannot be said by deriving.

use crate::ChatCluster;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

/// Embedded Kubernetes types, whose descriptions alone would make the file some 80 kB; `kubectl explain pod.spec` has them.
const EMBEDDED: [&str; 7] = [
    "/spec/properties/imagePullSecrets",
    "/spec/properties/podTemplate/properties/affinity",
    "/spec/properties/podTemplate/properties/topologySpreadConstraints",
    "/spec/properties/podTemplate/properties/tolerations",
    "/spec/properties/podTemplate/properties/resources",
    "/spec/properties/podTemplate/properties/env",
    "/status/properties/conditions",
];

/// The definition of ChatCluster.
///
/// # Panics
/// Never for the types of this crate, which the tests show.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    #[allow(clippy::expect_used)] // Both directions are of one type of ours; a test covers them.
    let mut value = serde_json::to_value(ChatCluster::crd()).expect("a definition is JSON");
    if let Some(properties) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties") {
        complete(properties);
    }
    #[allow(clippy::expect_used)]
    serde_json::from_value(value).expect("a completed definition is a definition")
}

fn complete(properties: &mut Value) {
    for path in EMBEDDED {
        if let Some(schema) = properties.pointer_mut(path) {
            strip_descriptions(schema);
        }
    }
    // Without it `helm install --wait` returns before any operator has seen the object: kstatus takes an object
    // without status for ready.
    set(properties, "/status", "default", json!({"observedGeneration": -1}));
    keyed_list(properties, "/status/properties/conditions", "type", 16);
    // Nine voters, nine that are joining for them.
    keyed_list(properties, "/status/properties/members", "nodeId", 18);
    let template = "/spec/properties/podTemplate/properties";
    // A name that stands twice would be refused by the API server when the pods are to be made, and nobody would see it.
    keyed_list(properties, &format!("{template}/env"), "name", 64);
    set(properties, &format!("{template}/env/items/properties/name"), "maxLength", json!(128));
    // As Kubernetes takes them.
    let value = json!({"type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"});
    for labels in ["metadata/properties/labels", "nodeSelector"] {
        set(properties, &format!("{template}/{labels}"), "additionalProperties", value.clone());
    }
}

fn keyed_list(properties: &mut Value, path: &str, key: &str, max: u32) {
    set(properties, path, "x-kubernetes-list-type", json!("map"));
    set(properties, path, "x-kubernetes-list-map-keys", json!([key]));
    set(properties, path, "maxItems", json!(max));
}

fn set(value: &mut Value, path: &str, key: &str, to: Value) {
    if let Some(Value::Object(object)) = value.pointer_mut(path) {
        object.insert(key.to_owned(), to);
    }
}

fn strip_descriptions(schema: &mut Value) {
    if let Value::Object(object) = schema {
        // A property may itself be called "description": only a string is a description.
        if object.get("description").is_some_and(Value::is_string) {
            object.remove("description");
        }
        object.values_mut().for_each(strip_descriptions);
    } else if let Value::Array(array) = schema {
        array.iter_mut().for_each(strip_descriptions);
    }
}
