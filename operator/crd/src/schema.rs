//! The CustomResourceDefinition as it is shipped: the derived one, completed with what derive macros cannot express.

use crate::ChatCluster;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

/// Fields with embedded Kubernetes types. Their descriptions alone would make the file some 80 kB, so they are removed;
/// `kubectl explain pod.spec` shows them.
const EMBEDDED: [&str; 7] = [
    "/spec/properties/imagePullSecrets",
    "/spec/properties/podTemplate/properties/affinity",
    "/spec/properties/podTemplate/properties/topologySpreadConstraints",
    "/spec/properties/podTemplate/properties/tolerations",
    "/spec/properties/podTemplate/properties/resources",
    "/spec/properties/podTemplate/properties/env",
    "/status/properties/conditions",
];

/// Returns the CustomResourceDefinition of ChatCluster.
///
/// # Panics
/// Never for the types of this crate, as the tests show.
#[must_use]
pub fn chat_cluster_crd() -> CustomResourceDefinition {
    #[allow(clippy::expect_used)] // Both directions are of one type of ours; a test covers them.
    let mut value = serde_json::to_value(ChatCluster::crd()).expect("a definition is JSON");
    if let Some(properties) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties") {
        complete_schema(properties);
    }
    #[allow(clippy::expect_used)]
    serde_json::from_value(value).expect("a completed definition is a definition")
}

fn complete_schema(properties: &mut Value) {
    for path in EMBEDDED {
        if let Some(schema) = properties.pointer_mut(path) {
            strip_descriptions(schema);
        }
    }
    // Without this default `helm install --wait` returns before any operator has seen the object, because kstatus
    // considers an object without a status ready.
    set_keyword(properties, "/status", "default", json!({"observedGeneration": -1}));
    keyed_list(properties, "/status/properties/conditions", "type", 16);
    // Nine voters, and nine learners that are joining to replace them.
    keyed_list(properties, "/status/properties/members", "nodeId", 18);
    let template = "/spec/properties/podTemplate/properties";
    // Without unique names the API server would reject a duplicate only when the pods are created, where nobody would
    // see it.
    keyed_list(properties, &format!("{template}/env"), "name", 64);
    set_keyword(properties, &format!("{template}/env/items/properties/name"), "maxLength", json!(128));
    // The limits that Kubernetes sets on label values.
    let value = json!({"type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"});
    for labels in ["metadata/properties/labels", "nodeSelector"] {
        set_keyword(properties, &format!("{template}/{labels}"), "additionalProperties", value.clone());
    }
}

fn keyed_list(properties: &mut Value, path: &str, key: &str, max: u32) {
    set_keyword(properties, path, "x-kubernetes-list-type", json!("map"));
    set_keyword(properties, path, "x-kubernetes-list-map-keys", json!([key]));
    set_keyword(properties, path, "maxItems", json!(max));
}

fn set_keyword(value: &mut Value, path: &str, key: &str, to: Value) {
    if let Some(Value::Object(object)) = value.pointer_mut(path) {
        object.insert(key.to_owned(), to);
    }
}

fn strip_descriptions(schema: &mut Value) {
    if let Value::Object(object) = schema {
        // A property may itself be named "description": only a string is a description.
        if object.get("description").is_some_and(Value::is_string) {
            object.remove("description");
        }
        object.values_mut().for_each(strip_descriptions);
    } else if let Value::Array(array) = schema {
        array.iter_mut().for_each(strip_descriptions);
    }
}
