//! Endpoints for the names of rooms: aliases, and the public directory.

use super::admission::{AnyReader, NamedReader, WithSession};
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::preview::client_summary;
use crate::service::{CallerSession, ReadConsistency, RefusalCode, RequestRefusal, limits};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use quorate_core::query::{DirectoryPage, DirectoryPlace, DirectoryQuery, RoomSummary};
use quorate_core::table::ScanDirection;
use ruma::api::client::alias::{create_alias, delete_alias};
use ruma::api::client::directory::{
    get_public_rooms, get_public_rooms_filtered, get_room_visibility, set_room_visibility,
};
use ruma::api::client::room::{Visibility, aliases};
use ruma::directory::{Filter, PublicRoomsChunk};
use ruma::{OwnedRoomAliasId, OwnedServerName, UInt};
use serde::Serialize;
use serde_json::Value;

/// Number of rooms on a page if the request does not say, and at most for a caller without a session.
const DEFAULT_ROOMS: usize = 100;
/// Maximum number of rooms on a page.
const MAX_ROOMS: usize = 500;
/// Maximum number of types of rooms in a filter, each of which is compared with that of each room.
const MAX_TYPES: usize = 32;

pub(super) fn directory_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("alias_put", put_alias)
        .with_session("alias_delete", remove_alias)
        .with_session("room_aliases", list_aliases)
        .admitting("visibility_get", AnyReader, get_visibility)
        .with_session("visibility_set", set_visibility)
        .answering("public_rooms", NamedReader(|context| context.service.directory_is_open()), all_public_rooms)
        .answering("public_rooms_search", WithSession, search_public_rooms)
}

async fn put_alias(
    context: MatrixContext,
    session: CallerSession,
    request: create_alias::v3::Request,
) -> Result<create_alias::v3::Response, MatrixError> {
    let put = context.service.put_alias(&session, request.room_alias.as_str(), request.room_id.as_str()).await;
    put.map_err(alias_taken)?;
    Ok(create_alias::v3::Response::new())
}

/// Returns the specification's error for an alias that exists, which is another one than that of `createRoom`.
fn alias_taken(refusal: RequestRefusal) -> MatrixError {
    match refusal.code {
        RefusalCode::AliasExists => MatrixError::new(StatusCode::CONFLICT, "M_UNKNOWN", refusal.message),
        _ => refusal.into(),
    }
}

async fn remove_alias(
    context: MatrixContext,
    session: CallerSession,
    request: delete_alias::v3::Request,
) -> Result<delete_alias::v3::Response, MatrixError> {
    context.service.remove_alias(&session, request.room_alias.as_str()).await?;
    Ok(delete_alias::v3::Response::new())
}

async fn list_aliases(
    context: MatrixContext,
    session: CallerSession,
    request: aliases::v3::Request,
) -> Result<aliases::v3::Response, MatrixError> {
    let found = context
        .read(move |view| {
            let room = view.resolve_room(request.room_id.as_str())?;
            view.aliases_for(&session.localpart, room)
        })
        .await?;
    // An alias that was accepted in the past stays out of the list rather than the whole list out of reach.
    let aliases = found.into_iter().filter_map(|alias| OwnedRoomAliasId::try_from(alias.as_str()).ok());
    Ok(aliases::v3::Response::new(aliases.collect()))
}

async fn get_visibility(
    context: MatrixContext,
    consistency: ReadConsistency,
    request: get_room_visibility::v3::Request,
) -> Result<get_room_visibility::v3::Response, MatrixError> {
    let room = request.room_id.to_string();
    // A room that does not exist is private: ids can be guessed, and strangers may ask.
    let listed = context.read_with(consistency, move |view| view.is_to_be_listed(&room)).await?;
    let visibility = if listed { Visibility::Public } else { Visibility::Private };
    Ok(get_room_visibility::v3::Response::new(visibility))
}

async fn set_visibility(
    context: MatrixContext,
    session: CallerSession,
    request: set_room_visibility::v3::Request,
) -> Result<set_room_visibility::v3::Response, MatrixError> {
    let listed = match request.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        other => return Err(MatrixError::invalid_param(format!("{other} is not a visibility: public or private."))),
    };
    context.service.set_listed(&session, request.room_id.as_str(), listed).await?;
    Ok(set_room_visibility::v3::Response::new())
}

async fn all_public_rooms(
    context: MatrixContext,
    session: Option<CallerSession>,
    request: get_public_rooms::v3::Request,
) -> Result<Response, MatrixError> {
    let mut wish = directory_query(request.since.as_deref(), request.limit, &Filter::new())?;
    let consistency = if session.is_some() {
        ReadConsistency::Linearizable
    } else {
        wish.limit = wish.limit.min(DEFAULT_ROOMS);
        ReadConsistency::Local
    };
    let list = public_rooms(&context, consistency, request.server.as_ref(), wish).await?;
    Ok(Json(list).into_response())
}

async fn search_public_rooms(
    context: MatrixContext,
    _session: CallerSession,
    request: get_public_rooms_filtered::v3::Request,
) -> Result<Response, MatrixError> {
    let wish = directory_query(request.since.as_deref(), request.limit, &request.filter)?;
    let list = public_rooms(&context, ReadConsistency::Linearizable, request.server.as_ref(), wish).await?;
    Ok(Json(list).into_response())
}

