//! Durations as the interfaces and the log carry them.

use std::time::Duration;

/// Returns a duration in whole milliseconds, the greatest number for one that is too long.
#[must_use]
pub fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
