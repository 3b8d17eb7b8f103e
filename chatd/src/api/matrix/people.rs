//! Endpoints about other users: the user directory, and rooms in common.

use super::account::user_id;
use super::context::MatrixContext;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::room::room_id;
use crate::service::{CallerSession, limits};
use quorate_core::id::{self, RoomNumber};
use ruma::api::client::membership::get_mutual_rooms;
use ruma::api::client::user_directory::search_users::v3 as search_users;
use ruma::{OwnedMxcUri, OwnedRoomId, UInt, UserId};

/// Maximum number of users that one search returns.
const MAX_USERS: usize = 50;
/// Maximum number of common rooms on a page.
const MAX_ROOMS: usize = 500;

pub(super) fn people_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .with_session("user_search", search)
        .with_session("mutual_rooms", mutual_rooms)
        .with_session("mutual_rooms_unstable", mutual_rooms_unstable)
}

async fn search(
    context: MatrixContext,
    session: CallerSession,
    request: search_users::Request,
) -> Result<search_users::Response, MatrixError> {
    limits::optional_name("search_term", &request.search_term)?;
    let limit = usize::try_from(u64::from(request.limit)).unwrap_or(MAX_USERS).clamp(1, MAX_USERS);
    let term = request.search_term;
    let found = context.read(move |view| view.search_users(&session.localpart, &term, limit)).await?;
    let mut results = Vec::new();
    for found in found.users {
        let mut user = search_users::User::new(user_id(found.user_id)?);
        user.display_name = Some(found.display_name).filter(|name| !name.is_empty());
        user.avatar_url = Some(found.avatar_url).filter(|url| !url.is_empty()).map(OwnedMxcUri::from);
        results.push(user);
    }
    Ok(search_users::Response::new(results, found.limited))
}

/// Page of rooms that the caller has in common with another user.
struct MutualRoomList {
    joined: Vec<OwnedRoomId>,
    count: usize,
    next: Option<String>,
}

async fn mutual_rooms(
    context: MatrixContext,
    session: CallerSession,
    request: get_mutual_rooms::v1::Request,
) -> Result<get_mutual_rooms::v1::Response, MatrixError> {
    let list = common_rooms(&context, session, &request.user_id, request.from.as_deref()).await?;
    let mut response =
        get_mutual_rooms::v1::Response::new(UInt::try_from(list.count).unwrap_or(UInt::MAX), list.joined);
    response.next_batch = list.next;
    Ok(response)
}

async fn mutual_rooms_unstable(
    context: MatrixContext,
    session: CallerSession,
    request: get_mutual_rooms::unstable::Request,
) -> Result<get_mutual_rooms::unstable::Response, MatrixError> {
    let list = common_rooms(&context, session, &request.user_id, request.from.as_deref()).await?;
    let mut response = get_mutual_rooms::unstable::Response::new(list.joined);
    response.next_batch = list.next;
    Ok(response)
}

async fn common_rooms(
    context: &MatrixContext,
    session: CallerSession,
    other: &UserId,
    from: Option<&str>,
) -> Result<MutualRoomList, MatrixError> {
    if other.as_str() == session.user_id {
        return Err(MatrixError::invalid_param("Name another user: all rooms are in common with oneself."));
    }
    let after = from.map(|from| from.parse().map(RoomNumber)).transpose();
    let after = after.map_err(|_| MatrixError::invalid_param("from is not a token of an earlier page."))?;
    let other = other.to_string();
    let (rooms, count, next) = context
        .read(move |view| match id::user_localpart(&other, view.server_name()) {
            Some(other) => view.mutual_rooms(&session.localpart, other, after, MAX_ROOMS),
            // Users of other servers are in no room.
            None => Ok((Vec::new(), 0, None)),
        })
        .await?;
    let joined = rooms.into_iter().map(room_id).collect::<Result<_, _>>()?;
    Ok(MutualRoomList { joined, count, next: next.map(|room| room.to_string()) })
}
