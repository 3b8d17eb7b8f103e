//! Calls about rooms.

use super::page_size;
use crate::service::{Administrator, ChatService, RequestRefusal, limits};
use quorate_core::id::{self, RoomNumber};
use quorate_core::query::ListedRoom;
use quorate_wire::admin::v1 as pb;

/// Maximum number of rooms on a page: each costs some ten lookups.
const MAX_ROOMS: usize = 500;

pub(super) async fn list_rooms(
    service: &ChatService,
    request: pb::ListRoomsRequest,
) -> Result<pb::ListRoomsResponse, RequestRefusal> {
    limits::check_text("search", &request.search)?;
    let after = parse_place(&request.from)?;
    let page = service.list_all_rooms(request.search, after, page_size(request.limit).min(MAX_ROOMS)).await?;
    Ok(pb::ListRoomsResponse {
        rooms: page.rooms.into_iter().map(|room| room_to_pb(service.server_name(), room)).collect(),
        next: page.next.map(|next| next.0.to_string()).unwrap_or_default(),
    })
}

pub(super) async fn block_room(
    service: &ChatService,
    by: &Administrator,
    request: pb::BlockRoomRequest,
) -> Result<pb::BlockRoomResponse, RequestRefusal> {
    let room = service.block_room(by, &request.room_id, request.blocked).await?;
    Ok(pb::BlockRoomResponse { room: Some(room_to_pb(service.server_name(), room)) })
}

pub(super) async fn delete_room(
    service: &ChatService,
    by: &Administrator,
    request: pb::DeleteRoomRequest,
) -> Result<pb::DeleteRoomResponse, RequestRefusal> {
    let (room, cleared) = service.delete_room(by, &request.room_id, request.reason).await?;
    // The cluster may have gone on since.
    let more = room.clearing;
    Ok(pb::DeleteRoomResponse {
        room: Some(room_to_pb(service.server_name(), room)),
        members: cleared.members,
        events: cleared.events,
        more,
    })
}

/// Returns the room after which a page begins; `None` at the beginning.
fn parse_place(from: &str) -> Result<Option<RoomNumber>, RequestRefusal> {
    if from.is_empty() {
        return Ok(None);
    }
    let number =
        from.parse::<u64>().map_err(|_| RequestRefusal::invalid("`from` must be the `next` of an earlier page"))?;
    Ok(Some(RoomNumber(number)))
}

fn room_to_pb(server_name: &str, room: ListedRoom) -> pb::RoomListing {
    let ListedRoom { summary, creator, blocked, deleted, clearing } = room;
    pb::RoomListing {
        room_id: summary.room_id,
        name: summary.name,
        canonical_alias: summary.canonical_alias,
        creator: id::user_id(&creator, server_name),
        joined_members: summary.joined_members,
        invited_members: summary.invited_members,
        version: summary.version.name().to_owned(),
        listed: summary.listed,
        encrypted: !summary.encryption.is_empty(),
        blocked,
        deleted,
        clearing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_number_of_a_room_or_empty() {
        assert_eq!(parse_place(""), Ok(None));
        assert_eq!(parse_place("7"), Ok(Some(RoomNumber(7))));
        assert!(parse_place("x").is_err() && parse_place("-1").is_err());
    }
}
