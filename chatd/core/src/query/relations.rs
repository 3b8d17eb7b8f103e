//! Events that relate to a given event.

use super::state::after_position;
use super::{EventPage, PAGE_BYTES, QueryError, StateView};
use crate::id::{POSITION_LEN, Position, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanDirection, ScanRange, Table, key};
use crate::visibility::UserVisibility;
use std::collections::BTreeSet;

/// Maximum number of relations of each type that are examined for one page: if few of them are wanted, pages get
/// shorter, not slower.
const MAX_LOOKED_AT: usize = 4096;
/// Maximum number of relation types that are merged into one list. Clients use a handful; a client that wants one of a
/// thousand names it.
const MAX_TYPES: usize = 64;

/// Number of levels of relations that are followed from an event (the specification asks for at least 3).
pub const RELATION_DEPTH: usize = 3;
/// Maximum number of events that are found through other events: all of them are held at once.
const MAX_BELOW: usize = 4096;
/// Maximum number of relations that are examined for that, with those that the reader may not see.
const MAX_LOOKED_AT_BELOW: usize = 4 * MAX_BELOW;

/// Selection of relations to one event.
#[derive(Clone, Copy, Debug)]
pub struct RelationQuery<'a> {
    /// Position of the event that the others relate to.
    pub target: Position,
    /// Type of relation to include (`m.thread`, `m.annotation`, …); `None` includes all.
    pub relation_type: Option<&'a str>,
    /// Type of the relating events to include; `None` includes all.
    pub event_type: Option<&'a str>,
}

/// Part of the selected relations.
#[derive(Clone, Copy)]
struct PageRange {
    from: Position,
    direction: ScanDirection,
    limit: usize,
}

/// Reader of relations, and what it does not get to see.
#[derive(Clone, Copy)]
struct RelationReader<'r> {
    sight: &'r UserVisibility,
    /// Ids of the users whom the reader ignores.
    ignored: &'r BTreeSet<String>,
}

impl RelationReader<'_> {
    fn sees(self, at: Position, row: &store::Relation) -> bool {
        self.sight.sees(at) && !self.ignored.contains(&row.sender)
    }
}

/// Relations of a part, as far as they were examined.
#[derive(Default)]
struct FoundRelations {
    positions: Vec<Position>,
    /// Position up to which all relations were examined; `None` if that is all of them.
    stopped: Option<Position>,
}

