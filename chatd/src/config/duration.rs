//! Durations in human-readable notation: `50ms`, `10s`, `1h30m`, `30d`.

use quorate_wire::whole_millis;
use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a duration: numbers with units, in any order, without spaces; `0` alone is zero.
///
/// # Errors
/// Returns a description of the accepted notation.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a duration such as 50ms, 10s, 1h30m or 30d".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total = number.checked_mul(*millis).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}

/// Formats a duration in the shortest notation that [`parse_duration`] reads back.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = whole_millis(duration);
    if rest == 0 {
        return "0".into();
    }
    let mut out = String::new();
    for (unit, millis) in UNITS {
        let (count, remainder) = (rest / millis, rest % millis);
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
        }
        rest = remainder;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["50ms", "10s", "1h30m", "30d", "1s500ms", "0"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration("720h").unwrap(), parse_duration("30d").unwrap());
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "10", "s", "1.5s", "-1s", "1 s", "10w", "99999999999999999999s", "9999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
