//! What a request may hold. Checked before the log is bothered; apply checks again what it must not trust.

use super::refusal::{Code, Refusal};
use bytes::Bytes;
use quorate_core::content;
use quorate_core::id::Position;
use quorate_core::query::sync::SyncToken;

pub use quorate_core::content::MAX_DEPTH;

/// Content of one event (Matrix spec, "Size limits": 65,536 bytes for the whole event).
pub const MAX_EVENT: usize = 65_536;
/// Names: types, state keys, transaction ids, device ids, room ids (Matrix spec, "Size limits").
pub const MAX_NAME: usize = 255;
/// Text for people: room names, topics, reasons, display names of devices. Fits an event many times.
pub const MAX_TEXT: usize = 4096;
/// Argon2's cost does not grow with the password, its copy does.
pub const MAX_PASSWORD: usize = 512;
/// Invites and initial state of one new room: each is an event of one command.
pub const MAX_INITIAL: usize = 200;

/// An identifier: not empty, at most [`MAX_NAME`] bytes, no zero byte (it ends strings in keys).
///
/// # Errors
/// Names the field.
pub fn name(field: &str, value: &str) -> Result<(), Refusal> {
    if value.is_empty() {
        return Err(Refusal::invalid(format!("{field} is empty; give one")));
    }
    optional_name(field, value)
}

/// The same, where empty means none.
///
/// # Errors
/// Names the field.
pub fn optional_name(field: &str, value: &str) -> Result<(), Refusal> {
    if value.len() > MAX_NAME {
        let message = format!("{field} has {} bytes; at most {MAX_NAME} are allowed", value.len());
        return Err(Refusal::new(Code::TooLarge, message));
    }
    if value.contains('\0') {
        return Err(Refusal::invalid(format!("{field} contains a zero byte; leave it out")));
    }
    Ok(())
}

/// Text for people: at most [`MAX_TEXT`] bytes.
///
/// # Errors
/// Names the field.
pub fn text(field: &str, value: &str) -> Result<(), Refusal> {
    if value.len() > MAX_TEXT {
        let message = format!("{field} has {} bytes; at most {MAX_TEXT} are allowed", value.len());
        return Err(Refusal::new(Code::TooLarge, message));
    }
    Ok(())
}

/// Content of an event: an object of canonical JSON of at most [`MAX_EVENT`] bytes and [`MAX_DEPTH`] levels.
///
/// # Errors
/// Says what is wrong and where.
pub fn content(field: &str, value: &Bytes) -> Result<(), Refusal> {
    checked(field, value, content::check_event)
}

/// What clients store and no event carries: a JSON object of the same size and depth, with any numbers.
///
/// # Errors
/// Says what is wrong and where.
pub fn object(field: &str, value: &Bytes) -> Result<(), Refusal> {
    checked(field, value, content::check_object)
}

fn checked(field: &str, value: &Bytes, check: fn(&[u8]) -> Result<(), String>) -> Result<(), Refusal> {
    if value.len() > MAX_EVENT {
        let message = format!("{field} has {} bytes; an event may have {MAX_EVENT}: send a shorter one", value.len());
        return Err(Refusal::new(Code::TooLarge, message));
    }
    check(value).map_err(|why| Refusal::new(Code::BadJson, format!("{field} cannot be taken: {why}")))
}

/// The position of a cursor that an earlier answer gave.
///
/// # Errors
/// [`Code::BadCursor`].
pub fn cursor(text: &str) -> Result<Position, Refusal> {
    sync_token(text).map(|token| token.at)
}

/// A token of an earlier `/sync`, which may have left something to the next.
///
/// # Errors
/// [`Code::BadCursor`].
pub fn sync_token(text: &str) -> Result<SyncToken, Refusal> {
    SyncToken::parse(text).ok_or_else(|| {
        Refusal::new(Code::BadCursor, "this is not a cursor of this server; use one from an earlier answer, or none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(json: String) -> Option<Code> {
        content("content", &Bytes::from(json)).err().map(|refusal| refusal.code)
    }

    #[test]
    fn only_json_objects_are_content() {
        assert_eq!(code_of(r#"{"body":"hi","n":[1,25,null,true,-1]}"#.into()), None);
        for bad in ["", "[]", "\"x\"", "{", "{}{}", "{\"a\":}", "nul", "{\"a\":2.5}", "{\"a\":1,\"a\":1}"] {
            assert_eq!(code_of(bad.into()), Some(Code::BadJson), "{bad}");
        }
        assert_eq!(content("content", &Bytes::from_static(b"{\"a\":\"\xff\"}")).unwrap_err().code, Code::BadJson);
        assert_eq!(object("content", &Bytes::from_static(b"{\"order\":0.5}")), Ok(()));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(code_of(nested(MAX_DEPTH - 1)), None);
        assert_eq!(code_of(nested(MAX_DEPTH)), Some(Code::BadJson));
        assert_eq!(code_of(nested(30_000)), Some(Code::BadJson));
        let long = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
        assert_eq!(code_of(long(MAX_EVENT)), None);
        assert_eq!(code_of(long(MAX_EVENT + 1)), Some(Code::TooLarge));
    }

    #[test]
    fn names_are_bounded_and_hold_no_zero_byte() {
        assert!(name("type", "m.room.message").is_ok());
        assert_eq!(name("type", "").unwrap_err().code, Code::Invalid);
        assert!(optional_name("state_key", "").is_ok());
        assert_eq!(name("type", "a\0b").unwrap_err().code, Code::Invalid);
        assert_eq!(name("type", &"x".repeat(MAX_NAME + 1)).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn a_foreign_cursor_is_refused_by_name() {
        assert_eq!(cursor("s123").unwrap_err().code, Code::BadCursor);
        let at = Position { incarnation: 0, index: 5, ordinal: 1 };
        assert_eq!(cursor(&quorate_core::id::cursor(at)), Ok(at));
    }
}
