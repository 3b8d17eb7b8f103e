//! Additions of later events to an event: its latest edit, its thread, and references to it.
//! Source: Matrix specification, "Aggregations of child events".

use super::{PAGE_BYTES, QueryError, RoomEvent, StateView};
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::relates::{RelatesTo, relation_type};
use crate::rows::{self, event_type};
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, key};
use crate::visibility::UserVisibility;
use serde_json::Value;
use std::collections::BTreeSet;

/// Maximum number of replacements that are examined for the latest valid one: others may claim to replace an event, and
/// a reader should not pay for a thousand of such claims.
const MAX_EDITS: usize = 64;
/// Maximum number of edits by the sender that are read for one that says what the new content is: nobody but a sender who
/// makes mischief leaves it out, and each may be as large as an event.
const MAX_EDITS_READ: usize = 8;
/// Maximum number of references that are listed. Verifications of keys, which use them, need some ten; all of them can
/// be read as relations.
const MAX_REFERENCES: usize = 100;
/// Maximum number of events of a thread that are examined for a reader who may see, or wants to see, only some of them.
const MAX_THREAD: usize = 4096;

/// Additions of later events to an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventAggregations {
    /// Latest valid replacement of the event's content (`m.replace`).
    pub replacement: Option<RoomEvent>,
    /// Thread that the event is the root of.
    pub thread: Option<ThreadAggregation>,
    /// Ids of the events that refer to the event (`m.reference`), oldest first.
    pub references: Vec<String>,
}

/// Thread in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadAggregation {
    /// Newest event of the thread.
    pub latest: RoomEvent,
    /// Number of events of the thread.
    pub count: u64,
    /// `true` if the reader wrote the root, or something in the thread.
    pub participated: bool,
}

impl EventAggregations {
    /// Returns the approximate number of bytes on the way to a client.
    pub(super) fn weight(&self) -> usize {
        let latest = self.thread.as_ref().map_or(0, |thread| thread.latest.weight());
        let replacement = self.replacement.as_ref().map_or(0, RoomEvent::weight);
        latest + replacement + self.references.iter().map(String::len).sum::<usize>()
    }

    fn is_empty(&self) -> bool {
        self.replacement.is_none() && self.thread.is_none() && self.references.is_empty()
    }
}

/// Reader whom events of one room are completed for.
pub(super) struct AggregationReader<'r> {
    view: &'r StateView<'r>,
    room: RoomNumber,
    room_id: String,
    sight: &'r UserVisibility,
    localpart: &'r str,
    user_id: String,
    ignored: BTreeSet<String>,
}

/// Events of a thread as a reader sees them.
#[derive(Default)]
struct SeenThread {
    /// Newest event of the thread, seen or not.
    newest: Option<Position>,
    /// Newest event that is shown.
    latest: Option<Position>,
    count: u64,
}

impl StateView<'_> {
    /// Adds to events of one room what later events add to them, and returns the number of events that were completed
    /// before that became too many bytes: the caller leaves the others to another page.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn add_aggregations(
        &self,
        localpart: &str,
        room: RoomNumber,
        events: &mut [RoomEvent],
    ) -> Result<usize, QueryError> {
        self.aggregate_for(localpart, room, &self.sight(room, localpart)?, events)
    }

    pub(super) fn aggregate_for(
        &self,
        localpart: &str,
        room: RoomNumber,
        sight: &UserVisibility,
        events: &mut [RoomEvent],
    ) -> Result<usize, QueryError> {
        let reader = AggregationReader::open(self, localpart, room, sight)?;
        let mut bytes = 0;
        for (place, event) in events.iter_mut().enumerate() {
            if bytes >= PAGE_BYTES {
                return Ok(place);
            }
            self.is_wanted()?;
            event.aggregations = reader.aggregations_of(event)?;
            bytes += event.aggregations.as_ref().map_or(0, |added| added.weight());
        }
        Ok(events.len())
    }
}

impl<'r> AggregationReader<'r> {
    pub(super) fn open(
        view: &'r StateView<'r>,
        localpart: &'r str,
        room: RoomNumber,
        sight: &'r UserVisibility,
    ) -> Result<Self, QueryError> {
        let room_id = view.room_id(room)?;
        let user_id = id::user_id(localpart, view.server_name());
        Ok(Self { view, room, room_id, sight, localpart, user_id, ignored: view.users_ignored_by(localpart)? })
    }

    pub(super) fn ignores(&self, user_id: &str) -> bool {
        self.ignored.contains(user_id)
    }

    /// Returns what later events add to this one; `None` if nothing does.
    pub(super) fn aggregations_of(&self, event: &RoomEvent) -> Result<Option<Box<EventAggregations>>, QueryError> {
        let own = RelatesTo::of(&event.content).map(|relation| relation.relation_type);
        // State gets no aggregations, and neither do edits and reactions (specification, same section).
        let may_have = !matches!(own.as_deref(), Some(relation_type::ANNOTATION | relation_type::REPLACE));
        if event.state_key.is_some() || !may_have || !self.has_relations(event.position)? {
            return Ok(None);
        }
        let thread = if own.is_none() { self.thread_of(event)? } else { None };
        let replacement = self.replacement_of(event)?;
        let found = EventAggregations { replacement, thread, references: self.references_to(event.position)? };
        Ok(Some(Box::new(found)).filter(|found| !found.is_empty()))
    }

    fn has_relations(&self, target: Position) -> Result<bool, ReadError> {
        let mut any = false;
        let prefix = key::relations_to(self.room, target);
        self.view.rows.scan(&ScanRange::with_prefix(Table::Relation, &prefix), &mut |_| {
            any = true;
            Ok(ScanControl::Stop)
        })?;
        Ok(any)
    }

