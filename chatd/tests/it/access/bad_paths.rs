//! Paths and queries that no client sends.

use crate::support::matrix::escape;
use quorate_core::id::{Position, encode_cursor};

/// Length of an argument that still fits into a head.
const LONG: usize = 20_000;

/// Value for an argument of a path.
pub(super) struct BadArgument {
    pub(super) what: &'static str,
    /// Value in percent-encoding.
    pub(super) value: String,
    /// Statuses and error codes of which the answer must have one; none if it depends on the endpoint.
    pub(super) answers: &'static [(u16, &'static str)],
}

/// Returns what no argument can be.
pub(super) fn bad_arguments() -> Vec<BadArgument> {
    let of_text = |what, value: &str| BadArgument { what, value: value.to_owned(), answers: &[] };
    vec![
        BadArgument { what: "no UTF-8", value: "%ff%fe".into(), answers: &[(400, "M_INVALID_PARAM")] },
        of_text("the folder above", ".."),
        of_text("the folder above, escaped", "%2e%2e%2f%2e%2e"),
        of_text("a zero byte", "x%00y"),
        of_text("nothing", ""),
        of_text("a slash, escaped", "a%2Fb"),
        of_text("no escape", "%zz%"),
        of_text("a line break", "a%0d%0aSet-Cookie:b"),
        of_text("an id of nobody", "%21%40%23%24:"),
        BadArgument { what: "a long argument", value: "a".repeat(LONG), answers: &[] },
    ]
}

/// Returns further arguments for a query that is good without them.
pub(super) fn bad_queries() -> Vec<String> {
    let most = u64::MAX;
    let deep = escape(&format!(r#"{{"x":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000)));
    let of_pages = [
        "x".to_owned(),
        "%00".into(),
        "%ff".into(),
        encode_cursor(Position::MAX),
        format!("h{most}"),
        format!("n{most}~{most}"),
        most.to_string(),
    ];
    let numbers = ["-1".to_owned(), most.to_string(), "1e9".into(), "9007199254740992".into()];
    let filters = ["%7B".to_owned(), "[]".into(), "99999999999999999999".into(), deep];
    let others = ["x".to_owned(), "%ff".into(), String::new()];
    let arguments: [(&[&str], &[String]); 4] = [
        (&["from", "to", "since", "at"], &of_pages),
        (&["limit", "ts", "timeout", "max_depth"], &numbers),
        (&["filter"], &filters),
        (&["dir", "membership", "set_presence", "user_id"], &others),
    ];
    let mut queries = Vec::new();
    for (names, values) in arguments {
        queries.extend(names.iter().flat_map(|name| values.iter().map(move |value| format!("{name}={value}"))));
    }
    queries.extend(
        ["limit=1&limit=2", "from=x&from=y", "access_token=x&access_token=y", "&&=&%zz=%", "?"].map(String::from),
    );
    queries.push(format!("x={}", "a".repeat(LONG)));
    queries
}
