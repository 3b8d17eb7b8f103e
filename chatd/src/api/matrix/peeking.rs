//! The endpoint with which clients preview a room that the caller has not joined, or has left: its newest events, and its
//! state, which is sent as it is read.

use super::admission::WithSession;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::surroundings::send_with_state;
use super::sync::account_data;
use super::timeline::{MAX_PAGE, render_events};
use super::with_query::WithQuery;
use crate::api::convert::membership_name;
use crate::service::CallerSession;
use axum::response::Response;
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::sync::AccountDatum;
use quorate_core::query::{EventFilter, EventPage, QueryError, StateScope, StateView};
use quorate_core::table::ScanDirection;
use ruma::api::client::peeking::get_current_state::v3::{PaginationChunk, Request};
use ruma::api::client::room::Visibility;
use ruma::events::AnyRoomAccountDataEvent;
use ruma::serde::Raw;
use serde::Serialize;

/// Number of events if the request does not say. The specification has no such argument; this is what Synapse does.
const DEFAULT_EVENTS: usize = 10;

pub(super) fn peeking_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes.answering("room_initial_sync", WithSession, preview_room)
}

/// Contents of a room for its preview, as the store has them.
struct RoomPreview {
    room: RoomNumber,
    room_id: String,
    membership: Option<Kind>,
    is_listed: bool,
    account_data: Vec<AccountDatum>,
    /// Newest events that the caller may see, newest first.
    page: EventPage,
    /// Position whose state the caller may see.
    state_at: Position,
}

/// Answer before its state.
#[derive(Serialize)]
struct PreviewHead {
    room_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
    visibility: Visibility,
    account_data: Vec<Raw<AnyRoomAccountDataEvent>>,
    messages: PaginationChunk,
}

async fn preview_room(
    context: MatrixContext,
    session: CallerSession,
    call: WithQuery<Request>,
) -> Result<Response, MatrixError> {
    let limit = event_limit(call.argument("limit").as_deref())?;
    let room_id = call.into_request().room_id;
    let localpart = session.localpart.clone();
    let found = context.read(move |view| find_preview(view, &localpart, room_id.as_str(), limit)).await?;
    let state = Some((found.room, found.state_at, StateScope::All));
    let head = render_head(found, &session)?;
    send_with_state(&context, &session, head, EventFilter::default(), state).await
}

fn event_limit(asked: Option<&str>) -> Result<usize, MatrixError> {
    match asked.map(str::parse::<usize>) {
        None => Ok(DEFAULT_EVENTS),
        Some(Ok(limit)) => Ok(limit.min(MAX_PAGE)),
        Some(Err(_)) => Err(MatrixError::invalid_param("limit is not a number.")),
    }
}

fn find_preview(view: &StateView<'_>, localpart: &str, room_id: &str, limit: usize) -> Result<RoomPreview, QueryError> {
    let room = view.resolve_room(room_id)?;
    let state_at = view.state_place(localpart, room)?;
    let filter = EventFilter { ignored: view.users_ignored_by(localpart)?, ..EventFilter::default() };
    let backward = ScanDirection::Backward;
    let mut page = view.timeline_filtered(localpart, room, Position::MAX, backward, limit, &filter)?;
    view.aggregate_page(localpart, room, &mut page, backward)?;
    let membership = view.membership(room, localpart)?;
    let is_listed = view.is_to_be_listed(room_id)?;
    let account_data = view.account_data_of(localpart, room)?;
    Ok(RoomPreview { room, room_id: room_id.to_owned(), membership, is_listed, account_data, page, state_at })
}

fn render_head(found: RoomPreview, session: &CallerSession) -> Result<PreviewHead, MatrixError> {
    let RoomPreview { room_id, membership, is_listed, account_data: data, mut page, .. } = found;
    page.events.reverse();
    let mut messages = PaginationChunk::new(render_events(&page.events, session)?, id::encode_cursor(page.prev));
    messages.start = page.next.map(id::encode_cursor);
    Ok(PreviewHead {
        room_id,
        membership: membership.map(membership_name),
        visibility: if is_listed { Visibility::Public } else { Visibility::Private },
        account_data: account_data(&data)?,
        messages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_has_as_many_events_as_asked_for_within_a_page() {
        let limit = |asked| event_limit(asked).map_err(|error| error.errcode().to_owned());
        assert_eq!((limit(None), limit(Some("0")), limit(Some("5000"))), (Ok(DEFAULT_EVENTS), Ok(0), Ok(MAX_PAGE)));
        for bad in ["", "x", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(limit(Some(bad)), Err("M_INVALID_PARAM".to_owned()), "{bad}");
        }
    }
}
