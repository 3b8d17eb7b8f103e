//! `m.room.retention`: how long a room keeps its messages (MSC1763, the room's own policy).

use crate::json::JsonObject;
use serde_json::Value;

/// Returns `max_lifetime` in milliseconds; 0 if it is absent or null and everything is kept.
///
/// # Errors
/// Returns a sentence for people if the value is not a valid lifetime.
pub(crate) fn max_lifetime(content: &JsonObject) -> Result<u64, String> {
    match content.get("max_lifetime") {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value.as_u64().filter(|lifetime| *lifetime > 0).ok_or_else(|| {
            format!("max_lifetime of m.room.retention is {value}; it must be a whole number of milliseconds above 0")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_lifetime_is_a_whole_number_of_milliseconds_or_absent() {
        let lifetime = |content: &str| max_lifetime(&json::stored_object(content.as_bytes()));
        assert_eq!(lifetime("{}"), Ok(0));
        assert_eq!(lifetime(r#"{"max_lifetime":null,"min_lifetime":5}"#), Ok(0));
        assert_eq!(lifetime(r#"{"max_lifetime":86400000}"#), Ok(86_400_000));
        for bad in ["0", "-1", "1.5", "\"1d\"", "[]"] {
            assert!(lifetime(&format!("{{\"max_lifetime\":{bad}}}")).is_err(), "{bad}");
        }
    }
}
