//! Endpoints that list what relates to an event, and the threads of a room.

use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::event;
use super::timeline::{MAX_PAGE, render_events, scan_direction, truncate_page};
use crate::service::{CallerSession, limits};
use quorate_core::id::{self, Position};
use quorate_core::query::{EventPage, QueryError, RELATION_DEPTH, RelationQuery, StateView};
use quorate_core::table::ScanDirection;
use ruma::UInt;
use ruma::api::Direction;
use ruma::api::client::relations::{
    get_relating_events, get_relating_events_with_rel_type, get_relating_events_with_rel_type_and_event_type,
};
use ruma::api::client::threads::get_threads;
use ruma::events::AnyMessageLikeEvent;
use ruma::serde::Raw;

/// Number of events in a page if the client does not say.
const DEFAULT_PAGE: usize = 20;

pub(super) fn relation_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("relations", get_all)
        .with_session("relations_of_type", get_of_type)
        .with_session("relations_of_event_type", get_of_event_type)
        .with_session("threads", list_threads)
}

/// Question of the three endpoints.
struct RelationsAsked {
    room: String,
    event_id: String,
    relation_type: Option<String>,
    event_type: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<UInt>,
    dir: Direction,
    recurse: bool,
}

/// Answer of the three endpoints.
struct RelationsFound {
    chunk: Vec<Raw<AnyMessageLikeEvent>>,
    next_batch: Option<String>,
    prev_batch: Option<String>,
    recursion_depth: Option<UInt>,
}

async fn find_relations(
    context: &MatrixContext,
    session: &CallerSession,
    asked: RelationsAsked,
) -> Result<RelationsFound, MatrixError> {
    let given = asked.from.as_deref().map(limits::cursor_position).transpose()?;
    let until = asked.to.as_deref().map(limits::cursor_position).transpose()?;
    let limit = list_limit(asked.limit);
    let localpart = session.localpart.clone();
    let recurse = asked.recurse;
    let prev_batch = asked.from.clone();
    let token = given.into_iter().chain(until).max();
    let question = move |view: &StateView<'_>| relations_page(view, &localpart, &asked, (given, until), limit);
    let page = context.read_at(token, question).await?;
    Ok(RelationsFound {
        chunk: render_events(&page.events, session)?,
        next_batch: page.next.map(id::encode_cursor),
        prev_batch,
        recursion_depth: recurse.then_some(UInt::try_from(RELATION_DEPTH).unwrap_or_default()),
    })
}

fn relations_page(
    view: &StateView<'_>,
    localpart: &str,
    asked: &RelationsAsked,
    (given, until): (Option<Position>, Option<Position>),
    limit: usize,
) -> Result<EventPage, QueryError> {
    let direction = scan_direction(asked.dir);
    let room = view.resolve_room(&asked.room)?;
    view.check_reader(localpart, room)?;
    let target = id::parse_event_id(&asked.event_id).ok_or(QueryError::EventNotFound)?;
    let which = RelationQuery {
        target,
        relation_type: asked.relation_type.as_deref(),
        event_type: asked.event_type.as_deref(),
    };
    let from = match (given, direction) {
        (Some(given), _) => view.clamp(given),
        (None, ScanDirection::Backward) => Position::MAX,
        (None, ScanDirection::Forward) => Position::ZERO,
    };
    let page = if asked.recurse {
        view.relations_below(localpart, room, which, from, direction, limit)?
    } else {
        view.relations(localpart, room, which, from, direction, limit)?
    };
    let mut page = truncate_page(page, until, direction);
    view.aggregate_page(localpart, room, &mut page, direction)?;
    Ok(page)
}

/// Returns the number of events that a client wants at most, within what a page holds.
fn list_limit(asked: Option<UInt>) -> usize {
    let asked = asked.map(|asked| usize::try_from(u64::from(asked)).unwrap_or(MAX_PAGE));
    asked.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
}

async fn get_all(
    context: MatrixContext,
    session: CallerSession,
    request: get_relating_events::v1::Request,
) -> Result<get_relating_events::v1::Response, MatrixError> {
    let asked = RelationsAsked {
        room: request.room_id.to_string(),
        event_id: request.event_id.to_string(),
        relation_type: None,
        event_type: None,
        from: request.from,
        to: request.to,
        limit: request.limit,
        dir: request.dir,
        recurse: request.recurse,
    };
    let found = find_relations(&context, &session, asked).await?;
    let mut response = get_relating_events::v1::Response::new(found.chunk);
    response.next_batch = found.next_batch;
    response.prev_batch = found.prev_batch;
    response.recursion_depth = found.recursion_depth;
    Ok(response)
}

async fn get_of_type(
    context: MatrixContext,
    session: CallerSession,
    request: get_relating_events_with_rel_type::v1::Request,
) -> Result<get_relating_events_with_rel_type::v1::Response, MatrixError> {
    let asked = RelationsAsked {
        room: request.room_id.to_string(),
        event_id: request.event_id.to_string(),
        relation_type: Some(request.rel_type.to_string()),
        event_type: None,
        from: request.from,
        to: request.to,
        limit: request.limit,
        dir: request.dir,
        recurse: request.recurse,
    };
    let found = find_relations(&context, &session, asked).await?;
    let mut response = get_relating_events_with_rel_type::v1::Response::new(found.chunk);
    response.next_batch = found.next_batch;
    response.prev_batch = found.prev_batch;
    response.recursion_depth = found.recursion_depth;
    Ok(response)
}

async fn get_of_event_type(
    context: MatrixContext,
    session: CallerSession,
    request: get_relating_events_with_rel_type_and_event_type::v1::Request,
) -> Result<get_relating_events_with_rel_type_and_event_type::v1::Response, MatrixError> {
    let asked = RelationsAsked {
        room: request.room_id.to_string(),
        event_id: request.event_id.to_string(),
        relation_type: Some(request.rel_type.to_string()),
        event_type: Some(request.event_type.to_string()),
        from: request.from,
        to: request.to,
        limit: request.limit,
        dir: request.dir,
        recurse: request.recurse,
    };
    let found = find_relations(&context, &session, asked).await?;
    let mut response = get_relating_events_with_rel_type_and_event_type::v1::Response::new(found.chunk);
    response.next_batch = found.next_batch;
    response.prev_batch = found.prev_batch;
    response.recursion_depth = found.recursion_depth;
    Ok(response)
}

async fn list_threads(
    context: MatrixContext,
    session: CallerSession,
    request: get_threads::v1::Request,
) -> Result<get_threads::v1::Response, MatrixError> {
    let participated = match request.include {
        get_threads::v1::IncludeThreads::All => false,
        get_threads::v1::IncludeThreads::Participated => true,
        other => {
            let message = format!("{other} is not a kind of threads: ask for `all` or `participated`.");
            return Err(MatrixError::invalid_param(message));
        }
    };
    let from = request.from.as_deref().map(limits::cursor_position).transpose()?;
    let limit = list_limit(request.limit);
    let localpart = session.localpart.clone();
    let question = move |view: &StateView<'_>| {
        let room = view.resolve_room(request.room_id.as_str())?;
        view.threads(&localpart, room, participated, from.unwrap_or(Position::MAX), limit)
    };
    let page = context.read_at(from, question).await?;
    let chunk = page.events.iter().map(|root| event::render_with_room(root, (&session).into()));
    let mut response = get_threads::v1::Response::new(chunk.collect::<Result<_, _>>()?);
    response.next_batch = page.next.map(id::encode_cursor);
    Ok(response)
}
