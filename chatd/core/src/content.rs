//! Checks of JSON that clients store, exactly as apply makes them. The APIs use the same checks to refuse bad content
//! before it reaches the log.

use crate::json;
use crate::key_json;
use bytes::Bytes;

/// Limit that both [`check_event`] and [`check_object`] enforce.
pub use crate::json::MAX_DEPTH;

/// Checks the content of an event: an object of canonical JSON without duplicate keys.
///
/// # Errors
/// Returns a sentence that says what is wrong with the content.
pub fn check_event(bytes: &[u8]) -> Result<(), String> {
    json::check_event_content(bytes)
}

/// Checks JSON that is stored but never carried by an event, such as account data and filters: an object without
/// duplicate keys.
///
/// # Errors
/// Returns a sentence that says what is wrong with the JSON.
pub fn check_object(bytes: &[u8]) -> Result<(), String> {
    json::check_object(bytes)
}

/// Checks JSON that means nothing to the server, such as the data of a key backup: a string, or an object without
/// duplicate keys.
///
/// # Errors
/// Returns a sentence that says what is wrong with the JSON.
pub fn check_object_or_string(bytes: &[u8]) -> Result<(), String> {
    json::check_object_or_string(bytes)
}

/// Returns the greatest nesting depth of JSON, or an upper bound on it if that is at most [`MAX_DEPTH`].
#[must_use]
pub fn nesting_depth(bytes: &[u8]) -> usize {
    json::nesting_depth(bytes)
}

/// Returns the bytes that the signatures of a JSON object sign (Matrix specification, "Signing JSON").
///
/// # Errors
/// Returns a sentence that says what is wrong with the JSON.
pub fn signed_part(bytes: &[u8]) -> Result<Bytes, String> {
    json::check_event_content(bytes)?;
    Ok(key_json::signed_part(&json::parse_object(bytes)?))
}
