//! Bodies that no client sends.

use super::raw_http::RawBody;
use serde_json::{Map, Value};

/// Body with something bad in it.
pub(super) struct BadBody {
    /// Fault of the body.
    pub(super) what: String,
    pub(super) body: RawBody,
    /// Statuses and error codes of which the answer must have one; none if it depends on the endpoint.
    pub(super) answers: &'static [(u16, &'static str)],
}

/// Text that stands where a value is to be replaced.
const PLACE: &str = "place-of-the-value";
/// Depth that no parser of the server goes to.
const DEEP: usize = 1_000;
/// Depth at which a parser that calls itself for each level overflows its stack.
const DEEPEST: usize = 10_000;
/// Depth of values in bodies that are read.
const SHALLOW: usize = 100;
/// Length of text that is longer than any that people write, in a body that no endpoint refuses for its length.
const LONG: usize = 10_000;

/// Returns lists within lists.
fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// Returns bodies that every endpoint refuses, whatever it is about.
pub(super) fn refused_everywhere() -> Vec<BadBody> {
    const NOT_JSON: &[(u16, &str)] = &[(400, "M_NOT_JSON")];
    const BAD_JSON: &[(u16, &str)] = &[(400, "M_BAD_JSON")];
    let of_bytes = |what: &str, bytes: &[u8], answers: &'static [(u16, &'static str)]| BadBody {
        what: format!("{what} {}", String::from_utf8_lossy(bytes).chars().take(40).collect::<String>()),
        body: RawBody::Sent(bytes.to_vec()),
        answers,
    };
    let texts: [&[u8]; 6] = [b"{", b"{\"a\":}", b"nul", b"{}{}", b"{\"a\":\"\xff\"}", b"{\"a\":01}"];
    let mut bodies = Vec::new();
    for no_json in texts {
        bodies.push(of_bytes("no JSON:", no_json, NOT_JSON));
    }
    for no_object in ["[]", "1", "\"x\"", "null", "true"] {
        bodies.push(of_bytes("no object:", no_object.as_bytes(), BAD_JSON));
    }
    let objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    for deep in [format!(r#"{{"x":{}}}"#, nested(DEEP)), objects(DEEP)] {
        bodies.push(of_bytes("deep:", deep.as_bytes(), BAD_JSON));
    }
    for deepest in [format!(r#"{{"x":{}}}"#, nested(DEEPEST)), objects(DEEPEST)] {
        // Longer than what is read where no session is asked for.
        bodies.push(of_bytes("deep:", deepest.as_bytes(), &[(400, "M_BAD_JSON"), (413, "M_TOO_LARGE")]));
    }
    let what = "two megabytes".to_owned();
    bodies.push(BadBody { what, body: RawBody::Announced(2 << 20), answers: &[(413, "M_TOO_LARGE")] });
    bodies
}

/// Returns a body that no stranger may make the server read.
pub(super) fn too_large_for_strangers() -> BadBody {
    BadBody {
        what: "more than 16 KiB".into(),
        body: RawBody::Announced((16 << 10) + 1),
        answers: &[(413, "M_TOO_LARGE"), (401, "M_MISSING_TOKEN")],
    }
}

/// Returns copies of a body that an endpoint reads: each with another of its keys twice, or with a value of it replaced
/// by one that is not meant.
pub(super) fn distorted(body: &str) -> Vec<BadBody> {
    let fields: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    let twice = fields.iter().map(|(key, value)| {
        let rest = Value::from(fields.clone()).to_string();
        let doubled = format!("{{{}:{value},{}", Value::from(key.as_str()), &rest[1..]);
        (format!("{key} twice"), doubled)
    });
    let mut places = with_place(&fields.clone().into());
    // One field that is unknown everywhere, and one that few endpoints read.
    for added in ["x", "auth"] {
        places.push(with_value(&fields, added, PLACE.into()));
    }
    let replaced = places.iter().flat_map(|copy| {
        let place = Value::from(PLACE).to_string();
        let text = copy.to_string();
        bad_values().into_iter().map(move |(what, value)| {
            let shown: String = text.chars().take(120).collect();
            (format!("{what} in {shown}"), text.replace(&place, &value))
        })
    });
    let made = twice.chain(replaced);
    made.map(|(what, body)| BadBody { what, body: RawBody::Sent(body.into_bytes()), answers: &[] }).collect()
}

fn bad_values() -> Vec<(&'static str, String)> {
    let of_text = |value: &str| value.to_owned();
    vec![
        ("null", of_text("null")),
        ("a negative number", of_text("-1")),
        ("a fraction", of_text("1.5")),
        ("a number out of range", of_text("1e400")),
        ("a number that is not exact", of_text("9007199254740992")),
        ("half a character", of_text(r#""\ud800""#)),
        ("a zero byte", of_text(r#""\u0000""#)),
        ("an empty text", of_text(r#""""#)),
        ("lists", of_text("[[1]]")),
        ("an object", of_text(r#"{"a":{}}"#)),
        ("depth", nested(SHALLOW)),
        ("long text", format!("\"{}\"", "x".repeat(LONG))),
    ]
}

fn with_value(fields: &Map<String, Value>, key: &str, value: Value) -> Value {
    let mut copy = fields.clone();
    copy.insert(key.to_owned(), value);
    copy.into()
}

/// Returns copies of a value, in each of which the place stands for another of the values within it.
fn with_place(value: &Value) -> Vec<Value> {
    let within = |inner: &Value| std::iter::once(Value::from(PLACE)).chain(with_place(inner)).collect::<Vec<Value>>();
    match value {
        Value::Object(fields) => {
            let copies = |(key, inner): (&String, &Value)| {
                within(inner).into_iter().map(|changed| with_value(fields, key, changed)).collect::<Vec<_>>()
            };
            fields.iter().flat_map(copies).collect()
        }
        Value::Array(items) => {
            let copies = |(place, inner): (usize, &Value)| {
                let copy = |changed| {
                    let mut copy = items.clone();
                    copy[place] = changed;
                    Value::from(copy)
                };
                within(inner).into_iter().map(copy).collect::<Vec<_>>()
            };
            items.iter().enumerate().flat_map(copies).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn every_value_of_a_body_is_replaced_and_every_key_doubled() {
    let bodies: Vec<_> = distorted(r#"{"a":[1,{"b":2}]}"#)
        .into_iter()
        .map(|bad| match bad.body {
            RawBody::Sent(body) => String::from_utf8(body).unwrap(),
            RawBody::Announced(_) => String::new(),
        })
        .collect();
    for made in [
        r#"{"a":[1,{"b":2}],"a":[1,{"b":2}]}"#,
        r#"{"a":1e400}"#,
        r#"{"a":["\ud800",{"b":2}]}"#,
        r#"{"a":[1,null]}"#,
        r#"{"a":[1,{"b":[[1]]}]}"#,
        r#"{"a":[1,{"b":2}],"x":""}"#,
        r#"{"a":[1,{"b":2}],"auth":1.5}"#,
    ] {
        assert!(bodies.iter().any(|body| body == made), "{made}");
    }
    assert_eq!(bodies.len(), 1 + 6 * bad_values().len());
}
