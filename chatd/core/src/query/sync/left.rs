//! Rooms that the user is out of, whether it left, was put out, or was banned.
//!
//! It is told events and state up to its leave, the leave included. Of what came later it is told what happened to its own
//! membership (a ban after a kick, an invitation that was taken back), and nothing else: neither state nor summary.

use super::room::{Shown, Span, known};
use super::{LeftRoom, SyncRequest, Timeline};
use crate::id::Position;
use crate::query::{QueryError, RoomMembership, View};
use crate::rows;

impl Span<'_> {
    /// May the event at this position stand in the timeline? After one has left that is what happens to one's own
    /// membership, and nothing else, however open the room is to others.
    pub(super) fn shows(&self, at: Position) -> bool {
        match self.left_at {
            Some(left_at) if at > left_at => self.sight.is_own(at),
            _ => self.sight.sees(at),
        }
    }

    /// The newest state that the user is told at or before this position: none from after it left.
    pub(super) fn state_at(&self, at: Position) -> Position {
        self.left_at.map_or(at, |left_at| at.min(left_at))
    }
}

impl View<'_> {
    /// A room that the user is out of: events and state up to where it left, and what happened to its membership since.
    pub(super) fn left(
        &self,
        request: &SyncRequest<'_>,
        row: &RoomMembership,
        room_id: String,
    ) -> Result<LeftRoom, QueryError> {
        let sight = self.sight(row.room, request.localpart)?;
        let Some(left_at) = sight.left_at() else {
            // Never in: the user learns that the invitation is off, and nothing of the room.
            let events = vec![self.in_timeline(self.event_at(row.room, &room_id, row.position)?, &sight)?];
            let timeline = Timeline { events, limited: false, prev_batch: row.position.before() };
            return Ok(LeftRoom { room: row.room, room_id, state: Vec::new(), timeline });
        };
        let (known, floor) = match request.since {
            // That the user left was told before, or was not asked for.
            Some(since) if since >= left_at => (Some(left_at), since),
            since => {
                let known = known(&sight, since);
                (known, known.unwrap_or(Position::ZERO))
            }
        };
        let (room, until, left_at) = (row.room, row.position, Some(left_at));
        let span = Span { room, room_id: &room_id, sight, known, floor, until, left_at };
        let (state, timeline, _) = self.span(request, &span)?;
        Ok(LeftRoom { room, room_id, state, timeline })
    }

    /// One who left is told what it is now (banned, invited no more), also where the timeline has no place for it.
    pub(super) fn add_own(&self, span: &Span<'_>, shown: &mut Shown) -> Result<(), QueryError> {
        let told = shown.timeline.events.last().is_some_and(|event| event.position == span.until);
        if told || span.left_at.is_none_or(|left_at| left_at == span.until) {
            return Ok(());
        }
        let own = rows::known_event(self.rows, span.room, span.until)?;
        shown.taken_out.entry((own.r#type, own.state_key.unwrap_or_default())).or_insert(span.until);
        Ok(())
    }
}
