//! JSON as events carry it: checked without building it, and written in one canonical form.

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// Nesting that content may have. Readers (`serde_json` among them) give up at 128, and each wraps content in a few
/// levels of its own.
const MAX_DEPTH: usize = 100;

/// Is this a JSON object in UTF-8 of bearable depth? Allocates nothing to speak of: every message passes here.
///
/// # Errors
/// One sentence about what is wrong.
pub(crate) fn check_object(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err("it is not a JSON object".into());
    }
    if depth(bytes) > MAX_DEPTH {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    }
    serde_json::from_str::<Readable>(text).map(drop).map_err(|e| format!("it is not JSON: {e}"))
}

/// Any value that can be built, without building it. serde's `IgnoredAny` would let pass what no reader takes: half of a
/// surrogate pair, a number out of all range.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Parses a JSON object, with the checks of [`check_object`].
///
/// # Errors
/// One sentence about what is wrong.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Object, String> {
    check_object(bytes)?;
    serde_json::from_slice(bytes).map_err(|e| format!("it is not JSON: {e}"))
}

/// The object in a row that apply wrote: content that was checked when it came in. Empty if it is none after all.
pub(crate) fn stored_object(bytes: &[u8]) -> Object {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// Greatest nesting of braces and brackets outside strings, or a bound on it that is not too deep.
fn depth(bytes: &[u8]) -> usize {
    // Most content has too few brackets to be deep, and counting those goes many bytes at a time.
    let brackets = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if brackets <= MAX_DEPTH {
        return brackets;
    }
    let (mut now, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The object with its keys in byte order and no white space. `serde_json`'s own order depends on a feature that any
/// crate in the build may switch on, and replicas must write equal bytes.
pub(crate) fn canonical(object: &Object) -> Bytes {
    let mut out = Vec::new();
    write_object(&mut out, object);
    out.into()
}

fn write_object(out: &mut Vec<u8>, object: &Object) {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| key.as_bytes());
    out.push(b'{');
    for (place, (key, value)) in entries.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
        out.push(b':');
        write_value(out, value);
    }
    out.push(b'}');
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Object(object) => write_object(out, object),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        plain => out.extend_from_slice(plain.to_string().as_bytes()),
    }
}

/// Bytes of `text` as a JSON string, quotes included.
pub(crate) fn string_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

/// The string under `key`, if it is one.
pub(crate) fn text<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// Does `content` hold this text at all? Cheaper than parsing, and almost always no.
pub(crate) fn mentions(content: &[u8], text: &str) -> bool {
    std::str::from_utf8(content).is_ok_and(|content| content.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bounded_objects_pass() {
        assert!(check_object(br#" {"a":[{"b":"}}]]"}]}"#).is_ok());
        for bad in [&b"[]"[..], b"", b"{", b"1", b"null", b"{\"a\":\"\xff\"}", b"{} {}", b"{\"a\":}"] {
            assert!(check_object(bad).is_err(), "{bad:?}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(check_object(deep.as_bytes()).unwrap_err().contains("deeper"));
        let brackets_in_text = format!("{{\"a\":\"{}\"}}", "[".repeat(1000));
        assert!(check_object(brackets_in_text.as_bytes()).is_ok());
    }

    #[test]
    fn what_no_reader_takes_is_not_let_in() {
        for bad in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, r#"{"a":1e999}"#, r#"{"a":[-1e999]}"#] {
            assert!(serde_json::from_str::<Value>(bad).is_err(), "{bad}");
            assert!(check_object(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn canonical_form_sorts_keys_at_every_level() {
        let object = parse_object(br#"{ "b": [ {"z":1,"y":null} ], "a": "\u00e9\"" }"#).unwrap();
        assert_eq!(canonical(&object), "{\"a\":\"é\\\"\",\"b\":[{\"y\":null,\"z\":1}]}".as_bytes());
    }

    #[test]
    fn the_length_of_a_json_string_is_counted_without_writing_it() {
        for text in ["", "a", "\"\\\n\u{1}é", "m.room.message"] {
            assert_eq!(string_len(text), Value::from(text).to_string().len(), "{text:?}");
        }
    }
}
