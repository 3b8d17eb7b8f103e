//! Rooms that the user is out of because it left, was kicked, or was banned.
//!
//! The user is told events and state up to its leave, the leave included. Of what came later, it is told what happened
//! to its own membership (a ban after a kick, an invitation that was withdrawn) and nothing else: neither state nor
//! summary.

use super::room::{ShownSpan, TimelineSpan, known_since};
use super::{AccountDatum, LeftRoom, SyncRequest, SyncTimeline};
use crate::id::Position;
use crate::query::{QueryError, RoomMembership, StateView, SyncFilter};
use crate::rows;

impl TimelineSpan<'_> {
    /// Returns `true` if the timeline may contain the event at this position. After a leave these are only the events
    /// about the user's own membership, however open the room is to others.
    pub(super) fn shows(&self, at: Position) -> bool {
        match self.left_at {
            Some(left_at) if at > left_at => self.sight.is_own(at),
            _ => self.sight.sees(at),
        }
    }

    /// Returns the position of the newest state that the user may be told at or before this one: none after its leave.
    pub(super) fn state_at(&self, at: Position) -> Position {
        self.left_at.map_or(at, |left_at| at.min(left_at))
    }
}

impl StateView<'_> {
    /// Returns a room that the user is out of: events and state up to the leave, and what has happened to its
    /// membership since.
    pub(super) fn left(
        &self,
        request: &SyncRequest<'_>,
        row: &RoomMembership,
        room_id: String,
        account_data: Vec<AccountDatum>,
    ) -> Result<LeftRoom, QueryError> {
        let sight = self.sight_in_lists(row.room, request.localpart)?;
        let Some(left_at) = sight.left_before(self.now()) else {
            // The user was never in: it learns that the invitation is withdrawn, and nothing about the room.
            let events = vec![self.in_timeline(self.event_at(row.room, &room_id, row.position)?, &sight)?];
            let mut state = if request.filter.state_after { events.clone() } else { Vec::new() };
            state.retain(|event| request.filter.state.wants(event));
            let timeline = SyncTimeline { events, limited: false, prev_batch: row.position.before() };
            return Ok(LeftRoom { room: row.room, room_id, state, timeline, account_data });
        };
        let (known, floor) = match request.since {
            // The leave was told before, or was not asked for.
            Some(since) if since >= left_at => (Some(left_at), since),
            since => {
                let known = known_since(&sight, since);
                (known, known.unwrap_or(Position::ZERO))
            }
        };
        let room = row.room;
        let until = row.position;
        let left_at = Some(left_at);
        let span = TimelineSpan { room, room_id: &room_id, sight, known, floor, until, left_at };
        let (state, timeline, _) = self.span(request, &span)?;
        Ok(LeftRoom { room, room_id, state, timeline, account_data })
    }

    /// Adds the current membership of a user who left (banned, no longer invited), even if the timeline has no place
    /// for it, or is not where the client looks for it.
    pub(super) fn add_own(
        &self,
        filter: &SyncFilter,
        span: &TimelineSpan<'_>,
        shown: &mut ShownSpan,
    ) -> Result<(), QueryError> {
        let is_shown = shown.timeline.events.last().is_some_and(|event| event.position == span.until);
        let told = is_shown && !filter.state_after;
        if told || span.left_at.is_none_or(|left_at| left_at == span.until) {
            return Ok(());
        }
        let own = rows::known_event(self.rows, span.room, span.until)?;
        // The newest there is, whatever the filter has taken out.
        shown.taken_out.insert((own.r#type, own.state_key.unwrap_or_default()), span.until);
        Ok(())
    }
}
