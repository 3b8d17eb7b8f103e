//! A room's state, now and at any position of its timeline.

use super::{Event, QueryError, View};
use crate::id::{Position, RoomNumber};
use crate::rows;
use crate::table::{Direction, Flow, Table, key};
use std::collections::BTreeMap;

/// Where the version of each (type, state key) stands; in order of those.
pub(super) type Versions = BTreeMap<(String, String), Position>;

impl View<'_> {
    /// All state, now or after the event at a position.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] when there is no such room.
    pub fn state(&self, room: RoomNumber, at: Option<Position>) -> Result<Vec<Event>, QueryError> {
        let versions = self.versions(room, &key::room(room), at.unwrap_or(Position::MAX))?;
        self.events(room, &self.room_id(room)?, versions.into_values())
    }

    /// One piece of state, now or after the event at a position.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] when there is no such room.
    pub fn state_event(
        &self,
        room: RoomNumber,
        event_type: &str,
        state_key: &str,
        at: Option<Position>,
    ) -> Result<Option<Event>, QueryError> {
        let at = at.unwrap_or(Position::MAX);
        match rows::state_version(self.rows, room, event_type, state_key, at)? {
            Some(version) => self.event_at(room, &self.room_id(room)?, version).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn state_of_type(
        &self,
        room: RoomNumber,
        event_type: &str,
        at: Position,
    ) -> Result<Vec<Event>, QueryError> {
        let versions = self.versions(room, &key::state_of_type(room, event_type), at)?;
        self.events(room, &self.room_id(room)?, versions.into_values())
    }

    /// Events by position.
    pub(super) fn events(
        &self,
        room: RoomNumber,
        room_id: &str,
        positions: impl Iterator<Item = Position>,
    ) -> Result<Vec<Event>, QueryError> {
        positions.map(|at| self.event_at(room, room_id, at)).collect()
    }

    /// The versions that hold at `at`, among the keys with this prefix. One pass over all versions: most state has one.
    pub(super) fn versions(&self, room: RoomNumber, prefix: &[u8], at: Position) -> Result<Versions, QueryError> {
        let mut out = Versions::new();
        self.rows.scan(
            Table::StateVersion,
            prefix,
            &key::after_prefix(prefix),
            Direction::Forward,
            &mut |(key, _)| {
                if let Some((of, event_type, state_key, version)) = key::parse_state_version(key)
                    && of == room
                    && version <= at
                {
                    // Versions of one key come in order: the last stays.
                    out.insert((event_type.to_owned(), state_key.to_owned()), version);
                }
                Ok(Flow::More)
            },
        )?;
        Ok(out)
    }

    /// The versions that hold at `to`, of what changed after `from`.
    pub(super) fn changed_versions(
        &self,
        room: RoomNumber,
        from: Position,
        to: Position,
    ) -> Result<Versions, QueryError> {
        let mut changed = Vec::new();
        let (low, high) = (after(room, from), after(room, to));
        self.rows.scan(Table::StateChange, &low, &high, Direction::Forward, &mut |(key, _)| {
            changed.push(rows::position_in(Table::StateChange, key)?);
            Ok(Flow::More)
        })?;
        let mut out = Versions::new();
        for at in changed {
            let row = rows::known_event(self.rows, room, at)?;
            out.insert((row.r#type, row.state_key.unwrap_or_default()), at);
        }
        Ok(out)
    }
}

/// The least key of a room's rows by position that lies after `at`.
pub(super) fn after(room: RoomNumber, at: Position) -> Vec<u8> {
    let mut key = key::room_position(room, at);
    key.push(0);
    key
}
