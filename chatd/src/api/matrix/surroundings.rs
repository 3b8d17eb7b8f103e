//! Endpoints that find a place in a room's timeline: around an event, and by time.

use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::event;
use super::streamed::{self, JsonFrame, StreamedState};
use super::timeline::{event_filter, event_id, page_limit, render_events, scan_direction};
use super::with_query::WithQuery;
use crate::service::CallerSession;
use axum::body::Body;
use axum::response::Response;
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::query::{EventFilter, EventSurroundings, RoomEvent, StateScope, StateView};
use ruma::api::client::context::get_context;
use ruma::api::client::room::get_event_by_timestamp;
use ruma::events::{AnyStateEvent, AnyTimelineEvent};
use ruma::serde::Raw;
use ruma::{MilliSecondsSinceUnixEpoch, UInt};
use serde::Serialize;
use std::sync::Arc;

pub(super) fn surroundings_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes.answering("context", WithSession, get_surroundings).with_session("timestamp_to_event", get_by_time)
}

/// Answer of `/context` before its state, which is sent as it is read.
#[derive(Serialize)]
struct SurroundingsHead {
    start: String,
    end: String,
    event: Raw<AnyTimelineEvent>,
    events_before: Vec<Raw<AnyTimelineEvent>>,
    events_after: Vec<Raw<AnyTimelineEvent>>,
}

async fn get_surroundings(
    context: MatrixContext,
    session: CallerSession,
    call: WithQuery<get_context::v3::Request>,
) -> Result<Response, MatrixError> {
    let filter = event_filter(&call)?;
    let request = call.request;
    let limit = page_limit(request.limit, &filter);
    let lazy = !request.filter.lazy_load_options.is_disabled();
    let localpart = session.localpart.clone();
    let wanted = filter.clone();
    let question = move |view: &StateView<'_>| {
        let room = view.resolve_room(request.room_id.as_str())?;
        let wanted = EventFilter { ignored: view.users_ignored_by(&localpart)?, ..wanted.clone() };
        let mut found = view.event_surroundings(&localpart, room, request.event_id.as_str(), limit, &wanted)?;
        view.add_aggregations(&localpart, room, std::slice::from_mut(&mut found.event))?;
        view.add_aggregations(&localpart, room, &mut found.before)?;
        view.add_aggregations(&localpart, room, &mut found.after)?;
        let state = match found.state_at {
            None => None,
            Some(at) if lazy => Some((room, at, StateScope::WithMembers(Arc::new(found.senders())))),
            Some(at) => Some((room, at, StateScope::All)),
        };
        Ok((found, state))
    };
    let (found, state) = context.read(question).await?;
    let head = render_head(found, &session)?;
    send_with_state(&context, &session, head, filter, state).await
}

fn render_head(found: EventSurroundings, session: &CallerSession) -> Result<SurroundingsHead, MatrixError> {
    Ok(SurroundingsHead {
        start: id::encode_cursor(found.start),
        end: id::encode_cursor(found.end),
        event: event::render_with_room(&found.event, session.into())?,
        events_before: render_events(&found.before, session)?,
        events_after: render_events(&found.after, session)?,
    })
}

/// State to be sent with the events: its room, its position, and what is wanted of it; `None` if there is none.
pub(super) type SurroundingState = Option<(RoomNumber, Position, StateScope)>;

/// Sends an object, continued by the state.
pub(super) async fn send_with_state(
    context: &MatrixContext,
    session: &CallerSession,
    head: impl Serialize + Send,
    filter: EventFilter,
    state: SurroundingState,
) -> Result<Response, MatrixError> {
    let broken = |error: serde_json::Error| MatrixError::bad_json(format!("The events cannot be shown: {error}."));
    let mut out = serde_json::to_vec(&head).map_err(broken)?;
    // The object continues with the state.
    out.pop();
    out.push(b',');
    let frame = JsonFrame { open: r#""state":["#, close: "]}" };
    let reader = session.clone();
    let write = move |event: &RoomEvent, out: &mut Vec<u8>| {
        let wanted = filter.wants(event);
        if wanted {
            let event: Raw<AnyStateEvent> = event::render_with_room(event, (&reader).into())?;
            out.extend_from_slice(event.json().get().as_bytes());
        }
        Ok(wanted)
    };
    match state {
        None => {
            out.extend_from_slice(frame.open.as_bytes());
            out.extend_from_slice(frame.close.as_bytes());
            Ok(streamed::json_response(Body::from(out)))
        }
        Some((room, at, scope)) => {
            let place = move |_: &StateView<'_>| Ok((room, at));
            let wanted = StreamedState { scope, token: None, place, frame };
            streamed::stream_state_after(context, session, out, wanted, write).await
        }
    }
}

async fn get_by_time(
    context: MatrixContext,
    session: CallerSession,
    request: get_event_by_timestamp::v1::Request,
) -> Result<get_event_by_timestamp::v1::Response, MatrixError> {
    let direction = scan_direction(request.dir);
    let time_ms = u64::from(request.ts.get());
    let question = move |view: &StateView<'_>| {
        let room = view.resolve_room(request.room_id.as_str())?;
        view.event_by_time(&session.localpart, room, time_ms, direction)
    };
    let found = context.read(question).await?;
    let sent = MilliSecondsSinceUnixEpoch(UInt::new_saturating(found.origin_server_ts));
    Ok(get_event_by_timestamp::v1::Response::new(event_id(found.event_id)?, sent))
}
