//! Pages of a room's timeline.

use super::state::key_after;
use super::{EventFilter, PAGE_BYTES, QueryError, RoomEvent, StateView};
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ReadError, ScanControl, ScanDirection, ScanRange, Table, key};
use crate::visibility::UserVisibility;

/// Maximum number of events examined for one page: a user who may see few of them gets shorter pages, not slower ones.
const MAX_LOOKED_AT: usize = 4096;

/// Maximum number of relations to one event that are examined for a filter. A filter asks for people and kinds of
/// relations that are rare; where thousands react to one message, it is found by the first of them.
const MAX_RELATIONS: usize = 1024;

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

impl EventPage {
    /// Leaves all but the first events of the page to the next one.
    pub fn cut(&mut self, keep: usize, direction: ScanDirection) {
        if let Some(at) = self.events.get(keep).map(|event| event.position) {
            self.events.truncate(keep);
            self.next = Some(if direction == ScanDirection::Forward { at.before() } else { at });
        }
    }
}

impl StateView<'_> {
    /// Checks that a user may read the room's timeline at all.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] for a user who was never in the room, unless it is world-readable.
    pub fn check_reader(&self, localpart: &str, room: RoomNumber) -> Result<(), QueryError> {
        self.readers_sight(localpart, room).map(drop)
    }

    /// Adds to a page what later events add to its events. The page is cut before that becomes too many bytes.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn aggregate_page(
        &self,
        localpart: &str,
        room: RoomNumber,
        page: &mut EventPage,
        direction: ScanDirection,
    ) -> Result<(), QueryError> {
        let done = self.add_aggregations(localpart, room, &mut page.events)?;
        page.cut(done, direction);
        Ok(())
    }

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
        self.timeline_filtered(localpart, room, from, direction, limit, &EventFilter::default())
    }

    /// Returns a page like [`StateView::timeline`] of those events that the filter includes; its own limit is ignored.
    ///
    /// # Errors
    /// Fails as [`StateView::timeline`] does.
    pub fn timeline_filtered(
        &self,
        localpart: &str,
        room: RoomNumber,
        from: Position,
        direction: ScanDirection,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<EventPage, QueryError> {
        let room_id = self.room_id(room)?;
        let sight = self.readers_sight(localpart, room)?;
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
                // Before the filter, which must not tell what is no longer there.
                let event = self.without_erased(event, &sight)?;
                if self.wants(filter, &event, &sight)? {
                    let event = self.in_timeline(event, &sight)?;
                    bytes += event.weight();
                    page.events.push(event);
                }
            }
            Ok(ScanControl::More)
        })?;
        Ok(page)
    }

    /// Returns what a reader of the room's timeline may see of it.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] for a user who was never in the room, unless it is world-readable.
    pub(super) fn readers_sight(&self, localpart: &str, room: RoomNumber) -> Result<UserVisibility, QueryError> {
        let sight = self.sight(room, localpart)?;
        if sight.ever_joined() || sight.is_world_readable() { Ok(sight) } else { Err(QueryError::Forbidden) }
    }

    /// Returns `true` if the filter includes this event.
    pub(super) fn wants(
        &self,
        filter: &EventFilter,
        event: &RoomEvent,
        sight: &UserVisibility,
    ) -> Result<bool, ReadError> {
        if !filter.wants(event) || !filter.asks_for_relations() {
            return Ok(filter.wants(event));
        }
        let types = filter.related_by_rel_types.as_deref();
        let senders = filter.related_by_senders.as_deref();
        let mut found = false;
        let mut looked_at = 0;
        let prefix = key::relations_to(event.room, event.position);
        self.rows.scan(&ScanRange::with_prefix(Table::Relation, &prefix), &mut |(key, value)| {
            looked_at += 1;
            let row: store::Relation = table::decode_value(Table::Relation, value)?;
            let of_type = types.is_none_or(|types| {
                key::relation_type(key).is_some_and(|relation_type| types.iter().any(|name| name == relation_type))
            });
            let by = senders.is_none_or(|senders| senders.contains(&row.sender));
            found = of_type && by && sight.sees(rows::position_in(Table::Relation, key)?);
            Ok(if found || looked_at >= MAX_RELATIONS { ScanControl::Stop } else { ScanControl::More })
        })?;
        Ok(found)
    }
}
