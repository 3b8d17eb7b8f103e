//! What the sender of notifications asks of the state: how far it came, what waits, and which events are new to whom.

use super::state::after_position;
use super::{MemberReading, QueryError, ReadPoints, RoomEvent, StateView};
use crate::entry_events::EventRuns;
use crate::id::{Position, RoomNumber};
use crate::proto::store;
use crate::rows;
use crate::table::{self, ReadError, ScanControl, ScanRange, Table, key};
use std::collections::{BTreeMap, BTreeSet};

/// Progress of what is sent to pushers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushProgress {
    /// Position of the last command that added, changed or removed a pusher; `None` if there never was one.
    pub pushers_changed: Option<Position>,
    /// Position up to which all events were examined.
    pub examined: Option<Position>,
}

/// Notification that waits for its gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingItem {
    /// Localpart of the user.
    pub localpart: String,
    /// Id of the pusher's app.
    pub app_id: String,
    /// Id of the app's installation.
    pub pushkey: String,
    /// Position of the event.
    pub at: Position,
    /// Room of the event.
    pub room: RoomNumber,
}

/// Part of the events of all rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsPart {
    /// Positions and rooms of the events, in order.
    pub events: Vec<(Position, RoomNumber)>,
    /// Position up to which there are no others.
    pub until: Position,
    /// `true` if there are more events after that.
    pub more: bool,
}

impl StateView<'_> {
    /// Returns the progress of what is sent to pushers.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn push_progress(&self) -> Result<PushProgress, QueryError> {
        let row = table::fetch_row::<store::PushState>(self.rows, Table::Meta, key::PUSH_STATE)?.unwrap_or_default();
        Ok(PushProgress {
            pushers_changed: table::decode_position(Table::Meta, &row.pushers_changed)?,
            examined: table::decode_position(Table::Meta, &row.examined)?,
        })
    }

    /// Returns notifications that wait for their gateways, after one of them, and at most `limit`: pusher by pusher, and
    /// those of each in the order of the events.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn waiting_pushes(&self, after: Option<&WaitingItem>, limit: usize) -> Result<Vec<WaitingItem>, QueryError> {
        let mut out = Vec::new();
        let from = after.map_or_else(Vec::new, |item| {
            let mut key = key::waiting_push(&item.localpart, &item.app_id, &item.pushkey, item.at);
            // The next possible key.
            key.push(0);
            key
        });
        self.rows.scan(&ScanRange::starting_at(Table::WaitingPush, &from), &mut |(key, value)| {
            if out.len() >= limit {
                return Ok(ScanControl::Stop);
            }
            let row: store::WaitingPush = table::decode_value(Table::WaitingPush, value)?;
            let (localpart, app_id, pushkey, at) = key::parse_waiting_push(key).ok_or_else(|| ReadError::Damaged {
                table: Table::WaitingPush,
                what: "its key does not name a pusher".into(),
            })?;
            out.push(WaitingItem {
                localpart: localpart.to_owned(),
                app_id: app_id.to_owned(),
                pushkey: pushkey.to_owned(),
                at,
                room: RoomNumber(row.room),
            });
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }

    /// Returns the events of all rooms after a position, and about `at_most` of them.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn events_part(&self, after: Position, at_most: usize) -> Result<EventsPart, QueryError> {
        let after = self.clamp(after);
        let mut part = EventsPart { until: self.now().max(after), ..EventsPart::default() };
        self.rows.scan(&ScanRange::starting_at(Table::EventRoom, &key::entry_key(after)), &mut |(key, value)| {
            let entry = rows::entry_in(key)?;
            if part.events.len() >= at_most {
                // Whole entries: what was returned ends before this one.
                part.until = entry.before().max(after);
                part.more = true;
                return Ok(ScanControl::Stop);
            }
            let runs = EventRuns::decode(value)?;
            let events = runs.iter().map(|(ordinal, room)| (Position { ordinal, ..entry }, room));
            part.events.extend(events.filter(|(at, _)| *at > after));
            Ok(ScanControl::More)
        })?;
        part.events.sort_unstable();
        Ok(part)
    }

    /// Returns the users (localparts) who have set receipts after one position and up to another, with the newest position
    /// of each. Those of the first `at_most` receipts.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn readers_between(
        &self,
        after: Position,
        until: Position,
        at_most: usize,
    ) -> Result<BTreeMap<String, Position>, QueryError> {
        let low = after_position(&[], after);
        let high = after_position(&key::position_key(until), Position::MAX);
        let mut places = Vec::new();
        self.rows.scan(&ScanRange::between(Table::ReceiptPlace, &low, &high), &mut |(key, value)| {
            if let Some(at) = key.first_chunk().and_then(|at: &[u8; 16]| Position::from_bytes(at))
                && at > after
            {
                places.push((at, table::decode_value::<store::ReceiptPlace>(Table::ReceiptPlace, value)?));
            }
            Ok(if places.len() < at_most { ScanControl::More } else { ScanControl::Stop })
        })?;
        let mut readers = BTreeMap::new();
        for (at, place) in places {
            let reader = if place.private_to.is_empty() {
                let key = key::room_position(RoomNumber(place.room), at);
                let change = table::fetch_row::<store::ReceiptChange>(self.rows, Table::ReceiptChange, &key)?;
                change.map(|change| change.reader)
            } else {
                Some(place.private_to)
            };
            if let Some(reader) = reader {
                readers.insert(reader, at);
            }
        }
        Ok(readers)
    }

    /// Returns an event of a room; `None` if it was redacted, or removed with the room's history.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn pushed_event(&self, room: RoomNumber, room_id: &str, at: Position) -> Result<Option<RoomEvent>, QueryError> {
        let Some(row) = rows::event_row(self.rows, room, at)?.filter(|row| row.redacted_by.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(self.render(room, room_id, at, row)?))
    }

    /// Returns those of some users (localparts) who are joined to a room.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn joined_among(&self, room: RoomNumber, users: &BTreeSet<String>) -> Result<Vec<String>, QueryError> {
        let members = self.room_row(room)?.joined_members;
        let is_joined = |row: &store::Membership| row.kind() == store::membership::Kind::Join;
        let mut out = Vec::new();
        // Whichever are fewer are gone through.
        if u64::try_from(users.len()).unwrap_or(u64::MAX) <= members {
            for user in users {
                if is_joined(&rows::membership_row(self.rows, room, user)?) {
                    out.push(user.clone());
                }
            }
            return Ok(out);
        }
        let prefix = key::room_key(room);
        self.rows.scan(&ScanRange::with_prefix(Table::RoomMember, &prefix), &mut |(key, value)| {
            let localpart = key.get(prefix.len()..).and_then(|user| std::str::from_utf8(user).ok()).unwrap_or_default();
            if users.contains(localpart) && is_joined(&table::decode_value(Table::RoomMember, value)?) {
                out.push(localpart.to_owned());
            }
            Ok(ScanControl::More)
        })?;
        Ok(out)
    }

    /// Returns a room as somebody sees it who is not in it, and was invited.
    ///
    /// # Errors
    /// [`QueryError::RoomNotFound`] if there is no such room.
    pub fn outside_reading(&self, room: RoomNumber) -> Result<MemberReading, QueryError> {
        let row = self.room_row(room)?;
        Ok(MemberReading {
            room,
            room_id: self.id_of(&row)?,
            points: ReadPoints::default(),
            joined_members: row.joined_members,
            purged_to: Position::ZERO,
        })
    }
}
