//! Threads of a room.

use super::aggregations::AggregationReader;
use super::state::after_position;
use super::{EventPage, PAGE_BYTES, QueryError, StateView};
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, key};
use bytes::Bytes;

/// Maximum number of threads that are examined for one page: a reader who wants few of them gets shorter pages.
const MAX_LOOKED_AT: usize = 1024;

/// Threads as rows list them.
struct ThreadRows {
    /// Newest event and root of each thread.
    found: Vec<(Position, Position)>,
    /// Newest event of the thread after these; `None` if there is none.
    next: Option<Position>,
}

impl StateView<'_> {
    /// Returns a page of the roots of a room's threads, in order of their newest events and newest first, with what
    /// later events add to them; `from` is as in [`StateView::timeline`]. With `participated`, only threads in which the
    /// reader wrote, or whose root is the reader's.
    ///
    /// # Errors
    /// [`QueryError::Forbidden`] for a user who may not read the room.
    pub fn threads(
        &self,
        localpart: &str,
        room: RoomNumber,
        participated: bool,
        from: Position,
        limit: usize,
    ) -> Result<EventPage, QueryError> {
        let sight = self.readers_sight(localpart, room)?;
        let reader = AggregationReader::open(self, localpart, room, &sight)?;
        let room_id = self.room_id(room)?;
        let from = if from == Position::MAX { self.now() } else { self.clamp(from) };
        let rows = self.thread_rows(room, from)?;
        let mut page = EventPage { prev: from, next: rows.next, ..EventPage::default() };
        let mut bytes = 0;
        for (newest, root) in rows.found {
            if page.events.len() >= limit || bytes >= PAGE_BYTES {
                page.next = Some(newest);
                break;
            }
            self.is_wanted()?;
            // The root may have been removed with the room's history.
            let Some(row) = rows::event_row(self.rows, room, root)?.filter(|_| sight.sees(root)) else { continue };
            if participated && !reader.participates(root, &row.sender)? {
                continue;
            }
            let mut event = self.in_timeline(self.render(room, &room_id, root, row)?, &sight)?;
            event.aggregations = reader.aggregations_of(&event)?;
            if event.aggregations.as_ref().is_none_or(|added| added.thread.is_none()) {
                continue;
            }
            if reader.ignores(&event.sender) {
                // As if a client that ignores the user put the thread together on its own (specification, "threads").
                event.content = Bytes::from_static(b"{}");
                if let Some(added) = &mut event.aggregations {
                    added.replacement = None;
                }
            }
            bytes += event.weight();
            page.events.push(event);
        }
        Ok(page)
    }

    /// Returns the threads whose newest events are at or before a position, newest first.
    fn thread_rows(&self, room: RoomNumber, from: Position) -> Result<ThreadRows, ReadError> {
        let mut found = Vec::new();
        let mut next = None;
        let low = key::threads_of(room);
        let high = after_position(&low, from);
        self.rows.scan(&ScanRange::between(Table::Aggregate, &low, &high).backward(), &mut |(key, value)| {
            let newest = rows::position_in(Table::Aggregate, key)?;
            if found.len() >= MAX_LOOKED_AT {
                next = Some(newest);
                return Ok(ScanControl::Stop);
            }
            let row: store::Aggregate = table::decode_value(Table::Aggregate, value)?;
            let root = table::decode_position(Table::Aggregate, &row.root)?.unwrap_or_default();
            found.push((newest, root));
            Ok(ScanControl::More)
        })?;
        Ok(ThreadRows { found, next })
    }
}
