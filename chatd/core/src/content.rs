//! The checks of JSON that clients store, as apply makes them: doors refuse by the same, before the log is bothered.

use crate::json;

/// Nesting that content may have.
pub use crate::json::MAX_DEPTH;

/// Checks the content of an event: an object of canonical JSON, in which no key stands twice.
///
/// # Errors
/// One sentence about what is wrong.
pub fn check_event(bytes: &[u8]) -> Result<(), String> {
    json::check_event_content(bytes)
}

/// Checks what is stored and no event carries, as account data and filters: a JSON object in which no key stands twice.
///
/// # Errors
/// One sentence about what is wrong.
pub fn check_object(bytes: &[u8]) -> Result<(), String> {
    json::check_object(bytes)
}
