//! Calls that read: lists of rooms and members, history.

use super::auth;
use crate::api::convert;
use crate::service::{Code, Freshness, Refusal, Service, limits};
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{PAGE_BYTES, QueryError, RoomSummary, View};
use quorate_core::table::Direction;
use quorate_wire::chat::v1::{
    HistoryRequest, HistoryResponse, ListMembersRequest, ListMembersResponse, ListRoomsRequest, ListRoomsResponse,
    history_request,
};
use tonic::Request;

/// Returns the number of entries in a page: as many as asked for, or 100 if that is 0; at most `most`.
fn page_size(asked: u32, most: usize) -> usize {
    match usize::try_from(asked).unwrap_or(most) {
        0 => 100,
        asked => asked.min(most),
    }
}

pub(super) async fn history(s: &Service, request: Request<HistoryRequest>) -> Result<HistoryResponse, Refusal> {
    use history_request::Direction as Wanted;
    let session = auth::session(s, &request).await?;
    let s = s.for_reader(&session);
    let HistoryRequest { room_id, from, direction, limit, consistency } = request.into_inner();
    limits::name("room_id", &room_id)?;
    let direction = match Wanted::try_from(direction) {
        Ok(Wanted::Unspecified | Wanted::Backward) => Direction::Backward,
        Ok(Wanted::Forward) => Direction::Forward,
        Err(_) => return Err(Refusal::invalid("unknown direction; use BACKWARD or FORWARD")),
    };
    let cursor = if from.is_empty() { None } else { Some(limits::cursor(&from)?) };
    let end = if direction == Direction::Forward { Position::ZERO } else { Position::MAX };
    let limit = page_size(limit, 1000);
    let (localpart, reader) = (session.localpart.clone(), session);
    let question = move |view: &View<'_>| {
        let room = view.resolve_room(&room_id)?;
        view.timeline(&localpart, room, cursor.map_or(end, |at| view.clamp(at)), direction, limit)
    };
    let (page, freshness) = s.read_at_cursor(convert::consistency(consistency)?, cursor, question).await?;
    Ok(HistoryResponse {
        events: page.events.into_iter().map(|event| convert::event(event, &reader)).collect(),
        next: page.next.map(id::cursor).unwrap_or_default(),
        prev: id::cursor(page.prev),
        freshness: convert::freshness(freshness).into(),
    })
}

pub(super) async fn members(s: &Service, request: Request<ListMembersRequest>) -> Result<ListMembersResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    let s = s.for_reader(&session);
    let ListMembersRequest { room_id, consistency, limit, page } = request.into_inner();
    limits::name("room_id", &room_id)?;
    let after = if page.is_empty() { None } else { Some(s.parse_user(&page).map_err(|_| bad_page())?) };
    let limit = page_size(limit, 500);
    let question = move |view: &View<'_>| {
        let room = view.resolve_room(&room_id)?;
        view.member_page_for(&session.localpart, room, after.as_deref(), limit)
    };
    let (found, freshness) = s.read(convert::consistency(consistency)?, question).await?;
    let members = found.members.into_iter().map(convert::member).collect();
    let next_page = found.next.unwrap_or_default();
    Ok(ListMembersResponse { members, next_page, freshness: convert::freshness(freshness).into() })
}

/// Token of a page, which names where to go on: "m" and the number of the last of the caller's rooms, then "p" and that
/// of the last public one.
#[derive(Clone, Copy)]
pub(super) enum Page {
    Mine(Option<RoomNumber>),
    Public(Option<RoomNumber>),
}

impl Page {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let number = |digits: &str| match digits {
            "" => Ok(None),
            digits => digits.parse().map(|n| Some(RoomNumber(n))).map_err(|_| bad_page()),
        };
        match text.split_at_checked(1) {
            _ if text.is_empty() => Ok(Self::Mine(None)),
            Some(("m", rest)) => number(rest).map(Self::Mine),
            Some(("p", rest)) => number(rest).map(Self::Public),
            _ => Err(bad_page()),
        }
    }
}

fn bad_page() -> Refusal {
    Refusal::new(Code::BadCursor, "this is not a page of an earlier response; begin with an empty one")
}

pub(super) async fn rooms(s: &Service, request: Request<ListRoomsRequest>) -> Result<ListRoomsResponse, Refusal> {
    let session = auth::session(s, &request).await?;
    let s = s.for_reader(&session);
    let ListRoomsRequest { consistency, include_public, limit, page } = request.into_inner();
    let (page, limit) = (Page::parse(&page)?, page_size(limit, 500));
    let question = move |view: &View<'_>| match page {
        Page::Mine(after) => my_rooms(view, &session.localpart, after, limit, include_public),
        Page::Public(after) => public_rooms(view, &session.localpart, after, limit),
    };
    let (found, freshness): (Rooms, Freshness) = s.read(convert::consistency(consistency)?, question).await?;
    let rooms = found.rooms.into_iter().map(|(summary, kind)| convert::room(summary, kind)).collect();
    Ok(ListRoomsResponse { rooms, next_page: found.next, freshness: convert::freshness(freshness).into() })
}

struct Rooms {
    rooms: Vec<(RoomSummary, Option<Kind>)>,
    next: String,
}

fn my_rooms(
    view: &View<'_>,
    localpart: &str,
    after: Option<RoomNumber>,
    limit: usize,
    include_public: bool,
) -> Result<Rooms, QueryError> {
    let mut mine: Vec<_> = view.rooms_of(localpart)?.into_iter().filter(|m| Some(m.room) > after).collect();
    mine.sort_by_key(|membership| membership.room);
    let mut more = mine.len() > limit;
    mine.truncate(limit);
    let (mut rooms, mut bytes) = (Vec::new(), 0);
    for membership in mine {
        if bytes >= PAGE_BYTES {
            more = true;
            break;
        }
        view.is_wanted()?;
        let summary = view.summary_for(localpart, &membership)?;
        bytes += summary.weight();
        rooms.push((summary, Some(membership.kind)));
    }
    let next = match (more, rooms.last()) {
        (true, Some((last, _))) => format!("m{}", last.room),
        _ if include_public => "p".to_owned(),
        _ => String::new(),
    };
    Ok(Rooms { rooms, next })
}

fn public_rooms(
    view: &View<'_>,
    localpart: &str,
    after: Option<RoomNumber>,
    limit: usize,
) -> Result<Rooms, QueryError> {
    let listed = view.public_rooms(after, limit)?;
    let next = listed.next.map(|last| format!("p{last}")).unwrap_or_default();
    let mut rooms = Vec::new();
    for summary in listed.rooms {
        // The caller's own rooms came on earlier pages.
        let membership = view.membership_in(localpart, summary.room)?;
        if membership.kind == Kind::Unspecified || membership.forgotten {
            rooms.push((summary, None));
        }
    }
    Ok(Rooms { rooms, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded() {
        assert_eq!((page_size(0, 500), page_size(7, 500), page_size(u32::MAX, 500)), (100, 7, 500));
    }

    #[test]
    fn a_page_that_no_answer_gave_is_refused() {
        assert!(matches!(Page::parse(""), Ok(Page::Mine(None))));
        assert!(matches!(Page::parse("m12"), Ok(Page::Mine(Some(RoomNumber(12))))));
        assert!(matches!(Page::parse("p"), Ok(Page::Public(None))));
        for bad in ["x", "m-1", "pq", "ü"] {
            assert_eq!(Page::parse(bad).err().map(|r| r.code), Some(Code::BadCursor), "{bad}");
        }
    }
}
