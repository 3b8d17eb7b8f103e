//! Events of a room that a member has not read, as material for push rules, which are judged outside of the core.
//!
//! How far the member has read ([`ReadPoints`]) → the events after that, newest first, each with its thread → what a rule
//! may want to know of the sender.
//! Source: Matrix specification, "Receiving notifications", "Marking notifications as read".

use super::state::key_after;
use super::{QueryError, RoomEvent, StateView};
use crate::id::{self, Position, RoomNumber};
use crate::json;
use crate::proto::store;
use crate::proto::store::membership::Kind;
use crate::receipt::{MAIN_TIMELINE, ReadReceipt};
use crate::relates::{RelatesTo, relation_type};
use crate::rows::{self, event_type};
use crate::table::{self, ReadError, ScanControl, ScanRange, Table};
use serde_json::Value;
use std::collections::BTreeMap;

/// Maximum number of relations that are followed from an event to its thread, as the specification recommends.
const MAX_HOPS: usize = 3;

/// Power that an `@room` notification needs where the room says nothing else (specification, `m.room.power_levels`).
const DEFAULT_NEEDED: i64 = 50;

/// Positions up to which a member has read a room: by receipts, public and private.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadPoints {
    /// Position up to which everything is read, whatever its thread; at least the member's join.
    all: Position,
    /// Position up to which the events in no thread are read.
    main: Position,
    /// Position up to which a thread is read, by its root.
    threads: BTreeMap<Position, Position>,
}

impl ReadPoints {
    /// Returns `true` if an event of a thread, or of none, is read.
    #[must_use]
    pub fn has_read(&self, thread: Option<Position>, at: Position) -> bool {
        let of_thread = match thread {
            None => self.main,
            Some(root) => self.threads.get(&root).copied().unwrap_or_default(),
        };
        at <= self.all.max(of_thread)
    }

    /// Notes that a thread, or what is in none, is read up to an event.
    pub fn note(&mut self, thread: Option<Position>, at: Position) {
        let place = match thread {
            None => &mut self.main,
            Some(root) => self.threads.entry(root).or_default(),
        };
        *place = at.max(*place);
    }

    /// Returns the number of threads that are read for themselves.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.threads.len()
    }

    fn note_receipt(&mut self, receipt: &ReadReceipt) {
        match receipt.thread_id.as_str() {
            "" => self.all = self.all.max(receipt.event),
            MAIN_TIMELINE => self.note(None, receipt.event),
            root => {
                if let Some(root) = id::parse_event_id(root) {
                    self.note(Some(root), receipt.event);
                }
            }
        }
    }
}

/// Room as one of its members reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberReading {
    /// Number of the room.
    pub room: RoomNumber,
    /// Identifier of the room (`!…:server`).
    pub room_id: String,
    /// Positions up to which the member has read.
    pub points: ReadPoints,
    /// Number of joined members.
    pub joined_members: u64,
    /// Position of the newest event that was removed with the room's history.
    pub purged_to: Position,
}

/// Event that a member may be notified of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadEvent {
    /// The event itself.
    pub event: RoomEvent,
    /// Root of the event's thread; `None` for what is in no thread.
    pub thread: Option<Position>,
}

/// Findings of a walk through unread events, besides the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadWalk {
    /// Newest event that the member sent, by thread. Whoever writes has read what was written before.
    pub sent: BTreeMap<Option<Position>, Position>,
    /// `true` if there was a redaction: an event before the walk may not count any more.
    pub redacted: bool,
    /// `true` if there were more events than the walk was to examine.
    pub cut: bool,
    /// Number of events examined.
    pub examined: usize,
}

/// Power of a sender in a room, for rules that ask whether it suffices to notify everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationPower {
    /// Power level of the sender; the greatest of all if it is unlimited.
    pub sender: i64,
    /// Power level that an `@room` notification needs.
    pub needed: i64,
}

