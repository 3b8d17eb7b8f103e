//! Endpoints that read and set the state of rooms.

use super::Door;
use super::endpoint::Routes;
use super::error::MatrixError;
use super::event;
use super::streamed::{self, JsonFrame, StreamedState};
use super::timeline::event_id;
use crate::service::Session;
use axum::response::Response;
use bytes::Bytes;
use quorate_core::query::{Event, View};
use ruma::api::client::state::get_state_event_for_key::v3::StateEventFormat;
use ruma::api::client::state::{get_state_event_for_key, get_state_events, send_state_event};
use ruma::events::AnyStateEvent;
use ruma::serde::Raw;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.with_session("state_set", set).with_session("state_get", get_one).with_session_streamed("state_all", get_all)
}

async fn set(
    door: Door,
    session: Session,
    request: send_state_event::v3::Request,
) -> Result<send_state_event::v3::Response, MatrixError> {
    let content = Bytes::from(request.body.into_json().get().to_owned().into_bytes());
    let event_type = request.event_type.to_string();
    let room = request.room_id.as_str();
    let sent = door.service.set_state(&session, room, &event_type, &request.state_key, content, "").await?;
    Ok(send_state_event::v3::Response::new(event_id(sent.event_id)?))
}

async fn get_one(
    door: Door,
    session: Session,
    request: get_state_event_for_key::v3::Request,
) -> Result<get_state_event_for_key::v3::Response, MatrixError> {
    let (room, event_type) = (request.room_id.to_string(), request.event_type.to_string());
    let (wanted, key, localpart) = (event_type.clone(), request.state_key.clone(), session.localpart.clone());
    let found = door
        .read(move |view| {
            let room = view.resolve_room(&room)?;
            view.state_event_for(&localpart, room, &wanted, &key)
        })
        .await?;
    let found = found.ok_or_else(|| {
        MatrixError::not_found(format!("The room has no state {event_type} with the key {:?}.", request.state_key))
    })?;
    let shown = if request.format == StateEventFormat::Event {
        event::full::<AnyStateEvent>(&found, (&session).into())?.into_json()
    } else {
        serde_json::from_slice(&found.content)
            .map_err(|error| MatrixError::bad_json(format!("The stored state cannot be read: {error}.")))?
    };
    Ok(get_state_event_for_key::v3::Response::new(shown))
}

async fn get_all(
    door: Door,
    session: Session,
    request: get_state_events::v3::Request,
) -> Result<Response, MatrixError> {
    let (room, localpart) = (request.room_id.to_string(), session.localpart.clone());
    let place = move |view: &View<'_>| {
        let room = view.resolve_room(&room)?;
        Ok((room, view.state_place(&localpart, room)?))
    };
    let reader = session.clone();
    let write = move |event: &Event, out: &mut Vec<u8>| {
        let event: Raw<AnyStateEvent> = event::full(event, (&reader).into())?;
        out.extend_from_slice(event.json().get().as_bytes());
        Ok(true)
    };
    let frame = JsonFrame { open: "[", close: "]" };
    let wanted = StreamedState { event_type: None, token: None, place, frame };
    streamed::state(&door, &session, wanted, write).await
}
