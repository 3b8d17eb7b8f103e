//! State of a room, at present and at any position of its timeline.

use super::{QueryError, RoomEvent, StateView};
use crate::id::{Position, RoomNumber};
use crate::rows::{self, event_type};
use crate::table::{ScanControl, ScanRange, Table, key};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of versions of one (type, state key) that are walked over before the one in effect is looked up. Most
/// state has one version, and a topic that was changed ten thousand times costs no more than this.
const MAX_WALKED: usize = 16;
/// Maximum number of changes of state that are read one by one; beyond it, all state is read instead.
const MAX_CHANGES: usize = 4096;
/// Limits on the state events of one part, and on their bytes: a frame or two of a connection, and a millisecond of a
/// read's time.
const PART_EVENTS: usize = 512;
const PART_BYTES: usize = 128 << 10;

/// Position of a version of each (type, state key), in order of those.
pub(super) type StateVersions = BTreeMap<StateName, Position>;

/// Type and state key of a piece of state.
type StateName = (String, String);

/// Versions in order of their keys, and the key from which the others continue.
type SomeVersions = (Vec<(StateName, Position)>, Option<Vec<u8>>);

impl StateView<'_> {
    /// Returns all state, at present or after the event at a position.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room.
    pub fn state(&self, room: RoomNumber, at: Option<Position>) -> Result<Vec<RoomEvent>, QueryError> {
        let versions = self.versions(room, &key::room_key(room), at.unwrap_or(Position::MAX))?;
        self.events(room, &self.room_id(room)?, versions.into_values())
    }

    /// Returns one piece of state, at present or after the event at a position.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room.
    pub fn state_event(
        &self,
        room: RoomNumber,
        event_type: &str,
        state_key: &str,
        at: Option<Position>,
    ) -> Result<Option<RoomEvent>, QueryError> {
        let at = at.unwrap_or(Position::MAX);
        match rows::state_version(self.rows, room, event_type, state_key, at)? {
            Some(version) => self.event_at(room, &self.room_id(room)?, version).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the events at these positions.
    pub(super) fn events(
        &self,
        room: RoomNumber,
        room_id: &str,
        positions: impl Iterator<Item = Position>,
    ) -> Result<Vec<RoomEvent>, QueryError> {
        positions.map(|at| self.event_at(room, room_id, at)).collect()
    }

    /// Returns the versions that are in effect at `at`, among the keys with this prefix.
    pub(super) fn versions(&self, room: RoomNumber, prefix: &[u8], at: Position) -> Result<StateVersions, QueryError> {
        let all = self.some_versions(room, prefix.to_vec(), &key::after_prefix(prefix), at, usize::MAX)?.0;
        Ok(all.into_iter().collect())
    }

    /// Returns the versions of at most `at_most` pairs of type and state key, beginning at a key and in order of keys,
    /// and the key from which the others continue.
    fn some_versions(
        &self,
        room: RoomNumber,
        mut from: Vec<u8>,
        end: &[u8],
        at: Position,
        at_most: usize,
    ) -> Result<SomeVersions, QueryError> {
        let mut out = Vec::<(StateName, Position)>::new();
        let mut looked_at = 0;
        let mut next = None;
        let mut current: Option<StateName> = None;
        loop {
            self.is_wanted()?;
            let mut long = None;
            let mut run = 0;
            self.rows.scan(&ScanRange::between(Table::StateVersion, &from, end), &mut |(key, _)| {
                let Some((_, event_type, state_key, version)) = key::parse_state_version(key) else {
                    return Ok(ScanControl::More);
                };
                if current.as_ref().is_none_or(|(t, k)| t != event_type || k != state_key) {
                    if looked_at >= at_most {
                        next = Some(key::state_prefix(room, event_type, state_key));
                        return Ok(ScanControl::Stop);
                    }
                    (looked_at, run) = (looked_at + 1, 0);
                    current = Some((event_type.to_owned(), state_key.to_owned()));
                }
                run += 1;
                if run > MAX_WALKED {
                    long.clone_from(&current);
                    return Ok(ScanControl::Stop);
                }
                if version <= at {
                    note_version(&mut out, current.as_ref(), version);
                }
                Ok(ScanControl::More)
            })?;
            let Some((event_type, state_key)) = long else { return Ok((out, next)) };
            if let Some(version) = rows::state_version(self.rows, room, &event_type, &state_key, at)? {
                note_version(&mut out, current.as_ref(), version);
            }
            from = key::after_prefix(&key::state_prefix(room, &event_type, &state_key));
        }
    }

    /// Returns the versions of a part of the state that has no other members than these, beginning at a key. However many
    /// members the room has, only these are looked up.
    fn versions_with_members(
        &self,
        room: RoomNumber,
        from: Vec<u8>,
        at: Position,
        only: &BTreeSet<String>,
    ) -> Result<SomeVersions, QueryError> {
        let members = key::state_of_type(room, event_type::MEMBER);
        let after_members = key::after_prefix(&members);
        let mut found = Vec::new();
        if from < members {
            let (versions, next) = self.some_versions(room, from.clone(), &members, at, PART_EVENTS)?;
            if next.is_some() {
                return Ok((versions, next));
            }
            found = versions;
        }
        let mut wanted: Vec<_> =
            only.iter().map(|user| (key::state_prefix(room, event_type::MEMBER, user), user)).collect();
        // The order of keys, which is not that of user ids, so that a part can end between two of them.
        wanted.sort_unstable();
        for (key, user) in wanted {
            let version =
                if key < from { None } else { rows::state_version(self.rows, room, event_type::MEMBER, user, at)? };
            found.extend(version.map(|version| ((event_type::MEMBER.to_owned(), user.clone()), version)));
        }
        let rest = from.max(after_members);
        if found.len() >= PART_EVENTS {
            return Ok((found, Some(rest)));
        }
        let (versions, next) =
            self.some_versions(room, rest, &key::after_prefix(&key::room_key(room)), at, PART_EVENTS)?;
        found.extend(versions);
        Ok((found, next))
    }

    /// Returns a part of a room's state at a position, continuing after an earlier part. Parts of the same scope and
    /// position make up the state at that position, however much happens between them.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room.
    pub fn state_part(
        &self,
        room: RoomNumber,
        scope: &StateScope,
        at: Position,
        from: Option<&StateCursor>,
    ) -> Result<StatePart, QueryError> {
        let prefix = match scope {
            StateScope::All | StateScope::WithMembers(_) => key::room_key(room),
            StateScope::Members => key::state_of_type(room, event_type::MEMBER),
            StateScope::SpaceChildren => key::state_of_type(room, event_type::SPACE_CHILD),
        };
        let start = from.map_or_else(|| prefix.clone(), |cursor| cursor.0.clone());
        let (versions, mut next) = match scope {
            StateScope::All | StateScope::Members | StateScope::SpaceChildren => {
                self.some_versions(room, start, &key::after_prefix(&prefix), at, PART_EVENTS)?
            }
            StateScope::WithMembers(only) => self.versions_with_members(room, start, at, only)?,
        };
        let room_id = self.room_id(room)?;
        let mut events = Vec::new();
        let mut bytes = 0;
        for ((event_type, state_key), version) in versions {
            if bytes >= PART_BYTES {
                next = Some(key::state_prefix(room, &event_type, &state_key));
                break;
            }
            let event = self.event_at(room, &room_id, version)?;
            bytes += event.weight();
            events.push(event);
        }
        Ok(StatePart { events, next: next.map(StateCursor) })
    }

    /// Returns the versions in effect at `to` of everything that changed after `from`. If very much changed, returns
    /// those of all state, which tell the same and more.
    pub(super) fn changed_versions(
        &self,
        room: RoomNumber,
        from: Position,
        to: Position,
    ) -> Result<StateVersions, QueryError> {
        let mut changed = Vec::new();
        let low = key_after(room, from);
        let high = key_after(room, to);
        self.rows.scan(&ScanRange::between(Table::StateChange, &low, &high), &mut |(key, _)| {
            changed.push(rows::position_in(Table::StateChange, key)?);
            Ok(if changed.len() <= MAX_CHANGES { ScanControl::More } else { ScanControl::Stop })
        })?;
        if changed.len() > MAX_CHANGES {
            return self.versions(room, &key::room_key(room), to);
        }
        let mut out = StateVersions::new();
        for at in changed {
            let row = rows::known_event(self.rows, room, at)?;
            out.insert((row.r#type, row.state_key.unwrap_or_default()), at);
        }
        Ok(out)
    }
}

/// Scope of what is wanted of a room's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateScope {
    /// All of it.
    All,
    /// The member events.
    Members,
    /// The `m.space.child` events.
    SpaceChildren,
    /// All but the member events, and those of the users with these ids.
    WithMembers(Arc<BTreeSet<String>>),
}

/// Cursor at the end of a part of a room's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCursor(Vec<u8>);

/// Part of a room's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatePart {
    /// Events in order of their keys, which compare the lengths of types and state keys first.
    pub events: Vec<RoomEvent>,
    /// Cursor from which the next part continues; `None` after the last part.
    pub next: Option<StateCursor>,
}

/// Adds a version. Versions of one name come in order, so that the last one stays.
fn note_version(found: &mut Vec<(StateName, Position)>, name: Option<&StateName>, version: Position) {
    let Some(name) = name else { return };
    match found.last_mut().filter(|(last, _)| last == name) {
        Some((_, at)) => *at = version,
        None => found.push((name.clone(), version)),
    }
}

/// Returns the smallest key after `at` among a room's rows by position.
pub(super) fn key_after(room: RoomNumber, at: Position) -> Vec<u8> {
    after_position(&key::room_key(room), at)
}

/// Returns the smallest key after a prefix and a position.
pub(super) fn after_position(prefix: &[u8], at: Position) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.extend_from_slice(&at.to_bytes());
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::log::set_membership::Change;
    use crate::query::{FeedScope, PAGE_BYTES, SyncFilter, SyncRequest};
    use crate::testing::{World, world};

    #[test]
    fn parts_of_a_large_state_make_the_state_of_their_position_whatever_happens_between_them() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        for n in 0..PART_EVENTS + 20 {
            let envelope = world.event("alice", &room_id, "t", Some(&format!("{n:04}")), r#"{"n":1}"#);
            world.accepted(envelope);
        }
        // A longer type, which comes first in alphabetical order.
        let envelope = world.event("alice", &room_id, "a.long.type", Some(""), "{}");
        world.accepted(envelope);
        let (at, mut whole) = (world.view().now(), world.view().state(room, None).unwrap());
        let (mut given, mut from, mut parts) = (Vec::new(), None, 0);
        loop {
            let part = world.view().state_part(room, &StateScope::All, at, from.as_ref()).unwrap();
            given.extend(part.events);
            parts += 1;
            let envelope = world.event("alice", &room_id, "t", Some("0003"), r#"{"n":2}"#);
            world.accepted(envelope);
            let Some(next) = part.next else { break };
            from = Some(next);
        }
        given.sort_by_key(|event| event.position);
        whole.sort_by_key(|event| event.position);
        assert_eq!(given, whole);
        assert!(parts >= 2);
        let members = world.view().state_part(room, &StateScope::Members, at, None).unwrap();
        assert_eq!((members.events.len(), members.next), (1, None));
    }

    #[test]
    fn parts_with_some_members_make_the_state_without_the_others() {
        let mut world = world(&["alice", "bob", "carol", "dave"]);
        let (room, room_id) = world.public_room("alice");
        for user in ["bob", "carol", "dave"] {
            world.moved(user, &room_id, Change::Join, "");
        }
        let long = "x".repeat(60_000);
        // Types before and after that of members in the order of keys, which compare lengths first.
        for (event_type, count) in [("u", PART_EVENTS + 1), ("t", 5), ("a.type.longer.than.that.of.members", 5)] {
            for n in 0..count {
                let content = if count == 5 { format!(r#"{{"x":"{long}"}}"#) } else { "{}".to_owned() };
                let envelope = world.event("alice", &room_id, event_type, Some(&n.to_string()), &content);
                world.accepted(envelope);
            }
        }
        let only: BTreeSet<_> = ["@bob:a.org", "@dave:a.org", "@nobody:a.org"].map(String::from).into();
        let scope = StateScope::WithMembers(Arc::new(only.clone()));
        let view = world.view();
        let mut expected = view.state(room, None).unwrap();
        expected.retain(|event| {
            event.event_type != event_type::MEMBER || event.state_key.as_ref().is_some_and(|user| only.contains(user))
        });
        let (mut given, mut from, mut parts) = (Vec::new(), None, 0);
        loop {
            let part = view.state_part(room, &scope, view.now(), from.as_ref()).unwrap();
            assert!(part.events.iter().map(RoomEvent::weight).sum::<usize>() < PART_BYTES + 70_000);
            given.extend(part.events);
            parts += 1;
            let Some(next) = part.next else { break };
            from = Some(next);
        }
        given.sort_by_key(|event| event.position);
        expected.sort_by_key(|event| event.position);
        assert_eq!(given, expected);
        assert_eq!(given.iter().filter(|event| event.event_type == event_type::MEMBER).count(), 2);
        assert!(parts > 3, "{parts}");
    }

    #[test]
    fn state_that_changed_often_is_found_at_every_position_without_a_walk() {
        let mut world = world(&["alice"]);
        let (room, room_id) = world.public_room("alice");
        let topics: Vec<_> = (0..MAX_WALKED * 3)
            .map(|n| world.set("alice", &room_id, "m.room.topic", &format!(r#"{{"topic":"{n}"}}"#)))
            .collect();
        world.set("alice", &room_id, "m.room.z", "{}");
        for (n, at) in topics.iter().enumerate() {
            let state = world.view().state(room, Some(*at)).unwrap();
            let topic = state.iter().find(|event| event.event_type == "m.room.topic").unwrap();
            assert_eq!((topic.position, &topic.content[..]), (*at, format!(r#"{{"topic":"{n}"}}"#).as_bytes()));
        }
        let now = world.view().state(room, None).unwrap();
        assert!(now.iter().any(|event| event.event_type == "m.room.z"), "what comes after it is not lost");
    }

    fn large_messages(world: &mut World, room_id: &str, count: usize) {
        let content = format!(r#"{{"body":"{}"}}"#, "x".repeat(60_000));
        for _ in 0..count {
            let envelope = world.event("alice", room_id, "m.room.message", None, &content);
            world.accepted(envelope);
        }
    }

    #[test]
    fn answers_are_bounded_in_bytes_and_lead_on_without_a_gap() {
        let mut world = world(&["alice"]);
        let (_, room_id) = world.public_room("alice");
        let since = world.view().now();
        large_messages(&mut world, &room_id, 50);
        let (mut after, mut pages, mut events) = (since, 0, 0);
        loop {
            let feed = world.view().events_after("alice", FeedScope::Joined, after, 512).unwrap();
            assert!(feed.events.iter().map(RoomEvent::weight).sum::<usize>() < PAGE_BYTES + 70_000);
            (after, pages, events) = (feed.next, pages + 1, events + feed.events.len());
            if !feed.more {
                break;
            }
        }
        assert_eq!((events, after, pages), (50, world.view().now(), 3));
        let mut filter = SyncFilter::default();
        filter.timeline.limit = Some(1000);
        let request = SyncRequest { localpart: "alice", since: Some(since), full_state: false, filter: &filter };
        let timeline = world.view().sync(&request).unwrap().join.remove(0).timeline;
        assert!(timeline.limited && timeline.events.iter().map(RoomEvent::weight).sum::<usize>() < PAGE_BYTES + 70_000);
    }
}
