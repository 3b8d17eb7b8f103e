//! Events as clients see them (<https://spec.matrix.org/v1.15/client-server-api/#room-event-format>). Content is passed
//! on as the bytes that were stored: it was validated once, before the log.

use super::error::MatrixError;
use crate::api::convert;
use crate::service::CallerSession;
use axum::http::StatusCode;
use quorate_core::id;
use quorate_core::query::RoomEvent;
use ruma::serde::Raw;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

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
    #[serde(skip_serializing_if = "UnsignedData::is_empty")]
    unsigned: UnsignedData<'a>,
}

#[derive(Default, Serialize)]
struct UnsignedData<'a> {
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
}

impl UnsignedData<'_> {
    fn is_empty(&self) -> bool {
        let Self { transaction_id, replaces_state, redacted_because, prev_content, membership } = self;
        transaction_id.is_none()
            && replaces_state.is_none()
            && redacted_because.is_none()
            && prev_content.is_none()
            && membership.is_none()
    }
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

fn damaged_event(what: impl std::fmt::Display) -> MatrixError {
    tracing::error!(error = %what, "a stored event could not be rendered");
    MatrixError::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "A stored event is damaged; see the server's log.")
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

/// Renders a state event as invited users see it.
pub(super) fn render_stripped<T>(event: &RoomEvent) -> Result<Raw<T>, MatrixError> {
    let rendered = StrippedStateEvent {
        event_type: &event.event_type,
        state_key: event.state_key.as_deref().unwrap_or_default(),
        sender: &event.sender,
        content: event_content(event)?,
    };
    to_raw_value(&rendered).map(Raw::from_json).map_err(damaged_event)
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
            transaction_id: event.transaction_id_for(viewer.user_id, viewer.device_id),
            replaces_state: event.replaces.map(id::event_id),
            redacted_because,
            prev_content: event.prev_content.as_deref().map(|content| raw_content(event, content)).transpose()?,
            membership: event.membership.map(convert::membership_name),
        },
    };
    to_raw_value(&rendered).map_err(damaged_event)
}
