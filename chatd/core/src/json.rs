//! JSON as events carry it: validated without being built, and written in one canonical form.

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;

/// JSON object as `serde_json` parses it.
pub(crate) type JsonObject = Map<String, Value>;

/// Maximum nesting depth of content. Parsers (`serde_json` among them) give up at 128, and each API wraps content in a
/// few levels of its own.
pub const MAX_DEPTH: usize = 100;

/// Checks that `bytes` are a UTF-8 JSON object of bounded depth without duplicate keys. Parsers differ in which of two
/// values with the same key they take, so that what is stored, served and acted on would not be the same.
///
/// # Errors
/// Returns a sentence that says what is wrong.
pub(crate) fn check_object(bytes: &[u8]) -> Result<(), String> {
    check_json(bytes, NumberRule::Any)
}

/// Checks the content of an event: an object that [`check_object`] accepts and whose numbers are those of canonical
/// JSON (Matrix specification, "Canonical JSON": integers of at most 2^53 - 1, without fraction and exponent). Every
/// message passes through this check, so it builds no values.
///
/// # Errors
/// Returns a sentence that says what is wrong.
pub(crate) fn check_event_content(bytes: &[u8]) -> Result<(), String> {
    check_json(bytes, NumberRule::Canonical)
}

/// Checks JSON that means nothing to the server: a string, or an object that [`check_object`] accepts.
///
/// # Errors
/// Returns a sentence that says what is wrong.
pub(crate) fn check_object_or_string(bytes: &[u8]) -> Result<(), String> {
    let is_string = bytes.trim_ascii_start().starts_with(b"\"");
    if is_string { check_value(utf8_text(bytes)?, NumberRule::Any) } else { check_object(bytes) }
}

fn check_json(bytes: &[u8], numbers: NumberRule) -> Result<(), String> {
    let text = utf8_text(bytes)?;
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err("it is not a JSON object".into());
    }
    check_value(text, numbers)
}

