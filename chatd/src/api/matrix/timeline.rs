//! Endpoints for messages: sending, redacting, finding, paging.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::event;
use super::raw_request::raw_json;
use super::with_direction::WithDirection;
use super::with_query::WithQuery;
use crate::service::{CallerSession, limits};
use quorate_core::id::{self, Position};
use quorate_core::query::{EventFilter, EventPage, RoomEvent, StateView};
use quorate_core::table::ScanDirection;
use ruma::api::client::message::{get_message_events, send_message_event};
use ruma::api::client::redact::redact_event;
use ruma::api::client::room::get_room_event;
use ruma::{OwnedEventId, UInt};

/// Maximum number of events in a page, whatever the client asks for: a page is held in memory.
pub(super) const MAX_PAGE: usize = 1000;

pub(super) fn timeline_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("send", send_message)
        .with_session("redact", send_redaction)
        .with_session("event", get_event)
        .with_session("messages", get_messages)
}

/// Converts an event id that core made to ruma's type.
pub(super) fn event_id(event: String) -> Result<OwnedEventId, MatrixError> {
    OwnedEventId::try_from(event.as_str())
        .map_err(|error| MatrixError::invalid_param(format!("{event} is not an event id: {error}.")))
}

async fn send_message(
    context: MatrixContext,
    session: CallerSession,
    request: send_message_event::v3::Request,
) -> Result<send_message_event::v3::Response, MatrixError> {
    let content = raw_json(&request.body);
    let room = request.room_id.as_str();
    let event_type = request.event_type.to_string();
    let sent = context.service.send(&session, room, &event_type, content, request.txn_id.as_str()).await?;
    Ok(send_message_event::v3::Response::new(event_id(sent.event_id)?))
}

async fn send_redaction(
    context: MatrixContext,
    session: CallerSession,
    request: redact_event::v3::Request,
) -> Result<redact_event::v3::Response, MatrixError> {
    let reason = request.reason.unwrap_or_default();
    let room = request.room_id.as_str();
    let target = request.event_id.as_str();
    let sent = context.service.redact(&session, room, target, &reason, request.txn_id.as_str()).await?;
    Ok(redact_event::v3::Response::new(event_id(sent.event_id)?))
}

async fn get_event(
    context: MatrixContext,
    session: CallerSession,
    request: get_room_event::v3::Request,
) -> Result<get_room_event::v3::Response, MatrixError> {
    let localpart = session.localpart.clone();
    let id = request.event_id.to_string();
    let question = move |view: &StateView<'_>| {
        let mut found = view.event(&localpart, &id)?;
        view.add_aggregations(&localpart, found.room, std::slice::from_mut(&mut found))?;
        Ok(found)
    };
    let found = context.read(question).await?;
    // The event is found, and its visibility judged, by its id alone; the room in the path is only compared.
    if found.room_id != request.room_id.as_str() {
        return Err(MatrixError::not_found("The room has no such event, or you may not see it."));
    }
    Ok(get_room_event::v3::Response::new(event::render_with_room(&found, (&session).into())?))
}

async fn get_messages(
    context: MatrixContext,
    session: CallerSession,
    WithDirection(call): WithDirection<WithQuery<get_message_events::v3::Request>>,
) -> Result<get_message_events::v3::Response, MatrixError> {
    let filter = event_filter(&call)?;
    let request = call.request;
    let direction = scan_direction(request.dir);
    let from = match (&request.from, direction) {
        (Some(token), _) => limits::cursor_position(token)?,
        // Without `from`, the page begins at the end of what the caller may see (specification, "GET /messages").
        (None, ScanDirection::Backward) => Position::MAX,
        (None, ScanDirection::Forward) => Position::ZERO,
    };
    let until = request.to.as_deref().map(limits::cursor_position).transpose()?;
    let limit = page_limit(request.limit, &filter).max(1);
    let lazy = !request.filter.lazy_load_options.is_disabled();
    let room = request.room_id.to_string();
    let localpart = session.localpart.clone();
    // The pod that gave these tokens had applied that far.
    let given = [request.from.is_some().then_some(from), until].into_iter().flatten().max();
    let question = move |view: &StateView<'_>| {
        let room = view.resolve_room(&room)?;
        let filter = EventFilter { ignored: view.users_ignored_by(&localpart)?, ..filter.clone() };
        let page = view.timeline_filtered(&localpart, room, from, direction, limit, &filter)?;
        let mut page = truncate_page(page, until, direction);
        view.aggregate_page(&localpart, room, &mut page, direction)?;
        let members = if lazy { view.senders_of(&localpart, room, &mut page, direction)? } else { Vec::new() };
        Ok((page, members))
    };
    let (page, members) = context.read_at(given, question).await?;
    let mut response = get_message_events::v3::Response::new();
    response.start = request.from.unwrap_or_else(|| id::encode_cursor(page.prev));
    response.end = page.next.map(id::encode_cursor);
    response.chunk = render_events(&page.events, &session)?;
    response.state = members.iter().map(|e| event::render_with_room(e, (&session).into())).collect::<Result<_, _>>()?;
    Ok(response)
}

/// Converts a direction of ruma's to that of scans.
pub(super) fn scan_direction(direction: ruma::api::Direction) -> ScanDirection {
    match direction {
        ruma::api::Direction::Backward => ScanDirection::Backward,
        ruma::api::Direction::Forward => ScanDirection::Forward,
    }
}

/// Parses the filter of a request as it came: ruma's type knows only some of its fields.
pub(super) fn event_filter<T>(call: &WithQuery<T>) -> Result<EventFilter, MatrixError> {
    match call.argument("filter") {
        Some(json) => EventFilter::from_json(json.as_bytes()).map_err(MatrixError::bad_json),
        None => Ok(EventFilter::default()),
    }
}

/// Returns the number of events that a client wants at most, within what a page holds.
pub(super) fn page_limit(asked: UInt, filter: &EventFilter) -> usize {
    let asked = usize::try_from(u64::from(asked)).unwrap_or(MAX_PAGE);
    asked.min(filter.limit.unwrap_or(MAX_PAGE)).min(MAX_PAGE)
}

/// Renders events with their room.
pub(super) fn render_events<T>(
    events: &[RoomEvent],
    session: &CallerSession,
) -> Result<Vec<ruma::serde::Raw<T>>, MatrixError> {
    events.iter().map(|event| event::render_with_room(event, session.into())).collect()
}

/// Ends a page at the token `to` of the request.
pub(super) fn truncate_page(mut page: EventPage, until: Option<Position>, direction: ScanDirection) -> EventPage {
    let Some(until) = until else { return page };
    let before = page.events.len();
    page.events.retain(|event| match direction {
        ScanDirection::Backward => event.position > until,
        ScanDirection::Forward => event.position <= until,
    });
    if page.events.len() < before {
        // No `end` tells the client that it has everything up to its `to`.
        page.next = None;
    }
    page
}
