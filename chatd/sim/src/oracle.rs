//! Oracle of what a user must be shown, worked out anew from the bare timelines: every event is replayed in order,
//! without the indexes and shortcuts that queries use.

use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::proto::store;
use quorate_core::table::{self, ScanControl, ScanRange, Table, TableRead, key};
use serde_json::Value;
use std::collections::BTreeMap;

/// An event of the bare timeline.
#[derive(Clone, Debug)]
pub struct BareEvent {
    /// Position of the event.
    pub at: Position,
    /// Room that the event belongs to.
    pub room: RoomNumber,
    /// Row of the event in the timeline.
    pub row: store::Event,
}

/// Returns all events of all rooms, in the one order.
#[must_use]
pub fn read_events(rows: &dyn TableRead) -> Vec<BareEvent> {
    let mut out = Vec::new();
    rows.scan(&ScanRange::all(Table::Timeline), &mut |(key, value)| {
        let room = key::leading_room(key).unwrap();
        out.push(BareEvent {
            at: key::trailing_position(key).unwrap(),
            room,
            row: table::decode_value(Table::Timeline, value)?,
        });
        Ok(ScanControl::More)
    })
    .unwrap();
    out.sort_by_key(|event| event.at);
    out
}

/// Returns the user's membership before and after each event of its room, in the order of `events`.
fn membership_steps(events: &[BareEvent], user_id: &str) -> Vec<(String, String)> {
    let mut now = BTreeMap::<RoomNumber, String>::new();
    let step = |event: &BareEvent| {
        let before = now.get(&event.room).cloned().unwrap_or_default();
        if event.row.r#type == "m.room.member" && event.row.state_key.as_deref() == Some(user_id) {
            now.insert(event.room, content_field(event, "membership"));
        }
        (before, now.get(&event.room).cloned().unwrap_or_default())
    };
    events.iter().map(step).collect()
}

fn content_field(event: &BareEvent, name: &str) -> String {
    let content: Value = serde_json::from_slice(&event.row.content).unwrap_or_default();
    content.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Returns the events that a stream over all of the user's rooms must show: each stay from the join to its end.
#[must_use]
pub fn expected_stream(events: &[BareEvent], localpart: &str, server_name: &str) -> Vec<Position> {
    let memberships = membership_steps(events, &id::user_id(localpart, server_name));
    let joined = |(before, after): &(String, String)| before == "join" || after == "join";
    events.iter().zip(&memberships).filter(|(_, membership)| joined(membership)).map(|(event, _)| event.at).collect()
}

/// Returns the event that ended the user's last stay in a room, or `None` if the user is in it or never was.
#[must_use]
pub fn left_at(events: &[BareEvent], room: RoomNumber, user_id: &str) -> Option<Position> {
    let events: Vec<_> = events.iter().filter(|event| event.room == room).cloned().collect();
    let memberships = membership_steps(&events, user_id);
    let in_now = memberships.last().is_some_and(|(_, now)| now == "join");
    let mut both = events.iter().zip(&memberships).rev();
    let end = both.find(|(_, (before, after))| before == "join" && after != "join");
    end.filter(|_| !in_now).map(|(event, _)| event.at)
}

/// Returns the events of one room that a user may see (Matrix specification, "Room History Visibility", rule by rule).
#[must_use]
pub fn visible_events(events: &[BareEvent], room: RoomNumber, localpart: &str, server_name: &str) -> Vec<Position> {
    let user_id = id::user_id(localpart, server_name);
    let events: Vec<_> = events.iter().filter(|event| event.room == room).cloned().collect();
    let memberships = membership_steps(&events, &user_id);
    let last_join = (0..events.len()).rev().find(|place| {
        memberships[*place].1 == "join" && events[*place].row.state_key.as_deref() == Some(user_id.as_str())
    });
    let mut visibility = "shared".to_owned();
    let mut out = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let before = visibility.clone();
        if event.row.r#type == "m.room.history_visibility" && event.row.state_key.as_deref() == Some("") {
            visibility = content_field(event, "history_visibility");
        }
        let own = event.row.r#type == "m.room.member" && event.row.state_key.as_deref() == Some(user_id.as_str());
        let allows = |visibility: &str| match visibility {
            "world_readable" => true,
            "shared" => last_join.is_some_and(|last| place <= last) || memberships[place].1 == "join",
            "invited" => matches!(memberships[place].1.as_str(), "invite" | "join"),
            _ => memberships[place].1 == "join",
        };
        if own || allows(&before) || allows(&visibility) {
            out.push(event.at);
        }
    }
    out
}

/// Returns the room's state as of `until`: the newest event of each pair of type and state key.
#[must_use]
pub fn room_state_at(events: &[BareEvent], room: RoomNumber, until: Position) -> BTreeMap<(String, String), Position> {
    let of_room = events.iter().filter(|event| event.room == room && event.at <= until);
    let state = of_room.filter_map(|event| Some(((event.row.r#type.clone(), event.row.state_key.clone()?), event.at)));
    state.collect()
}
