//! Limits on the contents of requests, checked before a request reaches the log. Apply checks again what it must not
//! trust.

use super::refusal::{RefusalCode, RequestRefusal};
use bytes::Bytes;
use quorate_core::content;
use quorate_core::id::Position;
use quorate_core::query::sync::SyncToken;

pub use quorate_core::content::MAX_DEPTH;

/// Maximum size of an event's content, in bytes (Matrix spec, "Size limits": 65,536 bytes for the whole event).
pub const MAX_EVENT: usize = 65_536;
/// Maximum length of a name, in bytes: types, state keys, transaction ids, device ids, room ids (Matrix spec, "Size
/// limits").
pub const MAX_NAME: usize = 255;
/// Maximum length of text for people, in bytes: room names, topics, reasons, display names of devices. An event has
/// room for many such texts.
pub const MAX_TEXT: usize = 4096;
/// Maximum length of a password, in bytes: Argon2's cost does not grow with the password, but the cost of copying it
/// does.
pub const MAX_PASSWORD: usize = 512;
/// Maximum number of invites, and of initial state events, of one new room: each becomes an event of one command.
pub const MAX_INITIAL: usize = 200;

/// Checks an identifier: not empty, at most [`MAX_NAME`] bytes, no zero byte (which terminates strings in keys).
///
/// # Errors
/// A refusal that names the field.
pub fn check_name(field: &str, value: &str) -> Result<(), RequestRefusal> {
    if value.is_empty() {
        return Err(RequestRefusal::invalid(format!("{field} is empty; give one")));
    }
    optional_name(field, value)
}

/// Checks an identifier that may be empty, which means none.
///
/// # Errors
/// A refusal that names the field.
pub fn optional_name(field: &str, value: &str) -> Result<(), RequestRefusal> {
    if value.len() > MAX_NAME {
        let message = format!("{field} has {} bytes; at most {MAX_NAME} are allowed", value.len());
        return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
    }
    if value.contains('\0') {
        return Err(RequestRefusal::invalid(format!("{field} contains a zero byte; leave it out")));
    }
    Ok(())
}

/// Checks the number of users or events that a new room begins with: at most [`MAX_INITIAL`].
///
/// # Errors
/// A refusal that names the field.
pub fn check_count(field: &str, count: usize) -> Result<(), RequestRefusal> {
    if count > MAX_INITIAL {
        let message = format!("{field} has {count} entries; at most {MAX_INITIAL} are allowed");
        return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
    }
    Ok(())
}

/// Checks text for people: at most [`MAX_TEXT`] bytes.
///
/// # Errors
/// A refusal that names the field.
pub fn check_text(field: &str, value: &str) -> Result<(), RequestRefusal> {
    if value.len() > MAX_TEXT {
        let message = format!("{field} has {} bytes; at most {MAX_TEXT} are allowed", value.len());
        return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
    }
    Ok(())
}

/// Checks the content of an event: an object of canonical JSON of at most [`MAX_EVENT`] bytes and [`MAX_DEPTH`] levels.
///
/// # Errors
/// A refusal that says what is wrong and where.
pub fn check_content(field: &str, value: &Bytes) -> Result<(), RequestRefusal> {
    check_json(field, value, content::check_event)
}

/// Checks JSON that clients store and no event carries: an object within the same size and depth as an event's content,
/// but with any numbers.
///
/// # Errors
/// A refusal that says what is wrong and where.
pub fn check_json_object(field: &str, value: &Bytes) -> Result<(), RequestRefusal> {
    check_json(field, value, content::check_object)
}

/// Checks JSON that means nothing to the server: a string, or an object, as [`check_json_object`] does.
///
/// # Errors
/// A refusal that says what is wrong and where.
pub fn check_opaque_json(field: &str, value: &Bytes) -> Result<(), RequestRefusal> {
    check_json(field, value, content::check_object_or_string)
}

fn check_json(field: &str, value: &Bytes, check: fn(&[u8]) -> Result<(), String>) -> Result<(), RequestRefusal> {
    // Before it is parsed, which takes time in proportion to the length.
    if value.len() > MAX_EVENT {
        let message = format!("{field} has {} bytes; at most {MAX_EVENT} are allowed: send a shorter one", value.len());
        return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
    }
    check(value).map_err(|why| RequestRefusal::new(RefusalCode::BadJson, format!("{field} is not valid: {why}")))
}

/// Parses a cursor of an earlier answer and returns its position.
///
/// # Errors
/// [`RefusalCode::BadCursor`] if the text is not a cursor of this server.
pub fn cursor_position(text: &str) -> Result<Position, RequestRefusal> {
    sync_token(text).map(|token| token.at)
}

/// Parses the token of an earlier `/sync` answer, which may have left rooms to the next one.
///
/// # Errors
/// [`RefusalCode::BadCursor`] if the text is not a token of this server.
pub fn sync_token(text: &str) -> Result<SyncToken, RequestRefusal> {
    SyncToken::parse(text).ok_or_else(|| {
        RequestRefusal::new(
            RefusalCode::BadCursor,
            "this is not a cursor of this server; use one from an earlier response, or none",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(json: String) -> Option<RefusalCode> {
        check_content("content", &Bytes::from(json)).err().map(|refusal| refusal.code)
    }

    #[test]
    fn only_json_objects_are_content() {
        assert_eq!(code_of(r#"{"body":"hi","n":[1,25,null,true,-1]}"#.into()), None);
        for bad in ["", "[]", "\"x\"", "{", "{}{}", "{\"a\":}", "nul", "{\"a\":2.5}", "{\"a\":1,\"a\":1}"] {
            assert_eq!(code_of(bad.into()), Some(RefusalCode::BadJson), "{bad}");
        }
        assert_eq!(
            check_content("content", &Bytes::from_static(b"{\"a\":\"\xff\"}")).unwrap_err().code,
            RefusalCode::BadJson
        );
        assert_eq!(check_json_object("content", &Bytes::from_static(b"{\"order\":0.5}")), Ok(()));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(code_of(nested(MAX_DEPTH - 1)), None);
        assert_eq!(code_of(nested(MAX_DEPTH)), Some(RefusalCode::BadJson));
        assert_eq!(code_of(nested(30_000)), Some(RefusalCode::BadJson));
        let long = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
        assert_eq!(code_of(long(MAX_EVENT)), None);
        assert_eq!(code_of(long(MAX_EVENT + 1)), Some(RefusalCode::TooLarge));
    }

    #[test]
    fn names_are_bounded_and_hold_no_zero_byte() {
        assert!(check_name("type", "m.room.message").is_ok());
        assert_eq!(check_name("type", "").unwrap_err().code, RefusalCode::Invalid);
        assert!(optional_name("state_key", "").is_ok());
        assert_eq!(check_name("type", "a\0b").unwrap_err().code, RefusalCode::Invalid);
        assert_eq!(check_name("type", &"x".repeat(MAX_NAME + 1)).unwrap_err().code, RefusalCode::TooLarge);
    }

    #[test]
    fn a_foreign_cursor_is_refused_by_name() {
        assert_eq!(cursor_position("s123").unwrap_err().code, RefusalCode::BadCursor);
        let at = Position { incarnation: 0, index: 5, ordinal: 1 };
        assert_eq!(cursor_position(&quorate_core::id::encode_cursor(at)), Ok(at));
    }
}
