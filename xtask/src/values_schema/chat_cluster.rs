//! Values of `charts/quorate`: the spec of the ChatCluster, and the names of the object.

use super::{draft::draft_schema, rule::required_pattern, string_map};
use anyhow::Context as _;
use serde_json::{Value, json};

/// Returns the schema of the chart's values.
pub(super) fn chart_values(definition: &Value) -> anyhow::Result<Value> {
    let object = definition
        .pointer("/spec/versions/0/schema/openAPIV3Schema")
        .context("the CustomResourceDefinition has no schema")?;
    let mut values = draft_schema(object.pointer("/properties/spec").context("the schema has no spec")?);
    let keywords = values.as_object_mut().context("the spec is no object")?;
    keywords.insert("description".into(), json!("Spec of the ChatCluster, and the names of the object."));
    let fields = keywords.get_mut("properties").and_then(Value::as_object_mut).context("the spec has no fields")?;
    // The template omits these two if they are empty, as they are in values.yaml, and the definition refuses them empty.
    for (field, empty) in [("progressDeadline", json!("")), ("traces", json!({}))] {
        let schema = fields.get_mut(field).with_context(|| format!("the spec has no {field}"))?;
        *schema = or_empty(empty, schema.take());
    }
    fields.insert("name".into(), or_empty(json!(""), object_name(object)?));
    fields.insert("annotations".into(), string_map());
    fields.insert("global".into(), json!({"type": "object"}));
    Ok(values)
}

/// Returns the schema of the object's name, which the definition restricts by a rule of the whole object.
fn object_name(object: &Value) -> anyhow::Result<Value> {
    let rules = object.get("x-kubernetes-validations").and_then(Value::as_array).context("the object has no rules")?;
    let pattern = rules
        .iter()
        .filter_map(|validation| validation.get("rule")?.as_str())
        .find_map(|rule| required_pattern("self.metadata.name", rule))
        .context("no rule restricts the name of a ChatCluster")?;
    Ok(json!({
        "description": "Name of the ChatCluster. Defaults to the name of the release.",
        "type": "string",
        "pattern": pattern,
    }))
}

fn or_empty(empty: Value, schema: Value) -> Value {
    json!({"anyOf": [{"const": empty}, schema]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_template_omits_may_be_empty() {
        let definition = serde_json::to_value(quorate_crd::chat_cluster_crd()).expect("a definition");
        let values = chart_values(&definition).expect("values");
        let default = |field: &str| values.pointer(&format!("/properties/{field}/anyOf/0/const")).cloned();
        assert_eq!(default("name"), Some(json!("")));
        assert_eq!(default("progressDeadline"), Some(json!("")));
        assert_eq!(default("traces"), Some(json!({})));
        assert_eq!(default("chat"), None);
    }

    #[test]
    fn each_pattern_of_a_rule_reaches_its_value() {
        let definition = serde_json::to_value(quorate_crd::chat_cluster_crd()).expect("a definition");
        let values = chart_values(&definition).expect("values");
        for path in [
            "name/anyOf/1",
            "serverName",
            "image",
            "progressDeadline/anyOf/1",
            "storage/properties/size",
            "storage/properties/storageClassName",
            "chat/properties/administrators/items",
            "chat/properties/accounts/properties/accessTokenLifetime",
            "chat/properties/accounts/properties/jwt/properties/audiences/items",
            "chat/properties/accounts/properties/jwt/properties/keySecretRef/properties/name",
            "chat/properties/accounts/properties/terms/properties/url",
            "chat/properties/presence/properties/podTimeout",
            "chat/properties/publicBaseURL",
            "chat/properties/rateLimit/properties/per",
            "chat/properties/sessionLifetime",
            "raft/properties/heartbeatInterval",
            "raft/properties/electionTimeout/properties/min",
            "raft/properties/electionTimeout/properties/max",
            "traces/anyOf/1/properties/endpoint",
            "traces/anyOf/1/properties/sampleRatio",
        ] {
            let pattern = values.pointer(&format!("/properties/{path}/pattern"));
            assert!(pattern.is_some(), "{path} has no pattern");
        }
        assert_eq!(values.pointer("/properties/replicas/enum"), Some(&json!([1, 3, 5, 7, 9])));
    }
}
