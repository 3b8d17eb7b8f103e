//! Durations in human-readable notation: `50ms`, `10s`, `1h30m`, `30d`.
//!
//! The configuration of `chatd`, the options of `chatctl` and the fields of a ChatCluster are written in this notation.
//! Each of them decides what it refuses beyond it, such as a value out of bounds.
//!
//! The crate has no dependencies, so that `quorate-crd` can use it: `quorate-wire` would bring gRPC and its code
//! generator into everything that only wants the schema of a ChatCluster.

#![warn(missing_docs)]

use std::{error::Error, fmt, time::Duration};

/// Unit of a part of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationUnit {
    /// 24 hours.
    Day,
    /// 60 minutes.
    Hour,
    /// 60 seconds.
    Minute,
    /// 1000 milliseconds.
    Second,
    /// The smallest unit.
    Millisecond,
}

impl DurationUnit {
    /// All units, the longest first, as [`format_duration`] writes them.
    pub const ALL: [Self; 5] = [Self::Day, Self::Hour, Self::Minute, Self::Second, Self::Millisecond];

    /// Returns the letters that follow the number.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Day => "d",
            Self::Hour => "h",
            Self::Minute => "m",
            Self::Second => "s",
            Self::Millisecond => "ms",
        }
    }

    const fn millis(self) -> u64 {
        match self {
            Self::Day => 86_400_000,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1_000,
            Self::Millisecond => 1,
        }
    }

    fn with_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.symbol() == symbol)
    }
}

/// Number and unit, which a duration has one or more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationPart<'t> {
    /// Digits of the number, at least one.
    pub digits: &'t str,
    /// Unit of the number.
    pub unit: DurationUnit,
}

impl<'t> DurationPart<'t> {
    /// Splits off the first part of a text.
    fn split_first(text: &'t str) -> Option<(Self, &'t str)> {
        let (digits, after) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let (symbol, rest) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let unit = DurationUnit::with_symbol(symbol)?;
        (!digits.is_empty()).then_some((Self { digits, unit }, rest))
    }

    /// Returns the length of the part, or `None` if it is too long to be represented.
    fn millis(&self) -> Option<u64> {
        self.digits.parse::<u64>().ok()?.checked_mul(self.unit.millis())
    }
}

/// Error for a text that is not a duration, or is one that is too long to be represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedDuration;

impl fmt::Display for MalformedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write a duration such as 50ms, 10s, 1h30m or 30d")
    }
}

impl Error for MalformedDuration {}

/// Parses a duration: numbers with units, in any order, without spaces; `0` alone is zero.
///
/// # Errors
/// Returns an error that describes the accepted notation.
pub fn parse_duration(text: &str) -> Result<Duration, MalformedDuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let sum = split_duration(text)?.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.millis()?));
    sum.map(Duration::from_millis).ok_or(MalformedDuration)
}

/// Splits a duration into its parts, of which there is at least one: for users that accept fewer forms than
/// [`parse_duration`]. A zero without a unit has no parts and is refused.
///
/// # Errors
/// Returns an error that describes the accepted notation.
pub fn split_duration(text: &str) -> Result<Vec<DurationPart<'_>>, MalformedDuration> {
    let mut rest = text;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (part, after) = DurationPart::split_first(rest).ok_or(MalformedDuration)?;
        parts.push(part);
        rest = after;
    }
    if parts.is_empty() { Err(MalformedDuration) } else { Ok(parts) }
}

/// Formats a duration in the shortest notation that [`parse_duration`] reads back. What is less than a millisecond is
/// left out.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    if rest == 0 {
        return "0".into();
    }
    let mut out = String::new();
    for unit in DurationUnit::ALL {
        let count = rest / u128::from(unit.millis());
        let remainder = rest % u128::from(unit.millis());
        if count > 0 {
            out.push_str(&format!("{count}{}", unit.symbol()));
        }
        rest = remainder;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_understood() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(2_592_000)));
    }

    #[test]
    fn parts_are_added() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("1m1s1ms"), Ok(Duration::from_millis(61_001)));
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["50ms", "10s", "1h30m", "30d", "1s500ms", "0"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration("720h").unwrap(), parse_duration("30d").unwrap());
    }

    #[test]
    fn other_forms_are_refused_with_an_example() {
        let forms = ["", "10", "60", "s", "1.5s", "-1s", "1 s", "10 s", "10w", "1h0"];
        let too_long = ["99999999999999999999s", "9999999999999999d", "18446744073709551615h"];
        for text in forms.iter().chain(&too_long) {
            assert!(parse_duration(text).is_err_and(|error| error.to_string().contains("10s")), "{text}");
        }
    }

    #[test]
    fn a_zero_without_a_unit_has_no_parts() {
        assert_eq!(split_duration("0"), Err(MalformedDuration));
        assert_eq!(split_duration("0s"), Ok(vec![DurationPart { digits: "0", unit: DurationUnit::Second }]));
    }
}