    /// Visits the relations of one type to an event, newest first or oldest first.
    fn each_relation(
        &self,
        target: Position,
        relation_type: &str,
        backward: bool,
        visit: &mut dyn FnMut(Position, store::Relation) -> ScanControl,
    ) -> Result<(), ReadError> {
        let prefix = key::relations_of_type(self.room, target, relation_type);
        let range = ScanRange::with_prefix(Table::Relation, &prefix);
        let range = if backward { range.backward() } else { range };
        self.view.rows.scan(&range, &mut |(key, value)| {
            let row = table::decode_value(Table::Relation, value)?;
            Ok(visit(rows::position_in(Table::Relation, key)?, row))
        })
    }

    /// Returns the latest edit that is valid (specification, "Validity of replacement events").
    fn replacement_of(&self, event: &RoomEvent) -> Result<Option<RoomEvent>, QueryError> {
        if event.redacted_by.is_some() {
            return Ok(None);
        }
        let mut edits = Vec::new();
        let mut looked_at = 0;
        self.each_relation(event.position, relation_type::REPLACE, true, &mut |at, row| {
            looked_at += 1;
            if row.sender == event.sender && row.event_type == event.event_type && self.sight.sees(at) {
                edits.push(at);
            }
            let enough = looked_at >= MAX_EDITS || edits.len() >= MAX_EDITS_READ;
            if enough { ScanControl::Stop } else { ScanControl::More }
        })?;
        for at in edits {
            let edit = self.view.event_at(self.room, &self.room_id, at)?;
            if has_new_content(&edit) && !self.view.is_erased(&edit.sender, at, self.sight)? {
                return Ok(Some(self.view.in_timeline(edit, self.sight)?));
            }
        }
        Ok(None)
    }

    fn references_to(&self, target: Position) -> Result<Vec<String>, ReadError> {
        let mut found = Vec::new();
        let mut looked_at = 0;
        self.each_relation(target, relation_type::REFERENCE, false, &mut |at, row| {
            looked_at += 1;
            if self.sight.sees(at) && !self.ignores(&row.sender) {
                found.push(id::event_id(at));
            }
            if looked_at >= MAX_REFERENCES { ScanControl::Stop } else { ScanControl::More }
        })?;
        Ok(found)
    }

    fn thread_of(&self, root: &RoomEvent) -> Result<Option<ThreadAggregation>, QueryError> {
        let seen = self.seen_thread(root.position)?;
        let Some(latest) = seen.latest else { return Ok(None) };
        let mut latest = self.view.in_timeline(self.view.event_at(self.room, &self.room_id, latest)?, self.sight)?;
        let replacement = self.replacement_of(&latest)?;
        let added = EventAggregations { replacement, thread: None, references: self.references_to(latest.position)? };
        latest.aggregations = Some(Box::new(added)).filter(|added| !added.is_empty());
        let participated = self.participates(root.position, &root.sender)?;
        Ok(Some(ThreadAggregation { latest, count: seen.count, participated }))
    }

    /// Returns `true` if the reader wrote the root of a thread, or something in it.
    pub(super) fn participates(&self, root: Position, root_sender: &str) -> Result<bool, ReadError> {
        Ok(root_sender == self.user_id || self.events_by(root, self.localpart)? > 0)
    }

    /// Returns the number of events that a user wrote in a thread.
    fn events_by(&self, root: Position, localpart: &str) -> Result<u64, ReadError> {
        let key = key::thread_author(self.room, root, localpart);
        let row = table::fetch_row::<store::Aggregate>(self.view.rows, Table::Aggregate, &key)?;
        Ok(row.unwrap_or_default().events)
    }

    /// Returns what the reader may see of a thread. For a reader who has been in the room all the while, everything is
    /// counted already.
    fn seen_thread(&self, root: Position) -> Result<SeenThread, QueryError> {
        let counted = self.sight.stays_since(root);
        let mut seen = SeenThread::default();
        let mut looked_at = 0;
        self.each_relation(root, relation_type::THREAD, true, &mut |at, row| {
            looked_at += 1;
            seen.newest.get_or_insert(at);
            if self.sight.sees(at) && !self.ignores(&row.sender) {
                seen.latest.get_or_insert(at);
                seen.count += 1;
            }
            let enough = looked_at >= MAX_THREAD || (counted && seen.latest.is_some());
            if enough { ScanControl::Stop } else { ScanControl::More }
        })?;
        if let Some(newest) = seen.newest.filter(|_| counted) {
            seen.count = self.counted_events(root, newest)?;
        }
        Ok(seen)
    }

    /// Returns the number of events of a thread, except for those of ignored users.
    fn counted_events(&self, root: Position, newest: Position) -> Result<u64, QueryError> {
        let key = key::thread_newest(self.room, newest);
        let row = table::fetch_row::<store::Aggregate>(self.view.rows, Table::Aggregate, &key)?;
        let mut count = row.unwrap_or_default().events;
        for user in &self.ignored {
            if let Some(localpart) = id::user_localpart(user, self.view.server_name()) {
                count = count.saturating_sub(self.events_by(root, localpart)?);
            }
        }
        Ok(count)
    }
}

/// Returns `true` if an edit says what the new content is. That of an encrypted event is encrypted with the rest.
fn has_new_content(edit: &RoomEvent) -> bool {
    edit.event_type == event_type::ENCRYPTED
        || json::stored_object(&edit.content).get("m.new_content").is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests;
