//! Milliseconds since the Unix epoch as people read them.

use quorate_wire::whole_millis;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time in milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    whole_millis(since)
}

/// Formats a time in milliseconds since the Unix epoch as `2026-11-21 09:49:48`, in UTC.
#[must_use]
pub fn format_utc(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let hour = seconds / 3600 % 24;
    let minute = seconds / 60 % 60;
    let second = seconds % 60;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Converts days since 1970-01-01 to a date of the Gregorian calendar, by the algorithm `civil_from_days` of
/// <https://howardhinnant.github.io/date_algorithms.html>: years begin in March, so that the leap day comes last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_the_epoch_on_leap_days_and_at_year_ends() {
        assert_eq!(format_utc(0), "1970-01-01 00:00:00");
        assert_eq!(format_utc(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(format_utc(1_709_251_199_999), "2024-02-29 23:59:59");
        assert_eq!(format_utc(1_767_225_599_000), "2025-12-31 23:59:59");
        assert_eq!(format_utc(1_767_225_600_000), "2026-01-01 00:00:00");
    }
}
