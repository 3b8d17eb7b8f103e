//! Events as clients see them (<https://spec.matrix.org/v1.15/client-server-api/#room-event-format>). Content is passed
//! on as the bytes that were stored: it was validated once, before the log.

use super::error::MatrixError;
use crate::api::convert;
use crate::service::Session;
use axum::http::StatusCode;
use quorate_core::id;
use quorate_core::query::Event;
use ruma::serde::Raw;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// User and device that an event is rendered for: only the device that sent it is shown its transaction id.
#[derive(Clone, Copy)]
pub(super) struct Viewer<'a> {
    pub(super) user_id: &'a str,
    pub(super) device_id: &'a str,
}

impl<'a> From<&'a Session> for Viewer<'a> {
    fn from(session: &'a Session) -> Self {
        Self { user_id: &session.user_id, device_id: &session.device_id }
    }
}

#[derive(Serialize)]
struct Rendered<'a> {
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
    #[serde(skip_serializing_if = "Unsigned::is_empty")]
    unsigned: Unsigned<'a>,
}

#[derive(Default, Serialize)]
struct Unsigned<'a> {
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

impl Unsigned<'_> {
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
struct Stripped<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    state_key: &'a str,
    sender: &'a str,
    content: &'a RawValue,
}

fn damaged(what: impl std::fmt::Display) -> MatrixError {
    tracing::error!(error = %what, "a stored event could not be rendered");
    MatrixError::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "A stored event is damaged; see the server's log.")
}

fn content(event: &Event) -> Result<&RawValue, MatrixError> {
    raw(event, &event.content)
}

fn raw<'e>(event: &Event, content: &'e [u8]) -> Result<&'e RawValue, MatrixError> {
    serde_json::from_slice(content).map_err(|error| damaged(format!("{}: {error}", event.event_id)))
}

/// Renders an event with its room, as `/messages` and `/event` show it.
pub(super) fn full<T>(event: &Event, viewer: Viewer<'_>) -> Result<Raw<T>, MatrixError> {
    render(event, viewer, Some(&event.room_id)).map(Raw::from_json)
}

/// Renders an event without its room, as `/sync` shows it.
pub(super) fn in_room<T>(event: &Event, viewer: Viewer<'_>) -> Result<Raw<T>, MatrixError> {
    render(event, viewer, None).map(Raw::from_json)
}

/// Renders a state event as invited users see it.
pub(super) fn stripped<T>(event: &Event) -> Result<Raw<T>, MatrixError> {
    let rendered = Stripped {
        event_type: &event.event_type,
        state_key: event.state_key.as_deref().unwrap_or_default(),
        sender: &event.sender,
        content: content(event)?,
    };
    to_raw_value(&rendered).map(Raw::from_json).map_err(damaged)
}

fn render(event: &Event, viewer: Viewer<'_>, room_id: Option<&str>) -> Result<Box<RawValue>, MatrixError> {
    let redacted_because = match &event.redacted_because {
        Some(because) => Some(render(because, viewer, room_id)?),
        None => None,
    };
    let rendered = Rendered {
        event_id: &event.event_id,
        event_type: &event.event_type,
        sender: &event.sender,
        origin_server_ts: event.origin_server_ts,
        content: content(event)?,
        state_key: event.state_key.as_deref(),
        room_id,
        // Room version 11 moved `redacts` into the content; the top level stays for clients of older ones (spec, room
        // v11).
        redacts: event.redacts.map(id::event_id),
        unsigned: Unsigned {
            transaction_id: event.transaction_id_for(viewer.user_id, viewer.device_id),
            replaces_state: event.replaces.map(id::event_id),
            redacted_because,
            prev_content: event.prev_content.as_deref().map(|content| raw(event, content)).transpose()?,
            membership: event.membership.map(convert::membership_name),
        },
    };
    to_raw_value(&rendered).map_err(damaged)
}
