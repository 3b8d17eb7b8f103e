//! Events as clients see them (<https://spec.matrix.org/v1.15/client-server-api/#room-event-format>). Content is passed
//! on as the bytes that were stored: it was validated once, before the log.

use super::error::MatrixError;
use crate::api::convert;
use crate::service::CallerSession;
use quorate_core::id;
use quorate_core::query::{EventAggregations, RoomEvent};
use ruma::serde::Raw;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::time::{SystemTime, UNIX_EPOCH};

/// User and device that an event is rendered for: only the device that sent it is shown its transaction id.
#[derive(Clone, Copy)]
pub(super) struct EventViewer<'a> {
    pub(super) user_id: &'a str,
    pub(super) device_id: &'a str,
}

impl<'a> From<&'a CallerSession> for EventViewer<'a> {
    fn from(session: &'a CallerSession) -> Self {
        Self { user_id: &session.user_id, device_id: &session.device_id }
    }
}

#[derive(Serialize)]
struct ClientEvent<'a> {
    event_id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    sender: &'a str,
    origin_server_ts: u64,
    content: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<String>,
    unsigned: UnsignedData<'a>,
}

#[derive(Default, Serialize)]
struct UnsignedData<'a> {
    /// Time in milliseconds since the event was sent, as clients are told it: their own clocks may be wrong.
    age: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_because: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    relations: Option<ShownAggregations<'a>>,
}

/// Additions of later events to an event (spec, "Aggregations of child events").
#[derive(Serialize)]
struct ShownAggregations<'a> {
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replacement: Option<Box<RawValue>>,
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    thread: Option<ShownThread>,
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    references: Option<ShownReferences<'a>>,
}

#[derive(Serialize)]
struct ShownThread {
    latest_event: Box<RawValue>,
    count: u64,
    current_user_participated: bool,
}

#[derive(Serialize)]
struct ShownReferences<'a> {
    chunk: Vec<ReferenceId<'a>>,
}

#[derive(Serialize)]
struct ReferenceId<'a> {
    event_id: &'a str,
}

/// Event as shown before a user joins: nothing that a stranger should not learn (spec, "Stripped state").
#[derive(Serialize)]
struct StrippedStateEvent<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    state_key: &'a str,
    sender: &'a str,
    content: &'a RawValue,
}

/// Returns the time by this pod's clock, in milliseconds since the Unix epoch. The age of an event is approximate by its
/// nature: it is old again when the client reads it.
fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn damaged_event(what: impl std::fmt::Display) -> MatrixError {
    MatrixError::damaged("event", what)
}

fn event_content(event: &RoomEvent) -> Result<&RawValue, MatrixError> {
    raw_content(event, &event.content)
}

fn raw_content<'e>(event: &RoomEvent, content: &'e [u8]) -> Result<&'e RawValue, MatrixError> {
    serde_json::from_slice(content).map_err(|error| damaged_event(format!("{}: {error}", event.event_id)))
}

/// Renders an event with its room, as `/messages` and `/event` show it.
pub(super) fn render_with_room<T>(event: &RoomEvent, viewer: EventViewer<'_>) -> Result<Raw<T>, MatrixError> {
    render_event(event, viewer, Some(&event.room_id)).map(Raw::from_json)
}

/// Renders an event without its room, as `/sync` shows it.
pub(super) fn render_without_room<T>(event: &RoomEvent, viewer: EventViewer<'_>) -> Result<Raw<T>, MatrixError> {
    render_event(event, viewer, None).map(Raw::from_json)
}

/// Link from a space to a room in it, as a hierarchy shows it: stripped state with its time.
#[derive(Serialize)]
struct SpaceChildEvent<'a> {
    #[serde(flatten)]
    stripped: StrippedStateEvent<'a>,
    origin_server_ts: u64,
}

/// Renders the link from a space to a room in it.
pub(super) fn render_child<T>(event: &RoomEvent) -> Result<Raw<T>, MatrixError> {
    let rendered = SpaceChildEvent { stripped: stripped_event(event)?, origin_server_ts: event.origin_server_ts };
    to_raw_value(&rendered).map(Raw::from_json).map_err(damaged_event)
}

fn stripped_event(event: &RoomEvent) -> Result<StrippedStateEvent<'_>, MatrixError> {
    Ok(StrippedStateEvent {
        event_type: &event.event_type,
        state_key: event.state_key.as_deref().unwrap_or_default(),
        sender: &event.sender,
        content: event_content(event)?,
    })
}

/// Renders a state event as invited users see it.
pub(super) fn render_stripped<T>(event: &RoomEvent) -> Result<Raw<T>, MatrixError> {
    to_raw_value(&stripped_event(event)?).map(Raw::from_json).map_err(damaged_event)
}

fn render_aggregations<'a>(
    added: &'a EventAggregations,
    viewer: EventViewer<'_>,
    room_id: Option<&str>,
) -> Result<ShownAggregations<'a>, MatrixError> {
    let replacement = added.replacement.as_ref().map(|event| render_event(event, viewer, room_id)).transpose()?;
    let thread = match &added.thread {
        Some(thread) => Some(ShownThread {
            latest_event: render_event(&thread.latest, viewer, room_id)?,
            count: thread.count,
            current_user_participated: thread.participated,
        }),
        None => None,
    };
    let chunk: Vec<_> = added.references.iter().map(|event_id| ReferenceId { event_id }).collect();
    let references = (!chunk.is_empty()).then_some(ShownReferences { chunk });
    Ok(ShownAggregations { replacement, thread, references })
}

fn render_event(
    event: &RoomEvent,
    viewer: EventViewer<'_>,
    room_id: Option<&str>,
) -> Result<Box<RawValue>, MatrixError> {
    let redacted_because = match &event.redacted_because {
        Some(because) => Some(render_event(because, viewer, room_id)?),
        None => None,
    };
    let rendered = ClientEvent {
        event_id: &event.event_id,
        event_type: &event.event_type,
        sender: &event.sender,
        origin_server_ts: event.origin_server_ts,
        content: event_content(event)?,
        state_key: event.state_key.as_deref(),
        room_id,
        // Room version 11 moved `redacts` into the content; the top level stays for clients of older ones (spec, room
        // v11).
        redacts: event.redacts.map(id::event_id),
        unsigned: UnsignedData {
            age: wall_clock_ms().saturating_sub(event.origin_server_ts),
            transaction_id: event.transaction_id_for(viewer.user_id, viewer.device_id),
            replaces_state: event.replaces.map(id::event_id),
            redacted_because,
            prev_content: event.prev_content.as_deref().map(|content| raw_content(event, content)).transpose()?,
            membership: event.membership.map(convert::membership_name),
            relations: event
                .aggregations
                .as_deref()
                .map(|added| render_aggregations(added, viewer, room_id))
                .transpose()?,
        },
    };
    to_raw_value(&rendered).map_err(damaged_event)
}
