use quorate_duration::{DurationUnit, parse_duration, split_duration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, time::Duration};

/// Duration in human-readable form, such as `50ms`, `30s` or `1h30m`.
///
/// The schema is a plain string, not `format: duration`, because that format accepts more than it documents and differs
/// between versions of the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationString(String);

/// The string is not a duration of the form that the schema asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid duration: use one to four parts, such as 50ms, 30s, 15m or 720h")]
pub struct DurationError(String);

/// Units of the schema: all but days, which CEL's `duration` does not know.
const UNITS: [DurationUnit; 4] =
    [DurationUnit::Hour, DurationUnit::Minute, DurationUnit::Second, DurationUnit::Millisecond];
/// Maximum number of parts.
const MOST_PARTS: usize = 4;
/// Maximum number of digits in a part.
const MOST_DIGITS: usize = 5;

/// Returns the pattern of a [`DurationString`], in RE2 syntax.
fn duration_pattern() -> String {
    let units = UNITS.map(DurationUnit::symbol).join("|");
    format!("^([0-9]{{1,{MOST_DIGITS}}}({units})){{1,{MOST_PARTS}}}$")
}

/// Returns the CEL rule for durations. The minimum is 10 ms: shorter times make no sense for anything configured here,
/// and zero would make some of it busy-loop.
fn duration_rule() -> String {
    format!("self.matches('{}') && duration(self) >= duration('10ms')", duration_pattern())
}

/// Returns a CEL rule that demands `bound` if `field` is a duration. If it is none, [`duration_rule`] refuses it with a
/// message of its own.
pub(crate) fn bounded_duration_rule(field: &str, bound: &str) -> String {
    format!("!{field}.matches('{}') || {bound}", duration_pattern())
}

/// Returns a CEL rule that demands `relation` if all elements of the list `fields` are durations, as
/// [`bounded_duration_rule`] does for one.
pub(crate) fn related_durations_rule(fields: &str, relation: &str) -> String {
    format!("!{fields}.all(d, d.matches('{}')) || {relation}", duration_pattern())
}

impl DurationString {
    /// Parses the string into a duration.
    ///
    /// # Errors
    /// Fails if the string does not have the required form. The API server rejects such objects, but one admitted under
    /// an older schema may still exist.
    pub fn parse(&self) -> Result<Duration, DurationError> {
        let error = || DurationError(self.0.clone());
        let parts = split_duration(&self.0).map_err(|_| error())?;
        let fits = parts.iter().all(|part| UNITS.contains(&part.unit) && part.digits.len() <= MOST_DIGITS);
        if !fits || parts.len() > MOST_PARTS {
            return Err(error());
        }
        parse_duration(&self.0).map_err(|_| error())
    }
}

impl From<&str> for DurationString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for DurationString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for DurationString {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 24,
            "x-kubernetes-validations": [{
                "rule": duration_rule(),
                "message": "must be a duration of at least 10ms, in one to four parts, such as 50ms, 30s, 15m or 720h",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Duration>) {
        assert_eq!(DurationString::from(text).parse().ok(), expected, "{text:?}");
    }

    #[test]
    fn parts_are_added() {
        check("50ms", Some(Duration::from_millis(50)));
        check("1h30m", Some(Duration::from_secs(5400)));
        check("1m1s1ms", Some(Duration::from_millis(61_001)));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "5", "s", "1d", "-1s", "1.5s", "123456s", "1h1h1h1h1h", "10 s"] {
            check(text, None);
        }
    }

    #[test]
    fn rule_and_pattern_agree() {
        assert_eq!(duration_pattern(), "^([0-9]{1,5}(h|m|s|ms)){1,4}$");
        for rule in [duration_rule(), bounded_duration_rule("self", "true"), related_durations_rule("[self]", "true")] {
            assert!(rule.contains(&duration_pattern()), "{rule}");
        }
    }
}
