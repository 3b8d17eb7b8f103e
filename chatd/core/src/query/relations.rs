//! Events that relate to an event.

use super::{Page, QueryError, View};
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, Direction, Flow, Table, key};

/// Which relations.
#[derive(Clone, Copy, Debug)]
pub struct Relations<'a> {
    /// The event they relate to.
    pub target: Position,
    /// Only of this type (`m.thread`, `m.annotation`, …).
    pub relation_type: Option<&'a str>,
    /// Only from events of this type.
    pub event_type: Option<&'a str>,
}

impl View<'_> {
    /// A page of the events that relate to one, as far as the user may see them; `from` as in [`View::timeline`].
    ///
    /// # Errors
    /// [`QueryError::EventNotFound`] when the target is not in the room, or not for this user.
    pub fn relations(
        &self,
        localpart: &str,
        room: RoomNumber,
        which: Relations<'_>,
        from: Position,
        direction: Direction,
        limit: usize,
    ) -> Result<Page, QueryError> {
        let sight = self.sight(room, localpart)?;
        if rows::room_of_event(self.rows, which.target)? != Some(room) || !sight.sees(which.target) {
            return Err(QueryError::EventNotFound);
        }
        let mut found = self.relating(room, which)?;
        found.retain(|at| sight.sees(*at));
        match direction {
            Direction::Forward => found.retain(|at| *at > from),
            Direction::Backward => {
                found.retain(|at| *at <= from);
                found.reverse();
            }
        }
        let next = found.get(limit).map(|at| if direction == Direction::Forward { at.before() } else { *at });
        let events = self.events(room, &self.room_id(room)?, found.into_iter().take(limit))?;
        let events = events.into_iter().map(|event| event.shown_to(&sight)).collect();
        Ok(Page { events, next, prev: from })
    }

    /// Positions of the relating events, oldest first. Keys are in order of the relation's type first, so all are read:
    /// relations to one event are few.
    fn relating(&self, room: RoomNumber, which: Relations<'_>) -> Result<Vec<Position>, QueryError> {
        let prefix = match which.relation_type {
            Some(relation_type) => key::relations_of_type(room, which.target, relation_type),
            None => key::relations_to(room, which.target),
        };
        let mut out = Vec::new();
        let end = key::after_prefix(&prefix);
        self.rows.scan(Table::Relation, &prefix, &end, Direction::Forward, &mut |(key, value)| {
            let row: store::Relation = table::decode(Table::Relation, value)?;
            if which.event_type.is_none_or(|event_type| event_type == row.event_type) {
                out.push(rows::position_in(Table::Relation, key)?);
            }
            Ok(Flow::More)
        })?;
        out.sort_unstable();
        Ok(out)
    }
}
