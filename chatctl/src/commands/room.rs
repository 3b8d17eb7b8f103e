//! Resolution of what people type for a room to its id.

use crate::{client::CallFailure, error::Error, session::ClientSession};
use quorate_wire::chat::v1::{Consistency, ListRoomsRequest, ListRoomsResponse, Room};

/// Maximum number of rooms per page, which is the server's own limit.
const PAGE: u32 = 500;

/// Fetches one page of the caller's rooms, at most `limit` of them.
pub async fn fetch_rooms_page(
    session: &ClientSession,
    public: bool,
    page: &str,
    limit: u32,
) -> Result<ListRoomsResponse, CallFailure> {
    let request = ListRoomsRequest {
        consistency: Consistency::Linearizable.into(),
        include_public: public,
        limit: limit.min(PAGE),
        page: page.to_owned(),
    };
    session.call(request, |mut chat, request| async move { chat.list_rooms(request).await }).await
}

/// Returns the id of a room that is given as id (`!…`), alias (`#ops:example.org`, `#ops`) or, among the caller's
/// rooms, unique name.
///
/// # Errors
/// [`Error::Usage`] if no room or more than one has that name.
pub async fn resolve_room_id(session: &ClientSession, room: &str) -> Result<String, Error> {
    if room.starts_with('!') {
        return Ok(room.to_owned());
    }
    let mut found: Vec<Room> = Vec::new();
    let mut next = String::new();
    loop {
        let answer = fetch_rooms_page(session, false, &next, PAGE).await?;
        found.extend(answer.rooms.into_iter().filter(|candidate| is_called(candidate, room)));
        if answer.next_page.is_empty() {
            break;
        }
        next = answer.next_page;
    }
    match found.as_slice() {
        [only] => Ok(only.room_id.clone()),
        [] => Err(Error::Usage(format!("none of your rooms is named `{room}`: see `chatctl rooms`"))),
        _ => Err(Error::Usage(format!("several rooms are named `{room}`: use the room id from `chatctl rooms`"))),
    }
}

fn is_called(room: &Room, text: &str) -> bool {
    let alias = room.canonical_alias.as_str();
    let localpart = alias.split_once(':').map_or(alias, |(localpart, _)| localpart);
    if text.starts_with('#') { alias == text || localpart == text } else { room.name == text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_found_by_alias_with_or_without_server_and_by_name() {
        let room = Room { name: "Operations".into(), canonical_alias: "#ops:example.org".into(), ..Room::default() };
        for text in ["#ops:example.org", "#ops", "Operations"] {
            assert!(is_called(&room, text), "{text}");
        }
        for text in ["ops", "#op", "#ops:other.org", "operations"] {
            assert!(!is_called(&room, text), "{text}");
        }
    }
}
