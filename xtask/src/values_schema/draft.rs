//! Conversion of a structural schema of Kubernetes (OpenAPI v3) to JSON schema, draft-07.

use super::rule::add_rule;
use serde_json::{Map, Value, json};

/// Returns the draft-07 schema that accepts the same values, except that objects are closed: the API server drops a
/// field that it does not know, or refuses it, and a misspelt value should be found before.
pub(super) fn draft_schema(structural: &Value) -> Value {
    let Value::Object(structural) = structural else { return structural.clone() };
    let mut draft = Map::new();
    for (keyword, value) in structural {
        if let Some(value) = draft_keyword(keyword, value) {
            draft.insert(keyword.clone(), value);
        }
    }
    if is_set(structural, "x-kubernetes-int-or-string") {
        draft.insert("type".into(), json!(["integer", "string"]));
    }
    if draft.contains_key("properties")
        && !draft.contains_key("additionalProperties")
        && !is_set(structural, "x-kubernetes-preserve-unknown-fields")
    {
        draft.insert("additionalProperties".into(), json!(false));
    }
    for rule in validation_rules(structural) {
        add_rule(&mut draft, rule);
    }
    if is_set(structural, "nullable") {
        admit_null(&mut draft);
    }
    Value::Object(draft)
}

/// Returns the value of a keyword that both dialects have.
fn draft_keyword(keyword: &str, value: &Value) -> Option<Value> {
    match keyword {
        "properties" => {
            let properties = value.as_object()?.iter();
            Some(properties.map(|(name, schema)| (name.clone(), draft_schema(schema))).collect())
        }
        "items" | "additionalProperties" => Some(draft_schema(value)),
        // Formats are those of OpenAPI, such as uint32, which JSON schema does not know.
        "format" | "nullable" => None,
        extension if extension.starts_with("x-kubernetes-") => None,
        _ => Some(value.clone()),
    }
}

fn is_set(schema: &Map<String, Value>, keyword: &str) -> bool {
    schema.get(keyword) == Some(&Value::Bool(true))
}

fn validation_rules(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let validations = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    validations.into_iter().flatten().filter_map(|validation| validation.get("rule")?.as_str())
}

fn admit_null(schema: &mut Map<String, Value>) {
    let types = match schema.remove("type") {
        Some(Value::Array(types)) => types,
        Some(one) => vec![one],
        // Without a type, null is accepted.
        None => return,
    };
    schema.insert("type".into(), types.into_iter().chain([json!("null")]).collect());
    if let Some(Value::Array(choices)) = schema.get_mut("enum") {
        choices.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(structural: Value, expected: Value) {
        assert_eq!(draft_schema(&structural), expected);
    }

    #[test]
    fn an_object_is_closed_unless_its_keys_are_free() {
        check(
            json!({"type": "object", "properties": {"a": {"type": "string"}}}),
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false}),
        );
        let free = json!({"type": "object", "additionalProperties": {"type": "string"}});
        check(free.clone(), free);
    }

    #[test]
    fn what_only_kubernetes_knows_is_left_out() {
        check(
            json!({"type": "integer", "format": "int32", "x-kubernetes-list-type": "map"}),
            json!({"type": "integer"}),
        );
        check(json!({"x-kubernetes-int-or-string": true}), json!({"type": ["integer", "string"]}));
    }

    #[test]
    fn a_property_may_have_the_name_of_a_keyword() {
        check(
            json!({"properties": {"format": {"type": "string"}, "nullable": {"type": "boolean"}}}),
            json!({
                "properties": {"format": {"type": "string"}, "nullable": {"type": "boolean"}},
                "additionalProperties": false,
            }),
        );
    }

    #[test]
    fn null_is_accepted_where_the_definition_accepts_it() {
        check(
            json!({"type": "string", "enum": ["a"], "nullable": true}),
            json!({"type": ["string", "null"], "enum": ["a", null]}),
        );
    }
}
