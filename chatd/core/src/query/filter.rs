//! Filters of clients, for syncs and for pages of events: the part of the specification's filters that Quorate honours.
//! Source: Matrix specification, "Filtering".

use super::RoomEvent;
use crate::json::{self, JsonObject};
use crate::relates::RelatesTo;
use serde_json::Value;
use std::collections::BTreeSet;

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
    /// `true` to count unread notifications in threads by thread, and not with those of the room.
    pub unread_thread_notifications: bool,
    /// `true` to tell the state after timelines instead of the state before them, to clients that do not take it from
    /// timelines. Not a part of the client's filter, but of its request: it is here because whoever asks for the same
    /// is told the same news.
    pub state_after: bool,
    /// Filter for events of the timeline.
    pub timeline: EventFilter,
    /// Filter for events of the state; its limit is ignored.
    pub state: EventFilter,
    /// Filter for events of rooms that are in no timeline, such as receipts and typing: see
    /// [`EventFilter::wants_ephemeral`].
    pub ephemeral: EventFilter,
    /// Filter for presence; its limit is ignored.
    pub presence: EventFilter,
    /// Filter for account data that belongs to no room: see [`SyncFilter::wants_account_data`].
    pub account_data: EventFilter,
    /// Filter for account data of rooms.
    pub room_account_data: EventFilter,
}

/// Returns `true` if a name is in the list, if there is one, and not in the other.
fn is_included(wanted: Option<&[String]>, unwanted: &[String], name: &str) -> bool {
    let lists = |names: &[String]| names.iter().any(|listed| listed == name);
    wanted.is_none_or(lists) && !lists(unwanted)
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
    /// Room ids to include; `None` includes all rooms.
    pub rooms: Option<Vec<String>>,
    /// Room ids to exclude.
    pub not_rooms: Vec<String>,
    /// `true` to include only events whose content has a `url`, `false` to include only those without.
    pub contains_url: Option<bool>,
    /// User ids of which one must have sent an event that relates to the one wanted.
    pub related_by_senders: Option<Vec<String>>,
    /// Types of relations of which an event must have one to the one wanted.
    pub related_by_rel_types: Option<Vec<String>>,
    /// Types of relations of which the event itself must have one to another event (MSC3874); `None` includes all
    /// events.
    pub rel_types: Option<Vec<String>>,
    /// Types of relations with which events are excluded (MSC3874).
    pub not_rel_types: Vec<String>,
    /// User ids whose events are excluded unless they are state (specification, "Ignoring Users"). Not a part of the
    /// client's filter, but of what it has told the server.
    pub ignored: BTreeSet<String>,
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
        let ephemeral = object_field(room, "ephemeral").unwrap_or(&nothing);
        let presence = object_field(&all, "presence").unwrap_or(&nothing);
        let account_data = object_field(&all, "account_data").unwrap_or(&nothing);
        let room_account_data = object_field(room, "account_data").unwrap_or(&nothing);
        Ok(Self {
            rooms: string_list(room, "rooms"),
            not_rooms: string_list(room, "not_rooms").unwrap_or_default(),
            include_leave: bool_field(room, "include_leave"),
            lazy_load_members: bool_field(state, "lazy_load_members") || bool_field(timeline, "lazy_load_members"),
            unread_thread_notifications: bool_field(timeline, "unread_thread_notifications"),
            state_after: false,
            timeline: EventFilter::from_object(timeline),
            state: EventFilter::from_object(state),
            ephemeral: EventFilter::from_object(ephemeral),
            presence: EventFilter::from_object(presence),
            account_data: EventFilter::from_object(account_data),
            room_account_data: EventFilter::from_object(room_account_data),
        })
    }

    /// Returns `true` if the filter includes this room.
    #[must_use]
    pub fn wants_room(&self, room_id: &str) -> bool {
        let named = |rooms: &[String]| rooms.iter().any(|room| room == room_id);
        self.rooms.as_ref().is_none_or(|rooms| named(rooms)) && !named(&self.not_rooms)
    }

    /// Returns `true` if the filter includes account data of this type: of a room or, with an empty id, of none. There is
    /// at most one of each type, so that of limits only 0 matters.
    #[must_use]
    pub fn wants_account_data(&self, event_type: &str, room_id: &str) -> bool {
        if room_id.is_empty() {
            self.account_data.limit != Some(0) && self.account_data.wants_type(event_type)
        } else {
            self.room_account_data.wants_ephemeral(event_type, room_id)
        }
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
            rooms: string_list(filter, "rooms"),
            not_rooms: string_list(filter, "not_rooms").unwrap_or_default(),
            contains_url: filter.get("contains_url").and_then(Value::as_bool),
            related_by_senders: string_list(filter, "related_by_senders"),
            related_by_rel_types: string_list(filter, "related_by_rel_types"),
            rel_types: string_list(filter, "org.matrix.msc3874.rel_types"),
            not_rel_types: string_list(filter, "org.matrix.msc3874.not_rel_types").unwrap_or_default(),
            ignored: BTreeSet::new(),
        }
    }

    /// Parses the JSON of a filter for the events of one room (the specification's `RoomEventFilter`); fields that
    /// Quorate does not know are ignored.
    ///
    /// # Errors
    /// Returns a sentence that says what is wrong if it is not a JSON object.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        Ok(Self::from_object(&json::parse_object(bytes)?))
    }

    /// Returns `true` if rows have to be read to tell which events the filter includes.
    #[must_use]
    pub fn asks_for_relations(&self) -> bool {
        self.related_by_senders.is_some() || self.related_by_rel_types.is_some()
    }

    /// Returns `true` if the filter includes events of this type and room that are in no timeline. A room has at most one
    /// of each type, so that of limits only 0 matters.
    #[must_use]
    pub fn wants_ephemeral(&self, event_type: &str, room_id: &str) -> bool {
        self.limit != Some(0)
            && self.wants_type(event_type)
            && is_included(self.rooms.as_deref(), &self.not_rooms, room_id)
    }

    /// Returns `true` if the filter includes events of this type.
    #[must_use]
    pub fn wants_type(&self, event_type: &str) -> bool {
        let of_type = |types: &[String]| types.iter().any(|pattern| matches_pattern(pattern, event_type));
        self.types.as_deref().is_none_or(of_type) && !of_type(&self.not_types)
    }

    /// Returns `true` if the filter includes events of this user.
    #[must_use]
    pub fn wants_sender(&self, user_id: &str) -> bool {
        is_included(self.senders.as_deref(), &self.not_senders, user_id)
    }

    /// Returns `true` if the filter includes this event, as far as the event itself tells.
    #[must_use]
    pub fn wants(&self, event: &RoomEvent) -> bool {
        let of_type = |types: &[String]| types.iter().any(|pattern| matches_pattern(pattern, &event.event_type));
        let from = |senders: &[String]| senders.contains(&event.sender);
        self.types.as_ref().is_none_or(|types| of_type(types))
            && !of_type(&self.not_types)
            && self.senders.as_ref().is_none_or(|senders| from(senders))
            && !from(&self.not_senders)
            && self.rooms.as_ref().is_none_or(|rooms| rooms.contains(&event.room_id))
            && !self.not_rooms.contains(&event.room_id)
            && (event.state_key.is_some() || !self.ignored.contains(&event.sender))
            && self.contains_url.is_none_or(|wanted| has_url(&event.content) == wanted)
            && self.wants_relation(&event.content)
    }

    /// Returns `true` if the filter includes events with the relation that this content names, or with none.
    fn wants_relation(&self, content: &[u8]) -> bool {
        if self.rel_types.is_none() && self.not_rel_types.is_empty() {
            return true;
        }
        match RelatesTo::of(content) {
            Some(relation) => is_included(self.rel_types.as_deref(), &self.not_rel_types, &relation.relation_type),
            None => self.rel_types.is_none(),
        }
    }
}

