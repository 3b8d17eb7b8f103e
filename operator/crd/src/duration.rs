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

/// Pattern of a [`DurationString`], in RE2 syntax.
#[cfg(test)]
pub(crate) const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// CEL rule for durations. The minimum is 10 ms: shorter times make no sense for anything configured here, and zero
/// would make some of it busy-loop.
const RULE: &str = "self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') && duration(self) >= duration('10ms')";

impl DurationString {
    /// Parses the string into a duration.
    ///
    /// # Errors
    /// Fails if the string does not have the required form. The API server rejects such objects, but one admitted under
    /// an older schema may still exist.
    pub fn parse(&self) -> Result<Duration, DurationError> {
        let error = || DurationError(self.0.clone());
        let mut rest = self.0.as_str();
        let mut total = Duration::ZERO;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let (number, tail) = rest.split_at(digits);
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let number: u32 = match number.len() {
                1..=5 => number.parse().map_err(|_| error())?,
                _ => return Err(error()),
            };
            total += match unit {
                "h" => Duration::from_secs(3600) * number,
                "m" => Duration::from_secs(60) * number,
                "s" => Duration::from_secs(1) * number,
                "ms" => Duration::from_millis(1) * number,
                _ => return Err(error()),
            };
            parts += 1;
            rest = tail;
        }
        if (1..=4).contains(&parts) { Ok(total) } else { Err(error()) }
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
                "rule": RULE,
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
        assert!(RULE.contains(PATTERN));
    }
}