impl StateView<'_> {
    /// Returns a page of the events that relate to an event, as far as the user may see them; `from` is as in
    /// [`StateView::timeline`].
    ///
    /// # Errors
    /// [`QueryError::EventNotFound`] if the target is not in the room or the user may not see it.
    pub fn relations(
        &self,
        localpart: &str,
        room: RoomNumber,
        which: RelationQuery<'_>,
        from: Position,
        direction: ScanDirection,
        limit: usize,
    ) -> Result<EventPage, QueryError> {
        let sight = self.sight(room, localpart)?;
        if rows::room_of_event(self.rows, which.target)? != Some(room) || !sight.sees(which.target) {
            return Err(QueryError::EventNotFound);
        }
        let part = PageRange { from, direction, limit };
        let ignored = self.users_ignored_by(localpart)?;
        let found = self.relating(room, which, part, RelationReader { sight: &sight, ignored: &ignored })?;
        let room_id = self.room_id(room)?;
        let mut page = EventPage { prev: from, ..EventPage::default() };
        let mut bytes = 0;
        for at in found.positions {
            if page.events.len() >= limit || bytes >= PAGE_BYTES {
                page.next = Some(if direction == ScanDirection::Forward { at.before() } else { at });
                return Ok(page);
            }
            let event = self.in_timeline(self.event_at(room, &room_id, at)?, &sight)?;
            bytes += event.weight();
            page.events.push(event);
        }
        page.next = found.stopped.map(|at| if direction == ScanDirection::Forward { at } else { at.before() });
        Ok(page)
    }

    /// Returns a page like [`StateView::relations`] of the events that relate to an event directly or through others, up
    /// to [`RELATION_DEPTH`] levels deep. Some thousand events are considered at most, the nearest first.
    ///
    /// # Errors
    /// Fails as [`StateView::relations`] does.
    pub fn relations_below(
        &self,
        localpart: &str,
        room: RoomNumber,
        which: RelationQuery<'_>,
        from: Position,
        direction: ScanDirection,
        limit: usize,
    ) -> Result<EventPage, QueryError> {
        let sight = self.sight(room, localpart)?;
        if rows::room_of_event(self.rows, which.target)? != Some(room) || !sight.sees(which.target) {
            return Err(QueryError::EventNotFound);
        }
        let ignored = self.users_ignored_by(localpart)?;
        let below = self.all_below(room, which, RelationReader { sight: &sight, ignored: &ignored })?;
        let room_id = self.room_id(room)?;
        let mut page = EventPage { prev: from, ..EventPage::default() };
        let mut bytes = 0;
        let wanted: Vec<_> = match direction {
            ScanDirection::Forward => below.into_iter().filter(|at| *at > from).collect(),
            ScanDirection::Backward => below.into_iter().rev().filter(|at| *at <= from).collect(),
        };
        for at in wanted {
            if page.events.len() >= limit || bytes >= PAGE_BYTES {
                page.next = Some(if direction == ScanDirection::Forward { at.before() } else { at });
                break;
            }
            let event = self.in_timeline(self.event_at(room, &room_id, at)?, &sight)?;
            bytes += event.weight();
            page.events.push(event);
        }
        Ok(page)
    }

    /// Returns the positions of the selected events below an event.
    fn all_below(
        &self,
        room: RoomNumber,
        which: RelationQuery<'_>,
        reader: RelationReader<'_>,
    ) -> Result<BTreeSet<Position>, QueryError> {
        let mut wanted = BTreeSet::new();
        let mut seen = BTreeSet::from([which.target]);
        let mut level = vec![which.target];
        let mut looked_at = 0;
        for _ in 0..RELATION_DEPTH {
            let mut below = Vec::new();
            for target in level {
                self.is_wanted()?;
                let prefix = key::relations_to(room, target);
                self.rows.scan(&ScanRange::with_prefix(Table::Relation, &prefix), &mut |(key, value)| {
                    looked_at += 1;
                    if seen.len() > MAX_BELOW || looked_at > MAX_LOOKED_AT_BELOW {
                        return Ok(ScanControl::Stop);
                    }
                    let at = rows::position_in(Table::Relation, key)?;
                    let row: store::Relation = table::decode_value(Table::Relation, value)?;
                    let of_type = which.relation_type.is_none_or(|wanted| key::relation_type(key) == Some(wanted))
                        && which.event_type.is_none_or(|wanted| wanted == row.event_type);
                    if reader.sees(at, &row) && seen.insert(at) {
                        below.push(at);
                        if of_type {
                            wanted.insert(at);
                        }
                    }
                    Ok(ScanControl::More)
                })?;
            }
            level = below;
        }
        Ok(wanted)
    }

    /// Returns the positions of the relating events in the given direction.
    fn relating(
        &self,
        room: RoomNumber,
        which: RelationQuery<'_>,
        part: PageRange,
        reader: RelationReader<'_>,
    ) -> Result<FoundRelations, QueryError> {
        if let Some(relation_type) = which.relation_type {
            let prefix = key::relations_of_type(room, which.target, relation_type);
            return self.of_one_type(&prefix, which.event_type, part, reader);
        }
        // Keys are in order of types first, so the run of each type is merged with the others.
        let mut all = FoundRelations::default();
        let target = key::relations_to(room, which.target);
        let mut from = target.clone();
        let end = key::after_prefix(&target);
        for _ in 0..MAX_TYPES {
            self.is_wanted()?;
            let Some(prefix) = self.next_type(&from, &end)? else { break };
            let found = self.of_one_type(&prefix, which.event_type, part, reader)?;
            all.positions.extend(found.positions);
            all.stopped = match (all.stopped, found.stopped, part.direction) {
                (Some(one), Some(other), ScanDirection::Forward) => Some(one.min(other)),
                (Some(one), Some(other), ScanDirection::Backward) => Some(one.max(other)),
                (one, other, _) => one.or(other),
            };
            from = key::after_prefix(&prefix);
        }
        match part.direction {
            ScanDirection::Forward => all.positions.sort_unstable(),
            ScanDirection::Backward => all.positions.sort_unstable_by(|one, other| other.cmp(one)),
        }
        // Beyond the point where one run stopped, events of other runs would come before the ones that it left out.
        all.positions.retain(|at| match (all.stopped, part.direction) {
            (Some(stopped), ScanDirection::Forward) => *at <= stopped,
            (Some(stopped), ScanDirection::Backward) => *at >= stopped,
            (None, _) => true,
        });
        Ok(all)
    }

    /// Returns the prefix of the first type of relation at or after a key.
    fn next_type(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, QueryError> {
        let mut found = None;
        self.rows.scan(&ScanRange::between(Table::Relation, from, end), &mut |(key, _)| {
            let prefix = key.len().checked_sub(POSITION_LEN).and_then(|len| key.get(..len));
            found = prefix.map(<[u8]>::to_vec);
            Ok(ScanControl::Stop)
        })?;
        Ok(found)
    }

    /// Returns the relations of one type, whose keys are in order of positions.
    fn of_one_type(
        &self,
        prefix: &[u8],
        event_type: Option<&str>,
        part: PageRange,
        reader: RelationReader<'_>,
    ) -> Result<FoundRelations, QueryError> {
        let mut found = FoundRelations::default();
        let mut looked_at = 0;
        let (low, high) = match part.direction {
            ScanDirection::Forward => (after_position(prefix, part.from), key::after_prefix(prefix)),
            ScanDirection::Backward => (prefix.to_vec(), after_position(prefix, part.from)),
        };
        let range = ScanRange::between(Table::Relation, &low, &high).in_direction(part.direction);
        self.rows.scan(&range, &mut |(key, value)| {
            let at = rows::position_in(Table::Relation, key)?;
            looked_at += 1;
            let row: store::Relation = table::decode_value(Table::Relation, value)?;
            if reader.sees(at, &row) && event_type.is_none_or(|event_type| event_type == row.event_type) {
                found.positions.push(at);
            }
            // One more than fits shows that there are more.
            if found.positions.len() > part.limit || looked_at >= MAX_LOOKED_AT {
                found.stopped = Some(at);
                return Ok(ScanControl::Stop);
            }
            Ok(ScanControl::More)
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id;
    use crate::testing::{World, world};

    fn pages(world: &World, room: RoomNumber, which: RelationQuery<'_>, direction: ScanDirection) -> Vec<Position> {
        let mut from = if direction == ScanDirection::Forward { Position::ZERO } else { Position::MAX };
        let mut all = Vec::new();
        loop {
            let page = world.view().relations("alice", room, which, from, direction, 2).unwrap();
            assert!(page.events.len() <= 2);
            all.extend(page.events.iter().map(|event| event.position));
            match page.next {
                Some(next) => from = next,
                None => return all,
            }
        }
    }

    #[test]
    fn pages_of_relations_of_any_types_are_one_list_in_the_order_of_the_timeline() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        let target = world.say("alice", &room_id, "target");
        let mut said = Vec::new();
        for n in 0..11 {
            let relation = ["m.annotation", "m.thread", "m.reference"][n % 3];
            let event_id = id::event_id(target);
            let content = format!(r#"{{"m.relates_to":{{"event_id":"{event_id}","rel_type":"{relation}"}},"n":{n}}}"#);
            let envelope = world.event("alice", &room_id, if n == 4 { "other" } else { "t" }, None, &content);
            said.push(crate::testing::position(&world.accepted(envelope)));
        }
        let all = RelationQuery { target, relation_type: None, event_type: None };
        assert_eq!(pages(&world, room, all, ScanDirection::Forward), said);
        let backward: Vec<_> = said.iter().rev().copied().collect();
        assert_eq!(pages(&world, room, all, ScanDirection::Backward), backward);
        let threads = RelationQuery { relation_type: Some("m.thread"), ..all };
        let expected: Vec<_> = said.iter().skip(1).step_by(3).copied().collect();
        assert_eq!(pages(&world, room, threads, ScanDirection::Forward), expected);
        let of_type = RelationQuery { event_type: Some("other"), ..all };
        assert_eq!(pages(&world, room, of_type, ScanDirection::Backward), [said[4]]);
    }
}
