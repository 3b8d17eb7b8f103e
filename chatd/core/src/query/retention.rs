//! Events that were removed from rooms' histories, and events that are due to be.

use super::rooms::RoomMembership;
use super::{FeedScope, QueryError, StateView};
use crate::apply;
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table};

impl StateView<'_> {
    /// Returns `true` if the room has an event that its own retention rule no longer keeps and that has not been
    /// examined yet. Costs two lookups.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn has_expired(&self, room: RoomNumber, time_ms: u64) -> Result<bool, QueryError> {
        let row = rows::room_row(self.rows, room)?.unwrap_or_default();
        Ok(self.is_due(room, &row, time_ms)?)
    }

    /// Returns the ids of at most `limit` rooms for which [`StateView::has_expired`] returns `true`. Reads the row of every
    /// room once.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn expired_rooms(&self, time_ms: u64, limit: usize) -> Result<Vec<String>, QueryError> {
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::all(Table::Room), &mut |(key, value)| {
            let row: store::Room = table::decode_value(Table::Room, value)?;
            if self.is_due(rows::room_in(Table::Room, key)?, &row, time_ms)? {
                out.push(rows::room_id_of(&row, self.server_name())?);
            }
            Ok(if out.len() < limit { ScanControl::More } else { ScanControl::Stop })
        })?;
        Ok(out)
    }

    fn is_due(&self, room: RoomNumber, row: &store::Room, time_ms: u64) -> Result<bool, ReadError> {
        if row.max_lifetime_ms == 0 {
            return Ok(false);
        }
        let swept_to = table::decode_position(Table::Room, &row.swept_to)?.unwrap_or_default();
        let low = super::state::key_after(room, swept_to);
        let high = super::state::key_after(room, Position::MAX);
        let mut due = false;
        self.rows.scan(&ScanRange::between(Table::Timeline, &low, &high), &mut |(key, value)| {
            let event: store::Event = table::decode_value(Table::Timeline, value)?;
            let at = rows::position_in(Table::Timeline, key)?;
            let made_ms = apply::effective_time(&self.cluster, at, event.origin_server_ts)?;
            due = made_ms < time_ms.saturating_sub(row.max_lifetime_ms);
            // Times are in the order of positions, so the first event tells.
            Ok(ScanControl::Stop)
        })?;
        Ok(due)
    }

    /// Returns the position of the newest event that was removed from a room; `None` if nothing after `cursor` was
    /// removed from it.
    pub(super) fn purged_after(&self, room: RoomNumber, cursor: Position) -> Result<Option<Position>, ReadError> {
        // The row of the cluster is at hand, while that of the room costs a lookup.
        if !self.any_purged_after(cursor)? {
            return Ok(None);
        }
        let row = rows::room_row(self.rows, room)?.unwrap_or_default();
        Ok(table::decode_position(Table::Room, &row.purged_to)?.filter(|purged_to| *purged_to > cursor))
    }

    /// Returns `true` if anything was removed from any room that a reader with this cursor has not seen.
    pub(super) fn any_purged_after(&self, cursor: Position) -> Result<bool, ReadError> {
        Ok(table::decode_position(Table::Meta, &self.cluster.purged_to)?.is_some_and(|purged_to| purged_to > cursor))
    }

    /// Refuses a stream that would silently leave out events that were removed before this reader saw them. A stream
    /// from the very beginning takes what there is.
    pub(super) fn nothing_purged(&self, localpart: &str, scope: FeedScope, cursor: Position) -> Result<(), QueryError> {
        if cursor == Position::ZERO || !self.any_purged_after(cursor)? {
            return Ok(());
        }
        let rooms = match scope {
            FeedScope::Room(room) => vec![self.membership_in(localpart, room)?],
            FeedScope::Joined => self.all_rooms_of(localpart)?,
        };
        for row in rooms {
            if self.was_in_when_purged(localpart, &row, cursor)? {
                return Err(QueryError::Purged);
            }
        }
        Ok(())
    }

    /// Returns `true` if a stay of this user covered an event that may have been removed.
    fn was_in_when_purged(&self, localpart: &str, row: &RoomMembership, cursor: Position) -> Result<bool, QueryError> {
        let Some(purged_to) = self.purged_after(row.room, cursor)? else { return Ok(false) };
        Ok(self.stays(localpart, row, cursor)?.iter().any(|stay| stay.from <= purged_to))
    }
}
