//! Event of a room that is closest to a point in time.
//!
//! There is no index by time: times are in the order of positions, so the point is found by bisection over positions,
//! which costs some hundred lookups whatever the room's size.

use super::state::key_after;
use super::{QueryError, RoomEvent, StateView};
use crate::apply::effective_time;
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanDirection, ScanRange, Table, key};
use crate::visibility::UserVisibility;

/// Maximum number of events that are passed over because the reader may not see them.
const MAX_LOOKED_AT: usize = 4096;

impl StateView<'_> {
    /// Returns the first event at or after a time, or the last one at or before it, among those that the user may see.
    ///
    /// # Errors
    /// [`QueryError::EventNotFound`] if there is none; [`QueryError::Forbidden`] for a user who may not read the room.
    pub fn event_by_time(
        &self,
        localpart: &str,
        room: RoomNumber,
        time_ms: u64,
        direction: ScanDirection,
    ) -> Result<RoomEvent, QueryError> {
        let room_id = self.room_id(room)?;
        let sight = self.readers_sight(localpart, room)?;
        let edge = match direction {
            ScanDirection::Forward => self.last_position_before(room, |time| time >= time_ms)?,
            ScanDirection::Backward => self.last_position_before(room, |time| time > time_ms)?,
        };
        match self.next_visible(room, edge, direction, &sight)? {
            Some(at) => Ok(self.event_at(room, &room_id, at)?.shown_to(&sight)),
            None => Err(QueryError::EventNotFound),
        }
    }

    /// Returns the smallest position after which all of the room's events have a time that `is_late` accepts.
    fn last_position_before(&self, room: RoomNumber, is_late: impl Fn(u64) -> bool) -> Result<Position, QueryError> {
        // A position counts up like a number of its 16 bytes.
        let number = |at: Position| u128::from_be_bytes(at.to_bytes());
        let mut low = 0_u128;
        let mut high = number(self.now());
        while low < high {
            self.is_wanted()?;
            let middle = low + (high - low) / 2;
            let at = Position::from_bytes(&middle.to_be_bytes()).unwrap_or_default();
            if self.time_after(room, at)?.is_none_or(&is_late) {
                high = middle;
            } else {
                low = middle.saturating_add(1);
            }
        }
        Ok(Position::from_bytes(&low.to_be_bytes()).unwrap_or_default())
    }

    /// Returns the time of the room's first event after a position.
    fn time_after(&self, room: RoomNumber, at: Position) -> Result<Option<u64>, QueryError> {
        let mut found = None;
        let low = key_after(room, at);
        let high = key::after_prefix(&key::room_key(room));
        self.rows.scan(&ScanRange::between(Table::Timeline, &low, &high), &mut |(key, value)| {
            let event: store::Event = table::decode_value(Table::Timeline, value)?;
            let at = rows::position_in(Table::Timeline, key)?;
            found = Some(effective_time(&self.cluster, at, event.origin_server_ts)?);
            Ok(ScanControl::Stop)
        })?;
        Ok(found)
    }

    /// Returns the first event after a position, or the last one at or before it, that the reader may see.
    fn next_visible(
        &self,
        room: RoomNumber,
        edge: Position,
        direction: ScanDirection,
        sight: &UserVisibility,
    ) -> Result<Option<Position>, QueryError> {
        let mut found = None;
        let mut looked_at = 0;
        let (low, high) = match direction {
            ScanDirection::Forward => (key_after(room, edge), key::after_prefix(&key::room_key(room))),
            ScanDirection::Backward => (key::room_key(room), key_after(room, edge)),
        };
        let range = ScanRange::between(Table::Timeline, &low, &high).in_direction(direction);
        self.rows.scan(&range, &mut |(key, _)| {
            let at = rows::position_in(Table::Timeline, key)?;
            looked_at += 1;
            found = sight.sees(at).then_some(at);
            Ok(if found.is_some() || looked_at >= MAX_LOOKED_AT { ScanControl::Stop } else { ScanControl::More })
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::set_membership::Change;
    use crate::testing::{World, world};

    fn found(world: &World, user: &str, room: RoomNumber, time_ms: u64, direction: ScanDirection) -> Option<Position> {
        match world.view().event_by_time(user, room, time_ms, direction) {
            Ok(event) => Some(event.position),
            Err(QueryError::EventNotFound) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_closest_event_is_found_from_both_sides_of_every_time() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        let (_, other) = world.public_room("alice");
        for n in 0..40 {
            world.say("alice", if n % 3 == 0 { &room_id } else { &other }, "x");
        }
        let all = world.view().timeline("alice", room, Position::ZERO, ScanDirection::Forward, 100).unwrap().events;
        let times: Vec<_> = all.iter().map(|event| (event.position, event.origin_server_ts)).collect();
        let last = times.last().unwrap().1;
        for time in (times[0].1 - 5)..(last + 5) {
            let after = times.iter().find(|(_, at)| *at >= time).map(|(at, _)| *at);
            let before = times.iter().rev().find(|(_, at)| *at <= time).map(|(at, _)| *at);
            assert_eq!(found(&world, "alice", room, time, ScanDirection::Forward), after, "{time}");
            assert_eq!(found(&world, "alice", room, time, ScanDirection::Backward), before, "{time}");
        }
        assert_eq!(found(&world, "alice", room, u64::MAX, ScanDirection::Forward), None);
        assert_eq!(found(&world, "alice", room, 0, ScanDirection::Backward), None);
    }

    #[test]
    fn events_out_of_sight_are_passed_over_and_strangers_are_refused() {
        let mut world = world(&["alice", "bob"]);
        let (room, room_id) = world.public_room("alice");
        world.set("alice", &room_id, "m.room.history_visibility", r#"{"history_visibility":"joined"}"#);
        world.say("alice", &room_id, "early");
        let stranger = world.view().event_by_time("bob", room, 0, ScanDirection::Forward);
        assert!(matches!(stranger, Err(QueryError::Forbidden)));
        let joined = world.moved("bob", &room_id, Change::Join, "");
        let early = world.time_ms - 10;
        assert_eq!(found(&world, "bob", room, early, ScanDirection::Forward), Some(joined));
    }
}
