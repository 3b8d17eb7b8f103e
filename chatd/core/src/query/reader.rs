//! Rooms as one reader may see them: as they are for members (and for all where history is open to the world), as they
//! were at the leave for former members, not at all for others.
//!
//! Doors ask these and not the bare rows, so that none of them can forget who asks.

use super::members::MemberPage;
use super::rooms::{RoomMembership, RoomSummary};
use super::state::after;
use super::{Event, PAGE_BYTES, Page, QueryError, StateCursor, StatePart, View};
use crate::id::{Position, RoomNumber};
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{Direction, Flow, Table};
use crate::visibility::Sight;
use std::collections::BTreeMap;

impl View<'_> {
    /// The position whose state the reader is shown when it asks for that of now.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`]; [`QueryError::Forbidden`] for one who never was in.
    pub fn state_place(&self, localpart: &str, room: RoomNumber) -> Result<Position, QueryError> {
        self.room_row(room)?;
        Ok(readable_now(&self.sight(room, localpart)?)?.unwrap_or_else(|| self.now()))
    }

    /// A part of the state, all of it or of one type, at a place that [`View::state_place`] and its like gave the reader;
    /// otherwise as [`View::state_part`].
    ///
    /// # Errors
    /// As [`View::state_part`].
    pub fn state_part_for(
        &self,
        localpart: &str,
        room: RoomNumber,
        event_type: Option<&str>,
        at: Position,
        from: Option<&StateCursor>,
    ) -> Result<StatePart, QueryError> {
        let sight = self.sight(room, localpart)?;
        let part = self.state_part(room, event_type, at, from)?;
        Ok(StatePart { events: shown(part.events, &sight), next: part.next })
    }

    /// One piece of that state.
    ///
    /// # Errors
    /// As [`View::state_place`].
    pub fn state_event_for(
        &self,
        localpart: &str,
        room: RoomNumber,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<Event>, QueryError> {
        let sight = self.sight(room, localpart)?;
        let at = readable_now(&sight)?;
        Ok(self.state_event(room, event_type, state_key, at)?.map(|event| event.shown_to(&sight)))
    }

    /// The position whose members the reader is shown; `at` a position instead of now, as far as the reader may read the
    /// state there. Asked for a time when it was out, a former member gets that of its leave before.
    ///
    /// # Errors
    /// As [`View::state_place`]; [`QueryError::Forbidden`] also for what was before the reader came in, where the room does
    /// not show newcomers what was before them; [`QueryError::Ahead`] when this view has not reached the position.
    pub fn members_place(
        &self,
        localpart: &str,
        room: RoomNumber,
        at: Option<Position>,
    ) -> Result<Position, QueryError> {
        match at {
            Some(at) => self.readable_at(room, &self.sight(room, localpart)?, self.reached(at)?),
            None => self.state_place(localpart, room),
        }
    }

    /// The same for those who are in the room, and for all where it is open to the world: where the present members are.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] for all others, also for former members: the endpoint that asks has no past.
    pub fn present_members_place(&self, localpart: &str, room: RoomNumber) -> Result<Position, QueryError> {
        match readable_now(&self.sight(room, localpart)?)? {
            None => Ok(self.now()),
            Some(_) => Err(QueryError::Forbidden),
        }
    }

    /// The member events of those who sent the events of a page, as they were when each sent its newest among them: the
    /// name that belongs to what was said, and none that the reader may not know. The page is cut before they are too many
    /// bytes: the rest is the next one's.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn senders_of(
        &self,
        localpart: &str,
        room: RoomNumber,
        page: &mut Page,
        direction: Direction,
    ) -> Result<Vec<Event>, QueryError> {
        let newest = newest_of_senders(&page.events);
        let (mut members, mut bytes, mut end) = (BTreeMap::new(), 0, None);
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
            bytes += member.as_ref().map_or(0, Event::weight);
            members.insert(event.sender.clone(), member);
        }
        if let Some((place, at)) = end {
            page.events.truncate(place);
            page.next = Some(if direction == Direction::Forward { at.before() } else { at });
            // Some of those who stay may have sent their newest after the cut.
            for (sender, at) in newest_of_senders(&page.events) {
                if newest.get(&sender) != Some(&at) {
                    let member = self.state_event(room, event_type::MEMBER, &sender, Some(at))?;
                    members.insert(sender, member);
                }
            }
        }
        let sight = self.sight(room, localpart)?;
        Ok(shown(members.into_values().flatten().collect(), &sight))
    }

    /// A page of those joined, invited, knocking or banned, by localpart, after this one.
    ///
    /// # Errors
    /// As [`View::state_place`].
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

    /// A room of the reader's list in short. One it is in, or that anybody may look at, is shown as it is; one that it was
    /// called to, as it was then; one that it left, as it left it; one that it was banned from before it ever saw it, by
    /// its id alone.
    ///
    /// # Errors
    /// When the state cannot be read.
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

    /// Where the state that the reader gets for a position stands: there, or where it left before.
    fn readable_at(&self, room: RoomNumber, sight: &Sight, at: Position) -> Result<Position, QueryError> {
        if sight.reads_state_at(at) || self.comes_in_next(room, sight, at)? {
            return Ok(at);
        }
        sight.left_before(at).ok_or(QueryError::Forbidden)
    }

    /// Is the next change of the room's state the reader's own join? Then the state here is the one that it found: a
    /// timeline that begins with the join names this place.
    fn comes_in_next(&self, room: RoomNumber, sight: &Sight, at: Position) -> Result<bool, QueryError> {
        let Some(join) = sight.joins_after(at) else { return Ok(false) };
        let mut next = None;
        let (low, high) = (after(room, at), after(room, join));
        self.rows.scan(Table::StateChange, &low, &high, Direction::Forward, &mut |(key, _)| {
            next = Some(rows::position_in(Table::StateChange, key)?);
            Ok(Flow::Stop)
        })?;
        Ok(next == Some(join))
    }
}

/// From where the reader is shown the room's state when it asks for the present one. `None`: as it is now (joined, or open
/// to the world); `Some`: as it was when the reader left.
fn readable_now(sight: &Sight) -> Result<Option<Position>, QueryError> {
    if sight.membership_at(Position::MAX) == Some(Kind::Join) || sight.is_world_readable() {
        return Ok(None);
    }
    sight.left_at().map(Some).ok_or(QueryError::Forbidden)
}

/// Where each sender's newest event among these stands.
fn newest_of_senders(events: &[Event]) -> BTreeMap<String, Position> {
    let mut newest = BTreeMap::<String, Position>::new();
    for event in events {
        let at = newest.entry(event.sender.clone()).or_insert(event.position);
        *at = event.position.max(*at);
    }
    newest
}

fn shown(events: Vec<Event>, sight: &Sight) -> Vec<Event> {
    events.into_iter().map(|event| event.shown_to(sight)).collect()
}

#[cfg(test)]
mod tests;
