//! Rooms as one reader may see them: as they are for members (and for all where history is open to the world), as they
//! were at the leave for former members, not at all for others.
//!
//! Doors ask these and not the bare rows, so that none of them can forget who asks.

use super::members::MemberPage;
use super::rooms::{RoomMembership, RoomSummary};
use super::state::after;
use super::{Event, QueryError, View};
use crate::id::{Position, RoomNumber};
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{Direction, Flow, Table};
use crate::visibility::Sight;
use std::collections::BTreeMap;

impl View<'_> {
    /// All state of a room that the reader may read.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`]; [`QueryError::Forbidden`] for one who never was in.
    pub fn state_for(&self, localpart: &str, room: RoomNumber) -> Result<Vec<Event>, QueryError> {
        let sight = self.sight(room, localpart)?;
        let at = readable_now(&sight)?;
        Ok(shown(self.state(room, at)?, &sight))
    }

    /// One piece of that state.
    ///
    /// # Errors
    /// As [`View::state_for`].
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

    /// The member events of that state, whatever their membership; `at` a position instead of now, as far as the reader
    /// may read the state there. Asked for a time when it was out, a former member gets those of its leave before.
    ///
    /// # Errors
    /// As [`View::state_for`]; [`QueryError::Forbidden`] also for what was before the reader came in, where the room does
    /// not show newcomers what was before them; [`QueryError::Ahead`] when this view has not reached the position.
    pub fn members_for(
        &self,
        localpart: &str,
        room: RoomNumber,
        at: Option<Position>,
    ) -> Result<Vec<Event>, QueryError> {
        let sight = self.sight(room, localpart)?;
        let at = match at {
            Some(at) => self.readable_at(room, &sight, self.reached(at)?)?,
            None => readable_now(&sight)?.unwrap_or_else(|| self.now()),
        };
        Ok(shown(self.members_at(room, at)?, &sight))
    }

    /// The same for those who are in the room, and for all where it is open to the world: of the present members only.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] for all others, also for former members: the endpoint that asks has no past.
    pub fn present_members_for(&self, localpart: &str, room: RoomNumber) -> Result<Vec<Event>, QueryError> {
        let sight = self.sight(room, localpart)?;
        match readable_now(&sight)? {
            None => Ok(shown(self.members_at(room, self.now())?, &sight)),
            Some(_) => Err(QueryError::Forbidden),
        }
    }

    /// The member events of those who sent these events of a room, as they were when each sent its newest among them:
    /// the name that belongs to what was said, and none that the reader may not know.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn senders_of(&self, localpart: &str, room: RoomNumber, events: &[Event]) -> Result<Vec<Event>, QueryError> {
        let mut newest = BTreeMap::<&str, Position>::new();
        for event in events {
            let at = newest.entry(event.sender.as_str()).or_insert(event.position);
            *at = event.position.max(*at);
        }
        let members =
            newest.into_iter().map(|(sender, at)| self.state_event(room, event_type::MEMBER, sender, Some(at)));
        let members = members.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(shown(members, &self.sight(room, localpart)?))
    }

    /// A page of those joined, invited, knocking or banned, by localpart, after this one.
    ///
    /// # Errors
    /// As [`View::state_for`].
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

fn shown(events: Vec<Event>, sight: &Sight) -> Vec<Event> {
    events.into_iter().map(|event| event.shown_to(sight)).collect()
}

#[cfg(test)]
mod tests;
