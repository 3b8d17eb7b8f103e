//! CEL rules that JSON schema can express. Whatever is not recognised is left to the API server, so a schema may accept
//! too much, never too little.

use serde_json::{Map, Value, json};

/// Quantities of bytes, with the units that people write. A number without quotes is refused: Helm 3 renders a large one
/// with an exponent, which is no quantity.
const QUANTITY: &str = "^[0-9]+(\\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$";

/// Adds to `schema` what `rule` demands of its values.
pub(super) fn add_rule(schema: &mut Map<String, Value>, rule: &str) {
    if let Some(pattern) = required_pattern("self", rule) {
        schema.insert("pattern".into(), json!(pattern));
    } else if let Some(pattern) = item_pattern(rule) {
        if let Some(Value::Object(items)) = schema.get_mut("items") {
            items.insert("pattern".into(), json!(pattern));
        }
    } else if let Some(field) = quantity_field(rule) {
        if let Some(Value::Object(fields)) = schema.get_mut("properties")
            && let Some(Value::Object(quantity)) = fields.get_mut(field)
        {
            quantity.insert("type".into(), json!("string"));
            quantity.insert("pattern".into(), json!(QUANTITY));
        }
    } else if rule == "self % 2 == 1"
        && let Some(numbers) = odd_numbers(schema)
    {
        schema.insert("enum".into(), json!(numbers));
    }
}

/// Returns the pattern that `subject` must match, whatever else the rule demands.
pub(super) fn required_pattern(subject: &str, rule: &str) -> Option<String> {
    let literal = rule.strip_prefix(subject)?.strip_prefix(".matches('")?;
    let (pattern, rest) = split_literal(literal)?;
    is_further_condition(rest.strip_prefix(')')?).then_some(pattern)
}

/// Returns the pattern that each item of a list must match: `self.all(name, name.matches('…'))`.
fn item_pattern(rule: &str) -> Option<String> {
    let (item, condition) = rule.strip_prefix("self.all(")?.strip_suffix(')')?.split_once(", ")?;
    required_pattern(item, condition)
}

/// Returns the field that must be a quantity: `isQuantity(string(self.field))`.
fn quantity_field(rule: &str) -> Option<&str> {
    let (field, rest) = rule.strip_prefix("isQuantity(string(self.")?.split_once("))")?;
    is_further_condition(rest).then_some(field)
}

/// Returns the odd numbers within the bounds of a schema. Listed, they say more in an error than "no multiple of 2".
fn odd_numbers(schema: &Map<String, Value>) -> Option<Vec<i64>> {
    let bound = |keyword: &str| schema.get(keyword)?.as_f64();
    let minimum = bound("minimum")?.ceil() as i64;
    let maximum = bound("maximum")?.floor() as i64;
    Some((minimum..=maximum).filter(|number| number % 2 != 0).collect())
}

/// Returns whether what follows a condition only narrows it, so that the condition itself always has to hold.
fn is_further_condition(rest: &str) -> bool {
    rest.is_empty() || (rest.starts_with(" && ") && !rest.contains("||") && !rest.contains(" ? "))
}

/// Splits text after an opening quote into the value of the CEL string and what follows its closing quote.
fn split_literal(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '\'' => return Some((value, characters.as_str())),
            '\\' => match characters.next()? {
                escaped @ ('\\' | '\'') => value.push(escaped),
                // Other escapes occur in no rule.
                _ => return None,
            },
            character => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mut schema: Value, rule: &str, expected: Value) {
        add_rule(schema.as_object_mut().expect("an object"), rule);
        assert_eq!(schema, expected, "{rule}");
    }

    #[test]
    fn a_pattern_may_be_followed_by_further_conditions_and_not_by_alternatives() {
        check(json!({}), "self.matches('^a$')", json!({"pattern": "^a$"}));
        check(json!({}), "self.matches('^a$') && self != 'b'", json!({"pattern": "^a$"}));
        check(json!({}), "self.matches('^a$') || self == 'b'", json!({}));
        check(json!({}), "self.matches('^a$') && self == 'a' || self == 'b'", json!({}));
        check(json!({}), "!self.matches('^a$')", json!({}));
        check(json!({}), "!self.per.matches('^a$') || duration(self.per) <= duration('24h')", json!({}));
    }

    #[test]
    fn escapes_of_the_literal_are_resolved() {
        check(json!({}), r"self.matches('^\\x5b\'$')", json!({"pattern": r"^\x5b'$"}));
        check(json!({}), r"self.matches('^\x5b$')", json!({}));
    }

    #[test]
    fn a_pattern_of_all_items_is_that_of_each() {
        let list = json!({"items": {"type": "string"}});
        let expected = json!({"items": {"type": "string", "pattern": "^a$"}});
        check(list.clone(), "self.all(name, name.matches('^a$'))", expected);
        check(list.clone(), "self.all(name, !name.matches('^a$'))", list);
    }

    #[test]
    fn a_quantity_is_text() {
        let size = json!({"properties": {"size": {"type": ["integer", "string"]}}});
        let expected = json!({"properties": {"size": {"type": "string", "pattern": QUANTITY}}});
        check(
            size,
            "isQuantity(string(self.size)) && quantity(string(self.size)).compareTo(quantity('1Gi')) >= 0",
            expected,
        );
    }

    #[test]
    fn odd_numbers_are_listed() {
        let expected = json!({"minimum": 1.0, "maximum": 5.0, "enum": [1, 3, 5]});
        check(json!({"minimum": 1.0, "maximum": 5.0}), "self % 2 == 1", expected);
    }
}