impl StateView<'_> {
    /// Returns a room as a member reads it; `None` for a user who is not joined.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn member_reading(&self, localpart: &str, room: RoomNumber) -> Result<Option<MemberReading>, QueryError> {
        let membership = self.membership_in(localpart, room)?;
        let Some(joined_since) = membership.joined_since.filter(|_| membership.kind == Kind::Join) else {
            return Ok(None);
        };
        let row = self.room_row(room)?;
        let mut points = ReadPoints { all: joined_since, ..ReadPoints::default() };
        for receipt in self.own_receipts(room, localpart, None)? {
            points.note_receipt(&receipt);
        }
        Ok(Some(MemberReading {
            room,
            room_id: self.id_of(&row)?,
            points,
            joined_members: row.joined_members,
            purged_to: table::decode_position(Table::Room, &row.purged_to)?.unwrap_or_default(),
        }))
    }

    /// Visits the events after `after` that a member has not read and did not send, newest first. Redacted events are
    /// left out: they notify nobody.
    ///
    /// # Errors
    /// Fails if the state cannot be read, or as the visitor does; [`QueryError::Stopped`] if nobody waits any more.
    pub fn walk_unread(
        &self,
        localpart: &str,
        reading: &MemberReading,
        after: Position,
        at_most: usize,
        visit: &mut dyn FnMut(UnreadEvent) -> Result<(), ReadError>,
    ) -> Result<UnreadWalk, QueryError> {
        let MemberReading { room, room_id, .. } = reading;
        let own = id::user_id(localpart, self.server_name());
        let mut points = reading.points.clone();
        let mut walk = UnreadWalk::default();
        let mut wanted = Ok(());
        let low = key_after(*room, after.max(points.all));
        let high = key_after(*room, self.now());
        self.rows.scan(&ScanRange::between(Table::Timeline, &low, &high).backward(), &mut |(key, value)| {
            if walk.examined >= at_most {
                walk.cut = true;
                return Ok(ScanControl::Stop);
            }
            // Rules may take a millisecond for an event: nobody waits for a thousand of them in vain.
            wanted = self.is_wanted();
            if wanted.is_err() {
                return Ok(ScanControl::Stop);
            }
            walk.examined += 1;
            let at = rows::position_in(Table::Timeline, key)?;
            let row: store::Event = table::decode_value(Table::Timeline, value)?;
            // Also one of the member's own: what it emptied may have counted before.
            walk.redacted |= row.r#type == event_type::REDACTION;
            if row.sender == own {
                // A change of profile makes member events in all rooms, and says nothing about what was read there.
                if row.r#type != event_type::MEMBER {
                    let thread = self.thread_of(*room, &row.content)?;
                    walk.sent.entry(thread).or_insert(at);
                    points.note(thread, at);
                }
                return Ok(ScanControl::More);
            }
            if row.redacted_by.is_empty() {
                let thread = self.thread_of(*room, &row.content)?;
                if !points.has_read(thread, at) {
                    visit(UnreadEvent { event: self.render(*room, room_id, at, row)?, thread })?;
                }
            }
            Ok(ScanControl::More)
        })?;
        wanted.map(|()| walk)
    }

    /// Returns the root of the thread that an event with this content belongs to.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn thread_of(&self, room: RoomNumber, content: &[u8]) -> Result<Option<Position>, ReadError> {
        let mut relation = RelatesTo::of(content);
        for _ in 0..MAX_HOPS {
            let Some(named) = relation else { return Ok(None) };
            let Some(target) = id::parse_event_id(&named.event_id) else { return Ok(None) };
            if named.relation_type == relation_type::THREAD {
                return Ok(Some(target));
            }
            relation = rows::event_row(self.rows, room, target)?.and_then(|row| RelatesTo::of(&row.content));
        }
        Ok(None)
    }

    /// Returns the power of a sender to notify everybody in a room, as it was at a position.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn notification_power(
        &self,
        room: RoomNumber,
        sender: &str,
        at: Position,
    ) -> Result<NotificationPower, ReadError> {
        let levels = rows::state_event(self.rows, room, event_type::POWER_LEVELS, "", at)?;
        let levels = levels.map(|(_, row)| json::stored_object(&row.content)).unwrap_or_default();
        let of_user = levels.get("users").and_then(|users| users.get(sender));
        let level = of_user.or_else(|| levels.get("users_default")).and_then(Value::as_i64).unwrap_or_default();
        let needed = levels.get("notifications").and_then(|keys| keys.get("room")).and_then(Value::as_i64);
        Ok(NotificationPower {
            sender: if self.is_creator(room, sender)? { i64::MAX } else { level },
            needed: needed.unwrap_or(DEFAULT_NEEDED),
        })
    }

    /// Returns `true` if the user has unlimited power in the room.
    fn is_creator(&self, room: RoomNumber, user_id: &str) -> Result<bool, ReadError> {
        let Some(localpart) = id::user_localpart(user_id, self.server_name()) else { return Ok(false) };
        let levels = rows::room_row(self.rows, room)?.and_then(|row| row.levels);
        Ok(levels.is_some_and(|levels| levels.creators.iter().any(|creator| creator == localpart)))
    }

    /// Returns the display name of a user in a room; empty if there is none.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn member_name(&self, room: RoomNumber, localpart: &str) -> Result<String, ReadError> {
        let user_id = id::user_id(localpart, self.server_name());
        let member = rows::state_event(self.rows, room, event_type::MEMBER, &user_id, Position::MAX)?;
        let content = member.map(|(_, row)| json::stored_object(&row.content)).unwrap_or_default();
        Ok(json::string_field(&content, "displayname").unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests;
