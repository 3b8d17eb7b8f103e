//! Values of `charts/quorate-operator`. Its pods are configured as those of a ChatCluster, as far as they have the same
//! fields.

use super::{draft::draft_schema, string_map};
use anyhow::Context as _;
use serde_json::{Value, json};

/// Returns the schema of the chart's values.
pub(super) fn chart_values(definition: &Value) -> anyhow::Result<Value> {
    let shared = |field: &str| shared_field(definition, field);
    // Goes into a Deployment as it is: an API server that is newer than the definition may know further fields.
    let passed_on = |field: &str| shared(field).map(open_objects);
    Ok(closed_object(json!({
        "global": {"type": "object"},
        "image": with_required("repository", closed_object(json!({
            "repository": {"type": "string", "minLength": 1},
            "tag": {"type": "string"},
            "pullPolicy": shared("imagePullPolicy")?,
        }))),
        "imagePullSecrets": shared("imagePullSecrets")?,
        "replicas": {"type": "integer", "minimum": 0, "maximum": 5},
        "watchNamespaces": {
            "type": "array",
            "uniqueItems": true,
            "items": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
        },
        "crd": closed_object(json!({"install": {"type": "boolean"}})),
        "log": closed_object(json!({
            "filter": {"type": "string", "minLength": 1},
            "format": shared("log/format")?,
        })),
        "monitoring": monitoring_values(),
        "user": shared("podTemplate/user")?,
        "resources": passed_on("podTemplate/resources")?,
        "podAnnotations": shared("podTemplate/metadata/annotations")?,
        "podLabels": shared("podTemplate/metadata/labels")?,
        "nodeSelector": shared("podTemplate/nodeSelector")?,
        "tolerations": passed_on("podTemplate/tolerations")?,
        "affinity": passed_on("podTemplate/affinity")?,
        "priorityClassName": shared("podTemplate/priorityClassName")?,
    })))
}

fn monitoring_values() -> Value {
    closed_object(json!({
        "podMonitor": closed_object(json!({
            "enabled": {"type": "boolean"},
            "labels": string_map(),
            "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
        })),
        "rules": closed_object(json!({
            "enabled": {"type": "boolean"},
            "labels": string_map(),
        })),
        "dashboards": closed_object(json!({
            "enabled": {"type": "boolean"},
            "namespace": {"type": "string", "maxLength": 63},
            "labels": string_map(),
            "annotations": string_map(),
        })),
    }))
}

/// Returns the schema of a field of the spec, whose path is separated by slashes.
fn shared_field(definition: &Value, field: &str) -> anyhow::Result<Value> {
    let path = field.replace('/', "/properties/");
    let found =
        definition.pointer(&format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{path}"));
    let mut schema = draft_schema(found.with_context(|| format!("the spec has no {field}"))?);
    if let Some(keywords) = schema.as_object_mut() {
        // Description, default and size limits are the ChatCluster's; the operator's pod is not stored in one.
        for keyword in ["description", "default", "maxItems", "maxProperties"] {
            keywords.remove(keyword);
        }
    }
    Ok(schema)
}

/// Allows any further property in all objects of a schema.
fn open_objects(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(keywords) => {
            keywords.retain(|keyword, value| keyword != "additionalProperties" || *value != json!(false));
            keywords.values_mut().for_each(|value| *value = open_objects(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = open_objects(item.take())),
        _ => {}
    }
    schema
}

/// Returns the schema of an object that may have these properties and no others.
fn closed_object(properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn with_required(property: &str, mut object: Value) -> Value {
    if let Some(keywords) = object.as_object_mut() {
        keywords.insert("required".into(), json!([property]));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_share_has_the_form_of_the_definition() {
        let definition = serde_json::to_value(quorate_crd::chat_cluster_crd()).expect("a definition");
        let values = chart_values(&definition).expect("values");
        assert_eq!(values.pointer("/properties/user/enum"), Some(&json!(["Fixed", "Assigned"])));
        assert_eq!(values.pointer("/properties/tolerations/type"), Some(&json!("array")));
        assert_eq!(values.pointer("/properties/tolerations/items/additionalProperties"), None);
        assert_eq!(values.pointer("/properties/image/additionalProperties"), Some(&json!(false)));
        assert_eq!(values.pointer("/properties/tolerations/maxItems"), None);
    }

    #[test]
    fn a_field_that_the_spec_does_not_have_is_an_error() {
        let definition = serde_json::to_value(quorate_crd::chat_cluster_crd()).expect("a definition");
        let error = shared_field(&definition, "podTemplate/shoes").expect_err("no such field").to_string();
        assert!(error.contains("podTemplate/shoes"), "{error}");
    }
}