fn utf8_text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn check_value(text: &str, numbers: NumberRule) -> Result<(), String> {
    if nesting_depth(text.as_bytes()) > MAX_DEPTH {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    numbers.deserialize(&mut json).and_then(|()| json.end()).map_err(|e| e.to_string())
}

/// Greatest magnitude of an integer that every JSON parser represents exactly (same section of the specification).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Number of keys of one object that are compared without allocating; most objects have fewer.
const FEW_KEYS: usize = 8;

/// Numbers that a value may contain. As a serde seed, it accepts exactly the values that can be built, without building
/// them. serde's `IgnoredAny` would accept what no parser can read: half of a surrogate pair, or a number that is out
/// of range.
#[derive(Clone, Copy)]
enum NumberRule {
    /// All numbers of JSON, for account data (the order of tags is a fraction) and filters.
    Any,
    /// Only the numbers of canonical JSON.
    Canonical,
}

impl NumberRule {
    fn integer<E: serde::de::Error>(self, magnitude: u64) -> Result<(), E> {
        match self {
            Self::Canonical if magnitude > MAX_INTEGER => Err(E::custom(format!(
                "numbers must lie between -{MAX_INTEGER} and {MAX_INTEGER}; write larger ones as strings"
            ))),
            _ => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for NumberRule {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NumberRule {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.integer(number.unsigned_abs())
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.integer(number)
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        match self {
            Self::Any => Ok(()),
            // Integers that do not fit in 64 bits arrive here as well.
            Self::Canonical => Err(E::custom(format!(
                "numbers must be integers between -{MAX_INTEGER} and {MAX_INTEGER}, without fraction or exponent; write others as strings"
            ))),
        }
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut keys: SmallVec<[Cow<'de, str>; FEW_KEYS]> = SmallVec::new();
        while let Some(key) = fields.next_key_seed(KeyText)? {
            fields.next_value_seed(self)?;
            keys.push(key);
        }
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(serde::de::Error::custom(format!(
                "the key {:?} appears twice in one object",
                pair.first().map(AsRef::as_ref).unwrap_or("")
            ))),
            None => Ok(()),
        }
    }
}

/// Seed that reads a key, borrowed unless it contains escapes.
struct KeyText;

impl<'de> DeserializeSeed<'de> for KeyText {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyText {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }
    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// Parses a JSON object, with the checks of [`check_object`].
///
/// # Errors
/// Returns a sentence that says what is wrong.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<JsonObject, String> {
    check_object(bytes)?;
    serde_json::from_slice(bytes).map_err(|e| format!("it is not JSON: {e}"))
}

/// Parses an object from a row that apply wrote, whose content was checked when it came in. Returns an empty object if
/// the bytes are not one after all.
pub(crate) fn stored_object(bytes: &[u8]) -> JsonObject {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// Returns the greatest nesting depth of braces and brackets outside strings, or an upper bound on it if that bound is
/// within the limit.
pub(crate) fn nesting_depth(bytes: &[u8]) -> usize {
    // Most content has too few brackets to be deep, and counting them processes many bytes at a time.
    let brackets = bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if brackets <= MAX_DEPTH {
        return brackets;
    }
    let mut now = 0_usize;
    let mut most = 0;
    let mut in_string = false;
    let mut escaped = false;
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

/// Serializes the object with its keys in byte order and without whitespace. `serde_json`'s own order depends on a
/// feature that any crate in the build may enable, and replicas must write equal bytes.
pub(crate) fn canonical_json(object: &JsonObject) -> Bytes {
    let mut out = Vec::new();
    write_object(&mut out, object);
    out.into()
}

fn write_object(out: &mut Vec<u8>, object: &JsonObject) {
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

/// Returns the length in bytes of `text` as a JSON string, quotes included.
pub(crate) fn string_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

/// Returns the string under `key`, if there is one.
pub(crate) fn string_field<'a>(object: &'a JsonObject, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// Returns `true` if `content` contains this text at all. Cheaper than parsing, and the answer is almost always
/// `false`.
pub(crate) fn contains_text(content: &[u8], text: &str) -> bool {
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
    fn data_that_only_clients_read_is_an_object_or_a_string() {
        for good in [r#""opaque [[[ text""#, r#" "" "#, r#"{"a":[1.5]}"#] {
            assert!(check_object_or_string(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [&b"[]"[..], b"1", b"null", b"", b"\"", b"\"a\" 1", b"\"\xff\"", br#""\ud800""#, br#"{"a":1,"a":2}"#]
        {
            assert!(check_object_or_string(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_no_reader_takes_is_not_let_in() {
        for bad in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, r#"{"a":1e999}"#, r#"{"a":[-1e999]}"#] {
            assert!(serde_json::from_str::<Value>(bad).is_err(), "{bad}");
            assert!(check_object(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_by_name_at_every_level() {
        let many = (0..40).map(|n| format!("\"k{n}\":{n},")).collect::<String>();
        for bad in [
            r#"{"body":1,"body":1}"#.to_owned(),
            r#"{"a":[{"body":1,"b":2,"body":3}]}"#.to_owned(),
            r#"{"body":1,"\u0062ody":2}"#.to_owned(),
            format!(r#"{{{many}"body":1,"a":2,"body":3}}"#),
        ] {
            for check in [check_object, check_event_content] {
                assert!(check(bad.as_bytes()).unwrap_err().contains(r#""body" appears twice"#), "{bad}");
            }
        }
        assert!(check_event_content(br#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#).is_ok());
    }

    #[test]
    fn only_numbers_of_canonical_json_pass_into_events() {
        for good in ["0", "-1", "9007199254740991", "-9007199254740991"] {
            let content = format!(r#"{{"a":[{good}]}}"#);
            assert!(check_event_content(content.as_bytes()).is_ok(), "{good}");
        }
        for bad in
            ["1.5", "1.0", "1e3", "-0", "9007199254740992", "-9007199254740992", "123456789012345678901234567890"]
        {
            let content = format!(r#"{{"a":[{bad}]}}"#);
            assert!(check_event_content(content.as_bytes()).unwrap_err().contains("numbers must"), "{bad}");
            assert!(check_object(content.as_bytes()).is_ok(), "{bad}");
        }
    }

    #[test]
    fn canonical_form_sorts_keys_at_every_level() {
        let object = parse_object(br#"{ "b": [ {"z":1,"y":null} ], "a": "\u00e9\"" }"#).unwrap();
        assert_eq!(canonical_json(&object), "{\"a\":\"é\\\"\",\"b\":[{\"y\":null,\"z\":1}]}".as_bytes());
    }

    #[test]
    fn the_length_of_a_json_string_is_counted_without_writing_it() {
        for text in ["", "a", "\"\\\n\u{1}é", "m.room.message"] {
            assert_eq!(string_len(text), Value::from(text).to_string().len(), "{text:?}");
        }
    }
}
