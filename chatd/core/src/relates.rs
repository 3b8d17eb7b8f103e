//! Relations as the content of an event names them (`m.relates_to`).
//! Source: Matrix specification, "Forming relationships between events".

use crate::json;
use serde_json::Value;

const KEY: &str = "m.relates_to";

/// Types of relations that the server itself interprets.
pub(crate) mod relation_type {
    pub(crate) const ANNOTATION: &str = "m.annotation";
    pub(crate) const REFERENCE: &str = "m.reference";
    pub(crate) const REPLACE: &str = "m.replace";
    pub(crate) const THREAD: &str = "m.thread";
}

/// Relation that an event has to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelatesTo {
    pub(crate) event_id: String,
    pub(crate) relation_type: String,
    /// Key of an annotation: what the user reacts with.
    pub(crate) key: Option<String>,
}

impl RelatesTo {
    /// Reads the relation from the content of an event; `None` if it names none, or not all that a relation needs.
    pub(crate) fn of(content: &[u8]) -> Option<Self> {
        if !json::contains_text(content, KEY) {
            return None;
        }
        let object = json::stored_object(content);
        let relation = object.get(KEY).and_then(Value::as_object)?;
        let text = |key| json::string_field(relation, key).map(str::to_owned);
        Some(Self { event_id: text("event_id")?, relation_type: text("rel_type")?, key: text("key") })
    }
}
