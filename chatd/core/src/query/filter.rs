//! Filter of a client for its syncs: the part of the specification's filters that Quorate honours.
//! Source: Matrix specification, "Filtering".

use super::RoomEvent;
use crate::json::{self, JsonObject};
use serde_json::Value;

/// Filter for rooms and their events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncFilter {
    /// Room ids to include; `None` includes all rooms.
    pub rooms: Option<Vec<String>>,
    /// Room ids to exclude.
    pub not_rooms: Vec<String>,
    /// `true` to include rooms that the user left long ago in a first or full sync.
    pub include_leave: bool,
    /// `true` to include only those members that the timeline makes necessary.
    pub lazy_load_members: bool,
    /// Filter for events of the timeline.
    pub timeline: EventFilter,
    /// Filter for events of the state; its limit is ignored.
    pub state: EventFilter,
}

/// Filter for events of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Maximum number of events.
    pub limit: Option<usize>,
    /// Event types to include; `None` includes all. `*` at any place matches any text.
    pub types: Option<Vec<String>>,
    /// Event types to exclude, with the same patterns.
    pub not_types: Vec<String>,
    /// Senders to include; `None` includes all users.
    pub senders: Option<Vec<String>>,
    /// Senders to exclude, by user id.
    pub not_senders: Vec<String>,
}

impl SyncFilter {
    /// Parses the JSON of a filter; fields that Quorate does not know are ignored.
    ///
    /// # Errors
    /// Returns a sentence that says what is wrong if it is not a JSON object.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let all = json::parse_object(bytes)?;
        let nothing = JsonObject::new();
        let room = object_field(&all, "room").unwrap_or(&nothing);
        let timeline = object_field(room, "timeline").unwrap_or(&nothing);
        let state = object_field(room, "state").unwrap_or(&nothing);
        Ok(Self {
            rooms: string_list(room, "rooms"),
            not_rooms: string_list(room, "not_rooms").unwrap_or_default(),
            include_leave: bool_field(room, "include_leave"),
            lazy_load_members: bool_field(state, "lazy_load_members") || bool_field(timeline, "lazy_load_members"),
            timeline: EventFilter::from_object(timeline),
            state: EventFilter::from_object(state),
        })
    }

    /// Returns `true` if the filter includes this room.
    #[must_use]
    pub fn wants_room(&self, room_id: &str) -> bool {
        let named = |rooms: &[String]| rooms.iter().any(|room| room == room_id);
        self.rooms.as_ref().is_none_or(|rooms| named(rooms)) && !named(&self.not_rooms)
    }
}

impl EventFilter {
    fn from_object(filter: &JsonObject) -> Self {
        let limit = filter.get("limit").and_then(Value::as_u64);
        Self {
            limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            types: string_list(filter, "types"),
            not_types: string_list(filter, "not_types").unwrap_or_default(),
            senders: string_list(filter, "senders"),
            not_senders: string_list(filter, "not_senders").unwrap_or_default(),
        }
    }

    /// Returns `true` if the filter includes this event.
    #[must_use]
    pub fn wants(&self, event: &RoomEvent) -> bool {
        let of_type = |types: &[String]| types.iter().any(|pattern| matches_pattern(pattern, &event.event_type));
        let from = |senders: &[String]| senders.contains(&event.sender);
        self.types.as_ref().is_none_or(|types| of_type(types))
            && !of_type(&self.not_types)
            && self.senders.as_ref().is_none_or(|senders| from(senders))
            && !from(&self.not_senders)
    }
}

fn object_field<'a>(of: &'a JsonObject, key: &str) -> Option<&'a JsonObject> {
    of.get(key).and_then(Value::as_object)
}

fn bool_field(of: &JsonObject, key: &str) -> bool {
    of.get(key).and_then(Value::as_bool) == Some(true)
}

fn string_list(of: &JsonObject, key: &str) -> Option<Vec<String>> {
    let items = of.get(key)?.as_array()?;
    Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Matches a pattern in which `*` stands for any text, including none. Greedy from the left and without backtracking,
/// so linear in both.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        match left.find(part).and_then(|at| left.get(at + part.len()..)) {
            Some(after) => left = after,
            None => return false,
        }
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("m.room.*", "m.room.member", true),
            ("m.room.*", "m.rooms", false),
            ("*", "", true),
            ("*.member", "m.room.member", true),
            ("m.*.m*r", "m.room.member", true),
            ("a*a", "a", false),
            ("m.room.member", "m.room.member", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_filter_is_read_as_clients_write_it() {
        let filter = SyncFilter::from_json(
            br#"{"room":{"not_rooms":["!a:x"],"state":{"lazy_load_members":true},"timeline":{"limit":20,"types":["m.*"]}}}"#,
        )
        .unwrap();
        assert!(filter.lazy_load_members && !filter.wants_room("!a:x") && filter.wants_room("!b:x"));
        assert_eq!((filter.timeline.limit, filter.timeline.types), (Some(20), Some(vec!["m.*".to_owned()])));
        assert!(SyncFilter::from_json(b"[]").is_err());
    }
}
