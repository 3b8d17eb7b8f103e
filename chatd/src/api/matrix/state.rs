//! Endpoints that read and set the state of rooms.

use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::event;
use super::raw_request::raw_json;
use super::streamed::{self, JsonFrame, StreamedState};
use super::timeline::event_id;
use crate::service::CallerSession;
use axum::response::Response;
use quorate_core::query::{RoomEvent, StateScope, StateView};
use ruma::api::client::state::get_state_event_for_key::v3::StateEventFormat;
use ruma::api::client::state::{get_state_event_for_key, get_state_events, send_state_event};
use ruma::events::AnyStateEvent;
use ruma::serde::Raw;

pub(super) fn state_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("state_set", set_state)
        .with_session("state_get", get_one)
        // Sent as it is read.
        .answering("state_all", WithSession, get_all)
}

async fn set_state(
    context: MatrixContext,
    session: CallerSession,
    request: send_state_event::v3::Request,
) -> Result<send_state_event::v3::Response, MatrixError> {
    let content = raw_json(&request.body);
    let event_type = request.event_type.to_string();
    let room = request.room_id.as_str();
    let sent = context.service.set_state(&session, room, &event_type, &request.state_key, content, "").await?;
    Ok(send_state_event::v3::Response::new(event_id(sent.event_id)?))
}

async fn get_one(
    context: MatrixContext,
    session: CallerSession,
    request: get_state_event_for_key::v3::Request,
) -> Result<get_state_event_for_key::v3::Response, MatrixError> {
    let room = request.room_id.to_string();
    let event_type = request.event_type.to_string();
    let wanted = event_type.clone();
    let key = request.state_key.clone();
    let localpart = session.localpart.clone();
    let found = context
        .read(move |view| {
            let room = view.resolve_room(&room)?;
            view.state_event_for(&localpart, room, &wanted, &key)
        })
        .await?;
    let found = found.ok_or_else(|| {
        MatrixError::not_found(format!("The room has no state {event_type} with the key {:?}.", request.state_key))
    })?;
    let shown = if request.format == StateEventFormat::Event {
        event::render_with_room::<AnyStateEvent>(&found, (&session).into())?.into_json()
    } else {
        serde_json::from_slice(&found.content).map_err(|error| MatrixError::damaged("event", error))?
    };
    Ok(get_state_event_for_key::v3::Response::new(shown))
}

async fn get_all(
    context: MatrixContext,
    session: CallerSession,
    request: get_state_events::v3::Request,
) -> Result<Response, MatrixError> {
    let room = request.room_id.to_string();
    let localpart = session.localpart.clone();
    let place = move |view: &StateView<'_>| {
        let room = view.resolve_room(&room)?;
        Ok((room, view.state_place(&localpart, room)?))
    };
    let reader = session.clone();
    let write = move |event: &RoomEvent, out: &mut Vec<u8>| {
        let event: Raw<AnyStateEvent> = event::render_with_room(event, (&reader).into())?;
        out.extend_from_slice(event.json().get().as_bytes());
        Ok(true)
    };
    let frame = JsonFrame { open: "[", close: "]" };
    let wanted = StreamedState { scope: StateScope::All, token: None, place, frame };
    streamed::stream_state(&context, &session, wanted, write).await
}