/// Returns `true` if the content has a `url`, as those of pictures and files have.
fn has_url(content: &[u8]) -> bool {
    // Most content does not even mention the key, and is not parsed.
    json::contains_text(content, "url") && json::string_field(&json::stored_object(content), "url").is_some()
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

    #[test]
    fn an_event_has_a_url_if_its_content_says_so_itself() {
        assert!(has_url(br#"{"url":"mxc://a/b"}"#));
        for content in [r#"{"body":"a \"url\""}"#, r#"{"url":1}"#, r#"{"info":{"url":"x"}}"#, "{}"] {
            assert!(!has_url(content.as_bytes()), "{content}");
        }
    }

    #[test]
    fn events_are_chosen_by_the_type_of_their_own_relation() {
        let relates = |kind: &str| format!(r#"{{"m.relates_to":{{"event_id":"$a","rel_type":"{kind}"}}}}"#);
        let plain = r#"{"body":"m.relates_to"}"#.to_owned();
        let reply = r#"{"m.relates_to":{"m.in_reply_to":{"event_id":"$a"}}}"#.to_owned();
        let contents = [relates("m.thread"), relates("m.reference"), plain, reply];
        for (filter, expected) in [
            ("{}", [true; 4]),
            (r#"{"org.matrix.msc3874.rel_types":["m.thread"]}"#, [true, false, false, false]),
            (r#"{"org.matrix.msc3874.rel_types":["m.thread","m.reference"]}"#, [true, true, false, false]),
            (r#"{"org.matrix.msc3874.rel_types":[]}"#, [false; 4]),
            (r#"{"org.matrix.msc3874.not_rel_types":["m.thread"]}"#, [false, true, true, true]),
            (
                r#"{"org.matrix.msc3874.rel_types":["m.thread"],"org.matrix.msc3874.not_rel_types":["m.thread"]}"#,
                [false; 4],
            ),
        ] {
            let parsed = EventFilter::from_json(filter.as_bytes()).unwrap();
            let wanted = contents.clone().map(|content| parsed.wants_relation(content.as_bytes()));
            assert_eq!(wanted, expected, "{filter}");
        }
    }

    #[test]
    fn account_data_has_filters_of_its_own() {
        let filter = SyncFilter::from_json(
            br#"{"account_data":{"types":["a"]},"room":{"account_data":{"not_types":["a"],"not_rooms":["!b:x"]}}}"#,
        )
        .unwrap();
        assert!(filter.wants_account_data("a", "") && !filter.wants_account_data("b", ""));
        assert!(filter.wants_account_data("b", "!a:x") && !filter.wants_account_data("a", "!a:x"));
        assert!(!filter.wants_account_data("b", "!b:x"));
    }

    #[test]
    fn typing_and_presence_have_filters_of_their_own() {
        let filter = SyncFilter::from_json(
            br#"{"presence":{"not_senders":["@a:x"]},"room":{"ephemeral":{"not_types":["m.typing"]}}}"#,
        )
        .unwrap();
        assert!(filter.presence.wants_type("m.presence") && filter.presence.wants_sender("@b:x"));
        assert!(!filter.presence.wants_sender("@a:x") && !filter.ephemeral.wants_ephemeral("m.typing", "!r:x"));
    }
}
