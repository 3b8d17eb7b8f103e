//! What a request may hold. Checked before the log is bothered; apply checks again what it must not trust.

use super::refusal::{Code, Refusal};
use bytes::Bytes;
use quorate_core::id::{self, Position};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Content of one event (Matrix spec, "Size limits": 65,536 bytes for the whole event).
pub const MAX_EVENT: usize = 65_536;
/// Names: types, state keys, transaction ids, device ids, room ids (Matrix spec, "Size limits").
pub const MAX_NAME: usize = 255;
/// Text for people: room names, topics, reasons, display names of devices. Fits an event many times.
pub const MAX_TEXT: usize = 4096;
/// Nested arrays and objects: deeper JSON is nobody's message and costs stack in every reader.
pub const MAX_DEPTH: usize = 64;
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

/// Content of an event: a JSON object of at most [`MAX_EVENT`] bytes and [`MAX_DEPTH`] levels.
///
/// # Errors
/// Says what is wrong and where.
pub fn content(field: &str, value: &Bytes) -> Result<(), Refusal> {
    if value.len() > MAX_EVENT {
        let message = format!("{field} has {} bytes; an event may have {MAX_EVENT}: send a shorter one", value.len());
        return Err(Refusal::new(Code::TooLarge, message));
    }
    let mut json = serde_json::Deserializer::from_slice(value);
    let checked = Shape { depth: 0 }.deserialize(&mut json).and_then(|kind| json.end().map(|()| kind));
    match checked {
        Ok(Kind::Object) => Ok(()),
        Ok(Kind::Other) => Err(Refusal::invalid(format!("{field} is not a JSON object; write {{…}}"))),
        Err(error) => Err(Refusal::invalid(format!("{field} is not valid JSON: {error}"))),
    }
}

/// The position of a cursor that an earlier answer gave.
///
/// # Errors
/// [`Code::BadCursor`].
pub fn cursor(text: &str) -> Result<Position, Refusal> {
    id::parse_cursor(text).ok_or_else(|| {
        Refusal::new(Code::BadCursor, "this is not a cursor of this server; use one from an earlier answer, or none")
    })
}

enum Kind {
    Object,
    Other,
}

/// Walks JSON without building it: only its form is of interest here.
struct Shape {
    depth: usize,
}

impl Shape {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Kind;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Kind, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        while items.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(Kind::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Kind, A::Error> {
        while fields.next_key::<serde::de::IgnoredAny>()?.is_some() {
            fields.next_value_seed(self.deeper()?)?;
        }
        Ok(Kind::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(json: String) -> Option<Code> {
        content("content", &Bytes::from(json)).err().map(|refusal| refusal.code)
    }

    #[test]
    fn only_json_objects_are_content() {
        assert_eq!(code_of(r#"{"body":"hi","n":[1,2.5,null,true,-1]}"#.into()), None);
        for bad in ["", "[]", "\"x\"", "{", "{}{}", "{\"a\":}", "nul"] {
            assert_eq!(code_of(bad.into()), Some(Code::Invalid), "{bad}");
        }
        assert_eq!(content("content", &Bytes::from_static(b"{\"a\":\"\xff\"}")).unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(code_of(nested(MAX_DEPTH - 1)), None);
        assert_eq!(code_of(nested(MAX_DEPTH)), Some(Code::Invalid));
        assert_eq!(code_of(nested(30_000)), Some(Code::Invalid));
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
        assert_eq!(cursor(&id::cursor(at)), Ok(at));
    }
}
