//! Body of a `/sync` answer. ruma leaves out fields that have their default value, which the specification allows for most
//! of them, but not for a room's `timeline.limited`, nor for the `events` of a state that is there. Everything else is
//! rendered by ruma's types, except for the name of that state.

use super::super::error::MatrixError;
use super::super::streamed::json_response;
use super::state_field::StateField;
use axum::body::Body;
use axum::response::Response;
use ruma::OwnedRoomId;
use ruma::api::client::sync::sync_events::v3 as api;
use ruma::events::{AnySyncStateEvent, AnySyncTimelineEvent};
use ruma::serde::Raw;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Renders the answer, with the state of rooms in this field.
pub(super) fn sync_body(answer: &api::Response, state: StateField) -> Result<Response, MatrixError> {
    let body = serde_json::to_vec(&SyncBody { answer, state }).map_err(|error| {
        tracing::error!(%error, "a sync could not be rendered");
        MatrixError::from(crate::service::RequestRefusal::internal())
    })?;
    Ok(json_response(Body::from(body)))
}

struct SyncBody<'a> {
    answer: &'a api::Response,
    state: StateField,
}

impl Serialize for SyncBody<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { answer, state } = *self;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("next_batch", &answer.next_batch)?;
        if !answer.rooms.is_empty() {
            map.serialize_entry("rooms", &RoomsBody { rooms: &answer.rooms, state })?;
        }
        if !answer.presence.is_empty() {
            map.serialize_entry("presence", &answer.presence)?;
        }
        if !answer.account_data.is_empty() {
            map.serialize_entry("account_data", &answer.account_data)?;
        }
        if !answer.to_device.is_empty() {
            map.serialize_entry("to_device", &answer.to_device)?;
        }
        if !answer.device_lists.is_empty() {
            map.serialize_entry("device_lists", &answer.device_lists)?;
        }
        if !answer.device_one_time_keys_count.is_empty() {
            map.serialize_entry("device_one_time_keys_count", &answer.device_one_time_keys_count)?;
        }
        if let Some(types) = &answer.device_unused_fallback_key_types {
            map.serialize_entry("device_unused_fallback_key_types", types)?;
        }
        map.end()
    }
}

struct RoomsBody<'a> {
    rooms: &'a api::Rooms,
    state: StateField,
}

impl Serialize for RoomsBody<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { rooms, state } = *self;
        let mut map = to.serialize_map(None)?;
        if !rooms.join.is_empty() {
            map.serialize_entry("join", &each_room(&rooms.join, |room| JoinedBody { room, state }))?;
        }
        if !rooms.invite.is_empty() {
            map.serialize_entry("invite", &rooms.invite)?;
        }
        if !rooms.knock.is_empty() {
            map.serialize_entry("knock", &rooms.knock)?;
        }
        if !rooms.leave.is_empty() {
            map.serialize_entry("leave", &each_room(&rooms.leave, |room| LeftBody { room, state }))?;
        }
        map.end()
    }
}

fn each_room<'a, R, B>(rooms: &'a BTreeMap<OwnedRoomId, R>, body: impl Fn(&'a R) -> B) -> BTreeMap<&'a OwnedRoomId, B> {
    rooms.iter().map(|(room, news)| (room, body(news))).collect()
}

struct JoinedBody<'a> {
    room: &'a api::JoinedRoom,
    state: StateField,
}

impl Serialize for JoinedBody<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { room, state } = *self;
        let mut map = to.serialize_map(None)?;
        if !room.summary.is_empty() {
            map.serialize_entry("summary", &room.summary)?;
        }
        if !room.unread_notifications.is_empty() {
            map.serialize_entry("unread_notifications", &room.unread_notifications)?;
        }
        if !room.unread_thread_notifications.is_empty() {
            map.serialize_entry("unread_thread_notifications", &room.unread_thread_notifications)?;
        }
        map.serialize_entry("timeline", &TimelineBody::of(&room.timeline))?;
        serialize_state(&mut map, state, &room.state)?;
        if !room.account_data.is_empty() {
            map.serialize_entry("account_data", &room.account_data)?;
        }
        if !room.ephemeral.is_empty() {
            map.serialize_entry("ephemeral", &room.ephemeral)?;
        }
        map.end()
    }
}

