//! Durations as people write them: `250ms`, `60s`, `5m`, `1h`.

use std::time::Duration;

/// Parses a whole number with a unit of `ms`, `s`, `m` or `h`.
///
/// # Errors
/// Returns a message for clap, which names the text and says what is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let problem = || format!("`{text}` is not a duration: use a whole number followed by ms, s, m or h, as in 30s");
    let number: u64 = number.parse().map_err(|_| problem())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(problem()),
    };
    milliseconds.map(Duration::from_millis).ok_or_else(problem)
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
    }

    #[test]
    fn a_number_without_unit_or_out_of_range_is_refused_with_an_example() {
        for text in ["60", "", "s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(text).is_err_and(|e| e.contains("30s")), "{text}");
        }
    }
}
