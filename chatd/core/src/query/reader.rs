//! Rooms as one reader may see them: for members as they are (and for everybody if the history is world-readable), for
//! former members as they were at the leave, and not at all for others.
//!
//! The APIs use these queries and not the bare rows, so that none of them can forget who asks.

use super::members::MemberPage;
use super::rooms::{RoomMembership, RoomSummary};
use super::state::key_after;
use super::{EventPage, PAGE_BYTES, QueryError, RoomEvent, StateCursor, StatePart, StateScope, StateView};
use crate::id::{ORDINALS_PER_COMMAND, Position, RoomNumber};
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{self, ScanControl, ScanDirection, ScanRange, Table};
use crate::visibility::UserVisibility;
use std::collections::BTreeMap;

impl StateView<'_> {
    /// Returns the position whose state the reader is shown when it asks for the current state.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room; [`QueryError::Forbidden`] if the reader was never in it.
    pub fn state_place(&self, localpart: &str, room: RoomNumber) -> Result<Position, QueryError> {
        self.room_row(room)?;
        Ok(readable_now(&self.sight(room, localpart)?)?.unwrap_or_else(|| self.now()))
    }

    /// Returns a part of the state at a position that [`StateView::state_place`] or a similar method gave the reader.
    /// Otherwise like [`StateView::state_part`].
    ///
    /// # Errors
    /// Fails as [`StateView::state_part`] does.
    pub fn state_part_for(
        &self,
        localpart: &str,
        room: RoomNumber,
        scope: &StateScope,
        at: Position,
        from: Option<&StateCursor>,
    ) -> Result<StatePart, QueryError> {
        let sight = self.sight(room, localpart)?;
        let part = self.state_part(room, scope, at, from)?;
        Ok(StatePart { events: self.state_shown_to(part.events, &sight)?, next: part.next })
    }

    /// Returns one piece of the state that [`StateView::state_place`] gives the reader.
    ///
    /// # Errors
    /// Fails as [`StateView::state_place`] does.
    pub fn state_event_for(
        &self,
        localpart: &str,
        room: RoomNumber,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<RoomEvent>, QueryError> {
        let sight = self.sight(room, localpart)?;
        let at = readable_now(&sight)?;
        let found = self.state_event(room, event_type, state_key, at)?;
        Ok(self.state_shown_to(found.into_iter().collect(), &sight)?.pop())
    }

    /// Returns the position whose members the reader is shown: the present one, or `at`, as far as the reader may read
    /// the state there. A former member who asks for a time when it was out of the room gets the position of its last
    /// leave before that time. A token from before the room stands for the room as it was created: a timeline that
    /// begins with the room's first event names such a position.
    ///
    /// # Errors
    /// Fails as [`StateView::state_place`] does. [`QueryError::Forbidden`] also for a time before the reader joined, if the
    /// room does not show newcomers its earlier history; [`QueryError::Ahead`] if this view has not reached the
    /// position.
    pub fn members_place(
        &self,
        localpart: &str,
        room: RoomNumber,
        at: Option<Position>,
    ) -> Result<Position, QueryError> {
        match at {
            Some(at) => {
                let at = self.reached(at)?.max(self.created_by(room)?);
                self.readable_at(room, &self.sight(room, localpart)?, at)
            }
            None => self.state_place(localpart, room),
        }
    }

    /// Returns the position of the present members, for readers who are in the room, and for everybody if it is
    /// world-readable.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] for all others, including former members: the endpoint that asks has no past.
    pub fn present_members_place(&self, localpart: &str, room: RoomNumber) -> Result<Position, QueryError> {
        match readable_now(&self.sight(room, localpart)?)? {
            None => Ok(self.now()),
            Some(_) => Err(QueryError::Forbidden),
        }
    }

    /// Returns the member events of a page's senders, each as it was when that user sent its newest event of the page:
    /// the name that belongs to what was said, and none that the reader may not know. The page is cut before the member
    /// events become too many bytes, and the rest is left to the next page.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn senders_of(
        &self,
        localpart: &str,
        room: RoomNumber,
        page: &mut EventPage,
        direction: ScanDirection,
    ) -> Result<Vec<RoomEvent>, QueryError> {
        let newest = newest_of_senders(&page.events);
        let mut members = BTreeMap::new();
        let mut bytes = 0;
        let mut end = None;
        for (place, event) in page.events.iter().enumerate() {
            if members.contains_key(&event.sender) {
                continue;
            }
            if bytes >= PAGE_BYTES {
                end = Some((place, event.position));
                break;
            }
            let at = newest.get(&event.sender).copied();
            let member = self.state_event(room, event_type::MEMBER, &event.sender, at)?;
            bytes += member.as_ref().map_or(0, RoomEvent::weight);
            members.insert(event.sender.clone(), member);
        }
        if let Some((place, at)) = end {
            page.events.truncate(place);
            page.next = Some(if direction == ScanDirection::Forward { at.before() } else { at });
            // Some of the remaining senders may have sent their newest event after the cut.
            for (sender, at) in newest_of_senders(&page.events) {
                if newest.get(&sender) != Some(&at) {
                    let member = self.state_event(room, event_type::MEMBER, &sender, Some(at))?;
                    members.insert(sender, member);
                }
            }
        }
        let sight = self.sight(room, localpart)?;
        Ok(self.state_shown_to(members.into_values().flatten().collect(), &sight)?)
    }

    /// Returns a page of the users who are joined, invited, knocking or banned, in order of their localparts and
    /// beginning after `after`.
    ///
    /// # Errors
    /// Fails as [`StateView::state_place`] does.
    pub fn member_page_for(
        &self,
        localpart: &str,
        room: RoomNumber,
        after: Option<&str>,
        limit: usize,
    ) -> Result<MemberPage, QueryError> {
        let at = readable_now(&self.sight(room, localpart)?)?;
        self.member_page(room, at, after, limit)
    }

    /// Returns the summary of a room in the reader's list. A room that the reader is in, or that anybody may look at,
    /// is shown as it is; a room that the reader was invited to or knocked at, as it was then; a room that it left, as
    /// it left it; and a room that it was banned from before it ever saw it, by its id alone.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn summary_for(&self, localpart: &str, row: &RoomMembership) -> Result<RoomSummary, QueryError> {
        if row.kind == Kind::Join {
            return self.summary(row.room);
        }
        let sight = self.sight(row.room, localpart)?;
        if sight.is_world_readable() || self.is_published(row.room)? {
            return self.summary(row.room);
        }
        let seen = match row.kind {
            Kind::Invite | Kind::Knock => Some(row.position),
            _ => sight.left_at().or_else(|| sight.called_at()),
        };
        match seen {
            Some(at) => self.summary_at(row.room, at),
            None => self.bare_summary(row.room),
        }
    }

    /// Returns the position of the state that the reader gets for a position: that position itself, or the reader's
    /// last leave before it.
    pub(super) fn readable_at(
        &self,
        room: RoomNumber,
        sight: &UserVisibility,
        at: Position,
    ) -> Result<Position, QueryError> {
        if sight.reads_state_at(at) || self.comes_in_next(room, sight, at)? {
            return Ok(at);
        }
        sight.left_before(at).ok_or(QueryError::Forbidden)
    }

    /// Returns the end of the command that created the room: the position as of which it first has a state.
    fn created_by(&self, room: RoomNumber) -> Result<Position, QueryError> {
        let created = table::decode_position(Table::Room, &self.room_row(room)?.created_at)?.unwrap_or_default();
        Ok(Position { ordinal: created.ordinal.saturating_add(ORDINALS_PER_COMMAND - 1), ..created })
    }

    /// Returns `true` if the next change of the room's state is the reader's own join. The state here is then the one
    /// that the join found; a timeline that begins with the join names this position.
    fn comes_in_next(&self, room: RoomNumber, sight: &UserVisibility, at: Position) -> Result<bool, QueryError> {
        let Some(join) = sight.joins_after(at) else { return Ok(false) };
        let mut next = None;
        let low = key_after(room, at);
        let high = key_after(room, join);
        self.rows.scan(&ScanRange::between(Table::StateChange, &low, &high), &mut |(key, _)| {
            next = Some(rows::position_in(Table::StateChange, key)?);
            Ok(ScanControl::Stop)
        })?;
        Ok(next == Some(join))
    }
}

/// Returns the position of the state that the reader is shown when it asks for the current one. `None` stands for the
/// state as it is (joined, or world-readable), `Some` for the state when the reader left.
fn readable_now(sight: &UserVisibility) -> Result<Option<Position>, QueryError> {
    if sight.membership_at(Position::MAX) == Some(Kind::Join) || sight.is_world_readable() {
        return Ok(None);
    }
    sight.left_at().map(Some).ok_or(QueryError::Forbidden)
}

/// Returns the position of each sender's newest event among these.
fn newest_of_senders(events: &[RoomEvent]) -> BTreeMap<String, Position> {
    let mut newest = BTreeMap::<String, Position>::new();
    for event in events {
        let at = newest.entry(event.sender.clone()).or_insert(event.position);
        *at = event.position.max(*at);
    }
    newest
}

#[cfg(test)]
mod tests;