struct LeftBody<'a> {
    room: &'a api::LeftRoom,
    state: StateField,
}

impl Serialize for LeftBody<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { room, state } = *self;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("timeline", &TimelineBody::of(&room.timeline))?;
        serialize_state(&mut map, state, &room.state)?;
        if !room.account_data.is_empty() {
            map.serialize_entry("account_data", &room.account_data)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct TimelineBody<'a> {
    limited: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<&'a str>,
    events: &'a [Raw<AnySyncTimelineEvent>],
}

impl<'a> TimelineBody<'a> {
    fn of(timeline: &'a api::Timeline) -> Self {
        let prev_batch = timeline.prev_batch.as_deref();
        Self { limited: timeline.limited, prev_batch, events: &timeline.events }
    }
}

#[derive(Serialize)]
struct StateBody<'a> {
    events: &'a [Raw<AnySyncStateEvent>],
}

/// Writes the state of a room in the field that the request asked for; which of ruma's variants has it says nothing.
fn serialize_state<M: serde::ser::SerializeMap>(
    map: &mut M,
    field: StateField,
    state: &api::State,
) -> Result<(), M::Error> {
    match state {
        api::State::Before(state) | api::State::After(state) => {
            map.serialize_entry(field.name(), &StateBody { events: &state.events })
        }
        // The enum may grow; a kind of state that this build does not ask for is not there.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shown(answer: &api::Response) -> Value {
        serde_json::to_value(SyncBody { answer, state: StateField::Before }).unwrap()
    }

    #[test]
    fn a_timeline_always_says_whether_it_is_limited_and_an_empty_list_of_events_is_there() {
        let mut answer = api::Response::new("t1".into());
        answer.rooms.join.insert(ruma::owned_room_id!("!a:x"), api::JoinedRoom::new());
        answer.rooms.leave.insert(ruma::owned_room_id!("!b:x"), api::LeftRoom::new());
        let room = json!({"timeline": {"limited": false, "events": []}, "state": {"events": []}});
        let rooms = json!({"join": {"!a:x": room}, "leave": {"!b:x": room}});
        assert_eq!(shown(&answer), json!({"next_batch": "t1", "rooms": rooms}));
    }

    #[test]
    fn state_is_in_the_field_that_was_asked_for_and_in_no_other() {
        let mut answer = api::Response::new("t1".into());
        answer.rooms.join.insert(ruma::owned_room_id!("!a:x"), api::JoinedRoom::new());
        answer.rooms.leave.insert(ruma::owned_room_id!("!b:x"), api::LeftRoom::new());
        for field in [StateField::Before, StateField::After, StateField::UnstableAfter] {
            let shown = serde_json::to_value(SyncBody { answer: &answer, state: field }).unwrap();
            let room = json!({"timeline": {"limited": false, "events": []}, field.name(): {"events": []}});
            assert_eq!(shown["rooms"], json!({"join": {"!a:x": room}, "leave": {"!b:x": room}}));
        }
    }

    #[test]
    fn what_is_there_is_as_ruma_says_it() {
        let mut answer = api::Response::new("t1".into());
        let mut room = api::JoinedRoom::new();
        room.timeline.limited = true;
        room.timeline.prev_batch = Some("t0".into());
        room.summary.joined_member_count = Some(ruma::uint!(2));
        room.unread_notifications.notification_count = Some(ruma::uint!(3));
        answer.rooms.join.insert(ruma::owned_room_id!("!a:x"), room);
        answer.rooms.invite.insert(ruma::owned_room_id!("!b:x"), api::InvitedRoom::new());
        answer.device_unused_fallback_key_types = Some(Vec::new());
        let mut expected = {
            use ruma::api::OutgoingResponseExt as _;
            let response = answer.clone().try_into_http_response::<Vec<u8>>().unwrap();
            serde_json::from_slice::<Value>(response.body()).unwrap()
        };
        expected["rooms"]["join"]["!a:x"]["state"] = json!({"events": []});
        assert_eq!(shown(&answer), expected);
    }
}
