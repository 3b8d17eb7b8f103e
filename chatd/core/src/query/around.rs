//! Events around a given event, and the state there.

use super::{EventFilter, QueryError, RoomEvent, StateView};
use crate::id::{self, Position, RoomNumber};
use crate::rows;
use crate::table::ScanDirection;
use std::collections::BTreeSet;

/// An event and its neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSurroundings {
    /// The event itself.
    pub event: RoomEvent,
    /// Events before it, newest first.
    pub before: Vec<RoomEvent>,
    /// Events after it, oldest first.
    pub after: Vec<RoomEvent>,
    /// Position from which pages backward continue.
    pub start: Position,
    /// Position from which pages forward continue.
    pub end: Position,
    /// Position of the state that goes with the last event here; `None` if the reader may not know the state there. A
    /// reader who was out of the room, and sees what happened to its own membership, gets the state of its last leave.
    pub state_at: Option<Position>,
}

impl EventSurroundings {
    /// Returns the user ids of all who sent one of the events.
    #[must_use]
    pub fn senders(&self) -> BTreeSet<String> {
        let all = [&self.event].into_iter().chain(&self.before).chain(&self.after);
        all.map(|event| event.sender.clone()).collect()
    }
}

impl StateView<'_> {
    /// Returns an event of a room with at most `limit` events around it, half of them before it. The filter decides
    /// about the neighbours, not about the event.
    ///
    /// # Errors
    /// [`QueryError::EventNotFound`] if the room has no such event or the user may not see it;
    /// [`QueryError::Forbidden`] for a user who may not read the room at all.
    pub fn event_surroundings(
        &self,
        localpart: &str,
        room: RoomNumber,
        event_id: &str,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<EventSurroundings, QueryError> {
        let sight = self.readers_sight(localpart, room)?;
        let at = id::parse_event_id(event_id).ok_or(QueryError::EventNotFound)?;
        if rows::room_of_event(self.rows, at)? != Some(room) || !sight.sees(at) {
            return Err(QueryError::EventNotFound);
        }
        let event = self.in_timeline(self.event_at(room, &self.room_id(room)?, at)?, &sight)?;
        let half = limit / 2;
        let page = |from, direction, limit| self.timeline_filtered(localpart, room, from, direction, limit, filter);
        let before = page(at.before(), ScanDirection::Backward, half)?;
        let after = page(at, ScanDirection::Forward, limit - half)?;
        let oldest = before.events.last().map_or(at, |event| event.position);
        let newest = after.events.last().map_or(at, |event| event.position);
        let start = before.next.unwrap_or(oldest.before());
        let end = after.next.unwrap_or(newest);
        let state_at = match self.readable_at(room, &sight, newest) {
            Ok(at) => Some(at),
            Err(QueryError::Forbidden) => None,
            Err(error) => return Err(error),
        };
        Ok(EventSurroundings { event, before: before.events, after: after.events, start, end, state_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::set_membership::Change;
    use crate::query::StateScope;
    use crate::testing::world;
    use std::sync::Arc;

    #[test]
    fn neighbours_come_from_both_sides_and_lead_on_without_a_gap() {
        let mut world = world(&["alice", "bob"]);
        let (room, room_id) = world.public_room("alice");
        let said: Vec<_> = (0..9).map(|n| world.say("alice", &room_id, &n.to_string())).collect();
        let view = world.view();
        let around = |limit| {
            view.event_surroundings("alice", room, &id::event_id(said[4]), limit, &EventFilter::default()).unwrap()
        };
        let positions = |events: &[RoomEvent]| events.iter().map(|event| event.position).collect::<Vec<_>>();
        let found = around(5);
        assert_eq!((positions(&found.before), positions(&found.after)), (vec![said[3], said[2]], said[5..8].to_vec()));
        let older = view.timeline("alice", room, found.start, ScanDirection::Backward, 2).unwrap();
        let newer = view.timeline("alice", room, found.end, ScanDirection::Forward, 2).unwrap();
        assert_eq!((positions(&older.events), positions(&newer.events)), (vec![said[1], said[0]], vec![said[8]]));
        let alone = around(0);
        assert_eq!((alone.before.len(), alone.after.len(), alone.state_at), (0, 0, Some(said[4])));
        let next = view.timeline("alice", room, alone.end, ScanDirection::Forward, 1).unwrap();
        assert_eq!(positions(&next.events), [said[5]]);
        let stranger = view.event_surroundings("bob", room, &id::event_id(said[4]), 5, &EventFilter::default());
        assert!(matches!(stranger, Err(QueryError::Forbidden)));
    }

    #[test]
    fn a_filter_leaves_out_neighbours_and_members_but_not_the_event() {
        let mut world = world(&["alice", "bob", "carol"]);
        let (room, room_id) = world.public_room("alice");
        for user in ["bob", "carol"] {
            world.moved(user, &room_id, Change::Join, "");
        }
        let one = world.say("alice", &room_id, "one");
        let two = world.say("bob", &room_id, "two");
        let topic = world.set("alice", &room_id, "m.room.topic", r#"{"topic":"t"}"#);
        let filter = EventFilter { senders: Some(vec!["@alice:a.org".into()]), ..EventFilter::default() };
        let found = world.view().event_surroundings("carol", room, &id::event_id(two), 4, &filter).unwrap();
        assert_eq!((found.event.position, found.before[0].position, found.state_at), (two, one, Some(topic)));
        let scope = StateScope::WithMembers(Arc::new(found.senders()));
        let state = world.view().state_part_for("carol", room, &scope, topic, None).unwrap().events;
        let members: Vec<_> = state.iter().filter(|event| event.is_state("m.room.member")).collect();
        assert_eq!(members.iter().filter_map(|event| event.state_key.as_deref()).count(), 2);
        assert!(state.iter().any(|event| event.position == topic));
    }

    #[test]
    fn whoever_was_out_of_the_room_gets_no_state_from_then() {
        let mut world = world(&["alice", "bob"]);
        let (room, room_id) = world.public_room("alice");
        world.moved("bob", &room_id, Change::Join, "");
        let left = world.moved("bob", &room_id, Change::Leave, "");
        world.set("alice", &room_id, "m.room.topic", r#"{"topic":"t"}"#);
        let banned = world.moved("alice", &room_id, Change::Ban, "bob");
        let view = world.view();
        let found = view.event_surroundings("bob", room, &id::event_id(banned), 4, &EventFilter::default()).unwrap();
        assert_eq!((found.event.position, found.state_at), (banned, Some(left)));
    }
}
