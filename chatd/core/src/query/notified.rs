//! Events of all rooms of a user, newest first, for the list of those that have notified the user.

use super::state::key_after;
use super::{MemberReading, QueryError, StateView, UnreadEvent};
use crate::id::{self, Position};
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::rows::{self, event_type};
use crate::table::{ReadError, ScanControl, ScanRange, Table};
use std::collections::{BinaryHeap, VecDeque};

/// Number of positions that are read from a room at a time.
const CHUNK: usize = 32;

/// Room of which events are read, newest first.
struct RoomTail {
    reading: MemberReading,
    /// Position of the user's join.
    from: Position,
    /// Position up to which the next positions are read.
    until: Position,
    /// Positions that were read and not visited yet.
    ahead: VecDeque<Position>,
}

/// Visitor of a [walk](StateView::walk_newest): it is told whether the user has read the event.
pub type NewestVisitor<'v> = dyn FnMut(&MemberReading, &UnreadEvent, bool) -> Result<ScanControl, ReadError> + 'v;

impl StateView<'_> {
    /// Visits the events at and before `until` of all rooms that a user is in, newest first: those since the join that
    /// the user did not send and that are not redacted. Returns the position from which to continue; `None` at the end.
    ///
    /// # Errors
    /// Fails if the state cannot be read, or as the visitor does.
    pub fn walk_newest(
        &self,
        localpart: &str,
        until: Position,
        at_most: usize,
        visit: &mut NewestVisitor<'_>,
    ) -> Result<Option<Position>, QueryError> {
        let own = id::user_id(localpart, self.server_name());
        let mut tails = self.tails_of(localpart, self.clamp(until).min(self.now()))?;
        let mut newest = BinaryHeap::new();
        for (place, tail) in tails.iter_mut().enumerate() {
            self.is_wanted()?;
            newest.extend(self.next_of(tail)?.map(|at| (at, place)));
        }
        let mut looked_at = 0;
        while let Some((at, place)) = newest.pop() {
            if looked_at >= at_most {
                return Ok(Some(at));
            }
            self.is_wanted()?;
            looked_at += 1;
            let Some(tail) = tails.get_mut(place) else { continue };
            if self.visit_newest(&own, tail, at, visit)? == ScanControl::Stop {
                return Ok(Some(at.before()));
            }
            newest.extend(self.next_of(tail)?.map(|at| (at, place)));
        }
        Ok(None)
    }

    fn tails_of(&self, localpart: &str, until: Position) -> Result<Vec<RoomTail>, QueryError> {
        let mut tails = Vec::new();
        for room in self.rooms_of(localpart)?.into_iter().filter(|room| room.kind == Kind::Join) {
            self.is_wanted()?;
            let Some(from) = room.joined_since else { continue };
            if let Some(reading) = self.member_reading(localpart, room.room)? {
                tails.push(RoomTail { reading, from, until, ahead: VecDeque::new() });
            }
        }
        Ok(tails)
    }

    /// Returns the newest position of a room that was not returned before.
    fn next_of(&self, tail: &mut RoomTail) -> Result<Option<Position>, ReadError> {
        if tail.ahead.is_empty() && tail.until > tail.from {
            let low = key_after(tail.reading.room, tail.from);
            let high = key_after(tail.reading.room, tail.until);
            self.rows.scan(&ScanRange::between(Table::Timeline, &low, &high).backward(), &mut |(key, _)| {
                tail.ahead.push_back(rows::position_in(Table::Timeline, key)?);
                Ok(if tail.ahead.len() < CHUNK { ScanControl::More } else { ScanControl::Stop })
            })?;
            tail.until = tail.ahead.back().map_or(tail.from, |at| at.before());
        }
        Ok(tail.ahead.pop_front())
    }

    fn visit_newest(
        &self,
        own: &str,
        tail: &mut RoomTail,
        at: Position,
        visit: &mut NewestVisitor<'_>,
    ) -> Result<ScanControl, QueryError> {
        let room = tail.reading.room;
        let row: store::Event = rows::known_event(self.rows, room, at)?;
        if row.sender == own {
            if row.r#type != event_type::MEMBER {
                let thread = self.thread_of(room, &row.content)?;
                tail.reading.points.note(thread, at);
            }
            return Ok(ScanControl::More);
        }
        if !row.redacted_by.is_empty() {
            return Ok(ScanControl::More);
        }
        let thread = self.thread_of(room, &row.content)?;
        let event = self.render(room, &tail.reading.room_id, at, row)?;
        let read = tail.reading.points.has_read(thread, at);
        Ok(visit(&tail.reading, &UnreadEvent { event, thread }, read)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::set_membership::Change;
    use crate::proto::log::{SetReceipts, command};
    use crate::testing::world;

    #[test]
    fn the_newest_events_of_all_rooms_come_in_one_order_and_in_parts() {
        let mut world = world(&["alice", "bob"]);
        let rooms = [world.public_room("alice").1, world.public_room("alice").1];
        let secret = world.public_room("alice").1;
        for room in &rooms {
            world.moved("bob", room, Change::Join, "");
        }
        let mut said = Vec::new();
        for n in 0..80 {
            said.push(world.say("alice", &rooms[n % 2], "x"));
            world.say("alice", &secret, "not for bob");
        }
        world.say("bob", &rooms[0], "mine");
        let event_id = id::event_id(said[41]);
        let receipts = SetReceipts { room_id: rooms[1].clone(), read: event_id, ..SetReceipts::default() };
        let receipts = world.by("bob", command::Kind::SetReceipts(receipts));
        world.accepted(receipts);
        let mut found = Vec::new();
        let mut until = Position::MAX;
        loop {
            let view = world.view();
            let next = view.walk_newest("bob", until, 7, &mut |reading, unread, read| {
                assert_eq!(reading.room, unread.event.room);
                found.push((unread.event.position, read));
                Ok(ScanControl::More)
            });
            match next.unwrap() {
                Some(next) => until = next,
                None => break,
            }
        }
        found.reverse();
        assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), said);
        let read_of = |n: usize| found[n].1;
        assert!(read_of(41) && !read_of(43), "by the receipt in the second room");
        // What the user wrote is known to the part that has it.
        assert!(read_of(78));
    }
}
