//! Calls that read: lists of rooms and members, history.

use super::auth;
use crate::api::convert;
use crate::service::{ChatService, RefusalCode, RequestRefusal, ServedFreshness, limits};
use quorate_core::id::{self, Position, RoomNumber};
use quorate_core::proto::store::membership::Kind;
use quorate_core::query::{PAGE_BYTES, QueryError, RoomSummary, StateView};
use quorate_core::table::ScanDirection;
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

pub(super) async fn read_history(
    s: &ChatService,
    request: Request<HistoryRequest>,
) -> Result<HistoryResponse, RequestRefusal> {
    use history_request::Direction as Wanted;
    let session = auth::caller_session(s, &request).await?;
    let s = s.for_reader(&session);
    let HistoryRequest { room_id, from, direction, limit, consistency } = request.into_inner();
    limits::check_name("room_id", &room_id)?;
    let direction = match Wanted::try_from(direction) {
        Ok(Wanted::Unspecified | Wanted::Backward) => ScanDirection::Backward,
        Ok(Wanted::Forward) => ScanDirection::Forward,
        Err(_) => return Err(RequestRefusal::invalid("unknown direction; use BACKWARD or FORWARD")),
    };
    let cursor = if from.is_empty() { None } else { Some(limits::cursor_position(&from)?) };
    let end = if direction == ScanDirection::Forward { Position::ZERO } else { Position::MAX };
    let limit = page_size(limit, 1000);
    let localpart = session.localpart.clone();
    let reader = session;
    let question = move |view: &StateView<'_>| {
        let room = view.resolve_room(&room_id)?;
        view.timeline(&localpart, room, cursor.map_or(end, |at| view.clamp(at)), direction, limit)
    };
    let (page, freshness) = s.read_at_cursor(convert::consistency_from_wire(consistency)?, cursor, question).await?;
    Ok(HistoryResponse {
        events: page.events.into_iter().map(|event| convert::event_to_wire(event, &reader)).collect(),
        next: page.next.map(id::encode_cursor).unwrap_or_default(),
        prev: id::encode_cursor(page.prev),
        freshness: convert::freshness_to_wire(freshness).into(),
    })
}

pub(super) async fn list_members(
    s: &ChatService,
    request: Request<ListMembersRequest>,
) -> Result<ListMembersResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let s = s.for_reader(&session);
    let ListMembersRequest { room_id, consistency, limit, page } = request.into_inner();
    limits::check_name("room_id", &room_id)?;
    let after = if page.is_empty() { None } else { Some(s.parse_user(&page).map_err(|_| bad_page())?) };
    let limit = page_size(limit, 500);
    let question = move |view: &StateView<'_>| {
        let room = view.resolve_room(&room_id)?;
        view.member_page_for(&session.localpart, room, after.as_deref(), limit)
    };
    let (found, freshness) = s.read(convert::consistency_from_wire(consistency)?, question).await?;
    let members = found.members.into_iter().map(convert::member_to_wire).collect();
    let next_page = found.next.unwrap_or_default();
    Ok(ListMembersResponse { members, next_page, freshness: convert::freshness_to_wire(freshness).into() })
}

/// Token of a page, which names where to go on: "m" and the number of the last of the caller's rooms, then "p" and that
/// of the last public one.
#[derive(Clone, Copy)]
pub(super) enum PageToken {
    Mine(Option<RoomNumber>),
    Public(Option<RoomNumber>),
}

impl PageToken {
    pub(super) fn parse(text: &str) -> Result<Self, RequestRefusal> {
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

fn bad_page() -> RequestRefusal {
    RequestRefusal::new(RefusalCode::BadCursor, "this is not a page of an earlier response; begin with an empty one")
}

pub(super) async fn list_rooms(
    s: &ChatService,
    request: Request<ListRoomsRequest>,
) -> Result<ListRoomsResponse, RequestRefusal> {
    let session = auth::caller_session(s, &request).await?;
    let s = s.for_reader(&session);
    let ListRoomsRequest { consistency, include_public, limit, page } = request.into_inner();
    let page = PageToken::parse(&page)?;
    let limit = page_size(limit, 500);
    let question = move |view: &StateView<'_>| match page {
        PageToken::Mine(after) => my_rooms(view, &session.localpart, after, limit, include_public),
        PageToken::Public(after) => public_rooms(view, &session.localpart, after, limit),
    };
    let (found, freshness): (RoomPage, ServedFreshness) =
        s.read(convert::consistency_from_wire(consistency)?, question).await?;
    let rooms = found.rooms.into_iter().map(|(summary, kind)| convert::room_to_wire(summary, kind)).collect();
    Ok(ListRoomsResponse { rooms, next_page: found.next, freshness: convert::freshness_to_wire(freshness).into() })
}

struct RoomPage {
    rooms: Vec<(RoomSummary, Option<Kind>)>,
    next: String,
}

fn my_rooms(
    view: &StateView<'_>,
    localpart: &str,
    after: Option<RoomNumber>,
    limit: usize,
    include_public: bool,
) -> Result<RoomPage, QueryError> {
    let mut mine: Vec<_> = view.rooms_of(localpart)?.into_iter().filter(|m| Some(m.room) > after).collect();
    // By number, which a room keeps: joins and leaves between two pages neither repeat nor hide other rooms.
    mine.sort_by_key(|membership| membership.room);
    let mut more = mine.len() > limit;
    mine.truncate(limit);
    let mut rooms = Vec::new();
    let mut bytes = 0;
    for membership in mine {
        if bytes >= PAGE_BYTES {
            more = true;
            break;
        }
        // Each summary reads several rows; nobody may be waiting any more.
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
    Ok(RoomPage { rooms, next })
}

fn public_rooms(
    view: &StateView<'_>,
    localpart: &str,
    after: Option<RoomNumber>,
    limit: usize,
) -> Result<RoomPage, QueryError> {
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
    Ok(RoomPage { rooms, next })
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
        assert!(matches!(PageToken::parse(""), Ok(PageToken::Mine(None))));
        assert!(matches!(PageToken::parse("m12"), Ok(PageToken::Mine(Some(RoomNumber(12))))));
        assert!(matches!(PageToken::parse("p"), Ok(PageToken::Public(None))));
        for bad in ["x", "m-1", "pq", "ü"] {
            assert_eq!(PageToken::parse(bad).err().map(|r| r.code), Some(RefusalCode::BadCursor), "{bad}");
        }
    }
}