/// Page of the directory as clients see it.
#[derive(Serialize)]
struct PublicRoomList {
    chunk: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_room_count_estimate: Option<UInt>,
}

/// Renders a room of the directory. ruma's type leaves out the join rule `public` as the default; there are clients
/// that show who can join only if the rule is there.
fn public_room(room: RoomSummary) -> Result<Value, MatrixError> {
    let room = PublicRoomsChunk::from(client_summary(room)?);
    let mut shown = serde_json::to_value(&room).map_err(|error| {
        tracing::error!(%error, "a public room could not be rendered");
        MatrixError::from(RequestRefusal::internal())
    })?;
    if let Some(shown) = shown.as_object_mut() {
        shown.entry("join_rule").or_insert_with(|| "public".into());
    }
    Ok(shown)
}

fn directory_query(since: Option<&str>, limit: Option<UInt>, filter: &Filter) -> Result<DirectoryQuery, MatrixError> {
    let (direction, from) = match since.map(parse_since) {
        None => (ScanDirection::Forward, None),
        Some(Some((direction, place))) => (direction, Some(place)),
        Some(None) => return Err(MatrixError::invalid_param("since is not a token of an earlier page.")),
    };
    let limit = limit.and_then(|limit| usize::try_from(u64::from(limit)).ok()).filter(|limit| *limit > 0);
    let term = filter.generic_search_term.clone().unwrap_or_default();
    limits::optional_name("generic_search_term", &term)?;
    if filter.room_types.len() > MAX_TYPES {
        return Err(MatrixError::invalid_param(format!("room_types can have at most {MAX_TYPES} entries.")));
    }
    let types = filter.room_types.iter().map(|wanted| wanted.as_str().unwrap_or_default().to_owned());
    let types: Vec<_> = types.collect();
    Ok(DirectoryQuery {
        from,
        direction,
        term,
        room_types: (!types.is_empty()).then_some(types),
        limit: limit.unwrap_or(DEFAULT_ROOMS).min(MAX_ROOMS),
    })
}

/// Parses a token: the direction, and the place from which to go on.
fn parse_since(text: &str) -> Option<(ScanDirection, DirectoryPlace)> {
    match text.split_at_checked(1)? {
        ("n", place) => Some((ScanDirection::Forward, DirectoryPlace::parse(place)?)),
        ("p", place) => Some((ScanDirection::Backward, DirectoryPlace::parse(place)?)),
        _ => None,
    }
}

async fn public_rooms(
    context: &MatrixContext,
    consistency: ReadConsistency,
    server: Option<&OwnedServerName>,
    wish: DirectoryQuery,
) -> Result<PublicRoomList, MatrixError> {
    if server.is_some_and(|server| server.as_str() != context.service.server_name()) {
        return Err(MatrixError::not_found("This server does not know the rooms of other servers."));
    }
    let counts = wish.term.is_empty() && wish.room_types.is_none();
    let (page, total) = context
        .read_with(consistency, move |view| {
            let total = if counts { Some(view.directory_size()?) } else { None };
            Ok((view.directory_page(&wish)?, total))
        })
        .await?;
    let DirectoryPage { rooms, next, previous } = page;
    Ok(PublicRoomList {
        chunk: rooms.into_iter().map(public_room).collect::<Result<_, _>>()?,
        next_batch: next.map(|place| format!("n{}", place.to_text())),
        prev_batch: previous.map(|place| format!("p{}", place.to_text())),
        total_room_count_estimate: total.and_then(|total| UInt::try_from(total).ok()),
    })
}

/// Returns the alias in ruma's type; `None` if there is none, or one that only older versions of the grammar allowed.
pub(super) fn client_alias(alias: &str) -> Option<OwnedRoomAliasId> {
    OwnedRoomAliasId::try_from(alias).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::id::RoomNumber;

    #[test]
    fn a_token_says_where_and_in_which_direction_to_go_on() {
        let place = DirectoryPlace { members: 3, room: RoomNumber(7) };
        let query = directory_query(Some("n3~7"), None, &Filter::new()).expect("a token");
        assert_eq!((query.from, query.direction, query.limit), (Some(place), ScanDirection::Forward, DEFAULT_ROOMS));
        let query = directory_query(Some("p3~7"), Some(UInt::from(9_000_u32)), &Filter::new()).expect("a token");
        assert_eq!((query.from, query.direction, query.limit), (Some(place), ScanDirection::Backward, MAX_ROOMS));
        for bad in ["", "x3~7", "n", "n3", "n3~7~", "ü", "n+3~7"] {
            assert!(directory_query(Some(bad), None, &Filter::new()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_has_a_bound() {
        let mut filter = Filter::new();
        filter.generic_search_term = Some("x".repeat(limits::MAX_NAME));
        filter.room_types = vec![ruma::directory::RoomTypeFilter::Default; MAX_TYPES];
        assert!(directory_query(None, None, &filter).is_ok());
        filter.room_types.push(ruma::directory::RoomTypeFilter::Space);
        assert!(directory_query(None, None, &filter).is_err());
        filter.room_types.clear();
        filter.generic_search_term = Some("x".repeat(limits::MAX_NAME + 1));
        assert!(directory_query(None, None, &filter).is_err());
    }
}
