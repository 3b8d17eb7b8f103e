//! Endpoints about rooms that the caller need not be in: summaries, and the rooms of spaces.

use super::admission::NamedReader;
use super::context::MatrixContext;
use super::directory::client_alias;
use super::endpoint::EndpointRoutes;
use super::error::MatrixError;
use super::event;
use super::room::room_id;
use crate::service::{CallerSession, ReadConsistency};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{HierarchyQuery, HierarchyRoom, QueryError, RoomEvent, RoomSummary};
use quorate_core::room_version::RoomVersion;
use ruma::api::client::room::get_summary;
use ruma::api::client::space::{SpaceHierarchyRoomsChunk, get_hierarchy};
use ruma::events::room::member::MembershipState;
use ruma::room::{JoinRuleSummary, RestrictedSummary, RoomSummary as ClientRoomSummary, RoomType};
use ruma::{EventEncryptionAlgorithm, OwnedMxcUri, OwnedRoomId, RoomVersionId, UInt};

/// Maximum number of rooms on a page of a hierarchy, and their number if the request does not say.
const MAX_ROOMS: usize = 50;

pub(super) fn preview_routes(routes: EndpointRoutes) -> EndpointRoutes {
    routes
        .admitting("room_summary", NamedReader(|_| true), get_room_summary)
        .with_session("hierarchy", get_space_hierarchy)
}

async fn get_room_summary(
    context: MatrixContext,
    session: Option<CallerSession>,
    request: get_summary::v1::Request,
) -> Result<get_summary::v1::Response, MatrixError> {
    let room = request.room_id_or_alias.to_string();
    // Strangers cost no question to the leader.
    let consistency = if session.is_some() { ReadConsistency::Linearizable } else { ReadConsistency::Local };
    let localpart = session.map(|session| session.localpart);
    let found = context
        .read_with(consistency, move |view| {
            let preview = view.resolve_room(&room).and_then(|room| view.room_preview(localpart.as_deref(), room));
            match preview {
                Ok(found) => Ok(Some(found)),
                Err(QueryError::RoomNotFound) => Ok(None),
                Err(other) => Err(other),
            }
        })
        .await?;
    let (summary, membership) =
        found.ok_or_else(|| MatrixError::not_found("There is no such room, or you may not know of it."))?;
    let mut response = get_summary::v1::Response::new(client_summary(summary)?);
    response.membership = membership.and_then(membership_state);
    Ok(response)
}

fn membership_state(kind: Kind) -> Option<MembershipState> {
    match kind {
        Kind::Join => Some(MembershipState::Join),
        Kind::Invite => Some(MembershipState::Invite),
        Kind::Leave => Some(MembershipState::Leave),
        Kind::Ban => Some(MembershipState::Ban),
        Kind::Knock => Some(MembershipState::Knock),
        Kind::Unspecified => None,
    }
}

/// Converts the summary of a room to ruma's type.
pub(super) fn client_summary(room: RoomSummary) -> Result<ClientRoomSummary, MatrixError> {
    let allowed = room.allowed_rooms.iter().filter_map(|id| OwnedRoomId::try_from(id.as_str()).ok()).collect();
    let join_rule = match room.join_rule.as_str() {
        "public" => JoinRuleSummary::Public,
        "knock" => JoinRuleSummary::Knock,
        "private" => JoinRuleSummary::Private,
        "restricted" => JoinRuleSummary::Restricted(RestrictedSummary::new(allowed)),
        "knock_restricted" => JoinRuleSummary::KnockRestricted(RestrictedSummary::new(allowed)),
        _ => JoinRuleSummary::Invite,
    };
    let members = UInt::try_from(room.joined_members).unwrap_or(UInt::MAX);
    let mut out =
        ClientRoomSummary::new(room_id(room.room_id)?, join_rule, room.guest_can_join, members, room.world_readable);
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    out.canonical_alias = client_alias(&room.canonical_alias);
    out.name = text(room.name);
    out.topic = text(room.topic);
    out.avatar_url = text(room.avatar_url).map(OwnedMxcUri::from);
    out.room_type = text(room.room_type).map(RoomType::from);
    out.encryption = text(room.encryption).map(EventEncryptionAlgorithm::from);
    out.room_version = Some(version_id(room.version));
    Ok(out)
}

/// Returns the version in ruma's type.
pub(super) fn version_id(version: RoomVersion) -> RoomVersionId {
    match version {
        RoomVersion::V6 => RoomVersionId::V6,
        RoomVersion::V7 => RoomVersionId::V7,
        RoomVersion::V8 => RoomVersionId::V8,
        RoomVersion::V9 => RoomVersionId::V9,
        RoomVersion::V10 => RoomVersionId::V10,
        RoomVersion::V11 => RoomVersionId::V11,
        RoomVersion::V12 => RoomVersionId::V12,
    }
}

async fn get_space_hierarchy(
    context: MatrixContext,
    session: CallerSession,
    request: get_hierarchy::v1::Request,
) -> Result<get_hierarchy::v1::Response, MatrixError> {
    let wish = hierarchy_query(&request)?;
    let page = context
        .read(move |view| {
            let root = view.resolve_room(request.room_id.as_str())?;
            view.hierarchy(&session.localpart, root, wish)
        })
        .await?;
    let mut response = get_hierarchy::v1::Response::new();
    response.rooms = page.rooms.into_iter().map(chunk_of_hierarchy).collect::<Result<_, _>>()?;
    response.next_batch = page.next.map(|skip| format!("h{skip}"));
    Ok(response)
}

fn hierarchy_query(request: &get_hierarchy::v1::Request) -> Result<HierarchyQuery, MatrixError> {
    let number = |number: UInt| usize::try_from(u64::from(number)).unwrap_or(usize::MAX);
    let skip = match &request.from {
        None => 0,
        Some(token) => token
            .strip_prefix('h')
            .and_then(|skip| skip.parse().ok())
            .ok_or_else(|| MatrixError::invalid_param("from is not a token of an earlier page."))?,
    };
    Ok(HierarchyQuery {
        skip,
        limit: request.limit.map_or(MAX_ROOMS, number).clamp(1, MAX_ROOMS),
        max_depth: request.max_depth.map(number),
        suggested_only: request.suggested_only,
    })
}

fn chunk_of_hierarchy(room: HierarchyRoom) -> Result<SpaceHierarchyRoomsChunk, MatrixError> {
    let HierarchyRoom { summary, children } = room;
    let children: Result<Vec<_>, _> = children.iter().map(|child: &RoomEvent| event::render_child(child)).collect();
    Ok(SpaceHierarchyRoomsChunk::new(client_summary(summary)?, children?))
}
