//! Pages of a room's timeline.

use super::state::key_after;
use super::{PAGE_BYTES, QueryError, RoomEvent, StateView};
use crate::id::{Position, RoomNumber};
use crate::rows;
use crate::table::{self, ScanControl, ScanDirection, ScanRange, Table, key};

/// Maximum number of events examined for one page: a user who may see few of them gets shorter pages, not slower ones.
const MAX_LOOKED_AT: usize = 4096;

/// Page of a room's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// Events in the direction asked for.
    pub events: Vec<RoomEvent>,
    /// Position from which to continue in the same direction; `None` at the end. A page may be empty without being the
    /// last.
    pub next: Option<Position>,
    /// Position from which to continue in the other direction: where this page began.
    pub prev: Position,
}

impl StateView<'_> {
    /// Returns a page of what the user may see: backward the events at and before `from`, newest first, or forward
    /// those after it. [`Position::MAX`] and [`Position::ZERO`] stand for the ends.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room; [`QueryError::Forbidden`] for a user who was never in the
    /// room, unless it is world-readable.
    pub fn timeline(
        &self,
        localpart: &str,
        room: RoomNumber,
        from: Position,
        direction: ScanDirection,
        limit: usize,
    ) -> Result<EventPage, QueryError> {
        let room_id = self.room_id(room)?;
        let sight = self.sight(room, localpart)?;
        if !sight.ever_joined() && !sight.is_world_readable() {
            return Err(QueryError::Forbidden);
        }
        let from = if from == Position::MAX { self.now() } else { self.clamp(from) };
        let mut page = EventPage { prev: from, ..EventPage::default() };
        let mut looked_at = 0;
        let mut bytes = 0;
        let (low, high) = match direction {
            ScanDirection::Forward => (key_after(room, from), key_after(room, Position::MAX)),
            ScanDirection::Backward => (key::room_key(room), key_after(room, from)),
        };
        let range = ScanRange::between(Table::Timeline, &low, &high).in_direction(direction);
        self.rows.scan(&range, &mut |(key, value)| {
            let at = rows::position_in(Table::Timeline, key)?;
            if page.events.len() >= limit || looked_at >= MAX_LOOKED_AT || bytes >= PAGE_BYTES {
                // There is at least one more event.
                page.next = Some(match direction {
                    ScanDirection::Forward => at.before(),
                    ScanDirection::Backward => at,
                });
                return Ok(ScanControl::Stop);
            }
            looked_at += 1;
            if sight.sees(at) {
                let event = self.render(room, &room_id, at, table::decode_value(Table::Timeline, value)?)?;
                let event = self.in_timeline(event, &sight)?;
                bytes += event.weight();
                page.events.push(event);
            }
            Ok(ScanControl::More)
        })?;
        Ok(page)
    }
}
