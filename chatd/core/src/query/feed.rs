//! Events after a cursor, of one room or of all rooms that a user is in. Streams are made of them.
//!
//! A user gets the events from the join to the leave of each stay, both included, in the total order and each event
//! once. The returned cursor has seen everything up to it, whether that was shown or not.

use super::rooms::{RoomMembership, room_membership};
use super::state::key_after as after_key;
use super::{PAGE_BYTES, QueryError, RoomEvent, StateView};
use crate::entry_events::EventRuns;
use crate::id::{Position, RoomNumber};
use crate::proto::store::membership::Kind;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, key};
use crate::visibility::RoomStay;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// Maximum number of events of the whole cluster that are walked through, before the user's own rooms are examined one
/// by one. A reader that keeps up never gets so far behind; one that does not should pay for its own rooms only.
const MAX_WALKED: usize = 1024;

/// Number of positions that are read from a room at a time while rooms are merged.
const CHUNK: usize = 32;

/// Rooms whose events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedScope {
    /// Events of one room.
    Room(RoomNumber),
    /// Events of all rooms that the user is in, whenever it joined them.
    Joined,
}

/// Page of events after a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedPage {
    /// Events in order of their positions.
    pub events: Vec<RoomEvent>,
    /// Cursor to continue from, even if there are no events.
    pub next: Position,
    /// `true` if there are more events already, so that the reader should ask again at once; otherwise, it should wait
    /// for a hint.
    pub more: bool,
}

/// Positions of events to be shown, before their rows are read.
#[derive(Default)]
struct FoundEvents {
    events: Vec<(Position, RoomNumber)>,
    /// Position up to which everything was examined; `None` if that is everything in the view.
    stopped: Option<Position>,
}

impl StateView<'_> {
    /// Returns at most `limit` events after a cursor, and at most [`PAGE_BYTES`] of them.
    ///
    /// # Errors
    /// [`QueryError::Ahead`] if this view has not reached the cursor; [`QueryError::NotMember`], for one room, if the
    /// user is no longer in it and has received its last event; [`QueryError::Purged`] if events that the user would
    /// have received are gone.
    pub fn events_after(
        &self,
        localpart: &str,
        scope: FeedScope,
        after: Position,
        limit: usize,
    ) -> Result<FeedPage, QueryError> {
        let after = self.reached(after)?;
        self.nothing_purged(localpart, scope, after)?;
        let limit = limit.max(1);
        let found = match scope {
            FeedScope::Room(room) => self.in_room(localpart, room, after, limit)?,
            FeedScope::Joined => match self.walked(localpart, after, limit)? {
                Some(found) => found,
                None => self.merged(localpart, after, limit)?,
            },
        };
        let mut found = found;
        let events = self.shown(&mut found)?;
        Ok(FeedPage { events, next: found.stopped.unwrap_or(self.now()), more: found.stopped.is_some() })
    }

    /// Reads as many of the events as one page holds; the rest comes with the next page.
    fn shown(&self, found: &mut FoundEvents) -> Result<Vec<RoomEvent>, QueryError> {
        let mut room_ids = BTreeMap::new();
        let mut out = Vec::<RoomEvent>::with_capacity(found.events.len());
        let mut bytes = 0;
        for (at, room) in std::mem::take(&mut found.events) {
            if bytes >= PAGE_BYTES {
                found.stopped = out.last().map(|last| last.position);
                break;
            }
            self.is_wanted()?;
            let room_id = match room_ids.entry(room) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => new.insert(self.room_id(room)?),
            };
            let mut event = self.event_at(room, room_id, at)?;
            // A redaction is an event of its own, for those who are in the room when it is made.
            event.redacted_because = None;
            bytes += event.weight();
            out.push(event);
        }
        Ok(out)
    }

    /// Returns the user's stays in a room that extend beyond `after`. For a member who has been in the room all the
    /// while, `row` alone tells.
    pub(super) fn stays(
        &self,
        localpart: &str,
        row: &RoomMembership,
        after: Position,
    ) -> Result<Vec<RoomStay>, QueryError> {
        match (row.kind, row.joined_since) {
            (Kind::Join, Some(from)) if from <= after => Ok(vec![RoomStay { from, to: None }]),
            (Kind::Unspecified, _) => Ok(Vec::new()),
            // The user has seen the last change of its membership, and was not joined after it.
            (kind, _) if kind != Kind::Join && row.position <= after => Ok(Vec::new()),
            _ => Ok(self.sight_in_lists(row.room, localpart)?.stays_after(after)),
        }
    }

    fn stays_in(&self, localpart: &str, room: RoomNumber, after: Position) -> Result<Vec<RoomStay>, QueryError> {
        self.stays(localpart, &self.membership_in(localpart, room)?, after)
    }

    /// Returns the user's membership in a room; unspecified if it never had one.
    ///
    /// # Errors
    /// Fails if the row cannot be read.
    pub fn membership_in(&self, localpart: &str, room: RoomNumber) -> Result<RoomMembership, QueryError> {
        let row = rows::membership_row(self.rows, room, localpart)?;
        Ok(room_membership(room, &row)?)
    }

    fn in_room(
        &self,
        localpart: &str,
        room: RoomNumber,
        after: Position,
        limit: usize,
    ) -> Result<FoundEvents, QueryError> {
        let stays = self.stays_in(localpart, room, after)?;
        if stays.is_empty() {
            return Err(QueryError::NotMember);
        }
        let mut run = RoomRun { room, stays: stays.into(), reached: after, ahead: VecDeque::new() };
        let mut found = FoundEvents::default();
        while let Some(at) = run.next(self)? {
            if found.events.len() == limit {
                found.stopped = Some(at.before());
                break;
            }
            found.events.push((at, room));
        }
        Ok(found)
    }

    /// Walks through the events of the whole cluster; `None` if there are too many of them.
    fn walked(&self, localpart: &str, after: Position, limit: usize) -> Result<Option<FoundEvents>, QueryError> {
        let Some(all) = self.cluster_events(after, MAX_WALKED)? else { return Ok(None) };
        let mut stays = BTreeMap::new();
        let mut found = FoundEvents::default();
        for (at, room) in all {
            let stays: &Vec<RoomStay> = match stays.entry(room) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => new.insert(self.stays_in(localpart, room, after)?),
            };
            if !stays.iter().any(|stay| stay.from <= at && stay.to.is_none_or(|to| at <= to)) {
                continue;
            }
            if found.events.len() == limit {
                found.stopped = Some(at.before());
                break;
            }
            found.events.push((at, room));
        }
        Ok(Some(found))
    }

    /// Returns the events of all rooms after a position; `None` if there are more than `at_most`.
    pub(super) fn cluster_events(
        &self,
        after: Position,
        at_most: usize,
    ) -> Result<Option<Vec<(Position, RoomNumber)>>, QueryError> {
        // The position may be in the middle of an entry.
        let from = key::entry_key(after);
        let mut out = Vec::new();
        self.rows.scan(&ScanRange::starting_at(Table::EventRoom, &from), &mut |(key, value)| {
            let entry = rows::entry_in(key)?;
            let runs = EventRuns::decode(value)?;
            let events = runs.iter().map(|(ordinal, room)| (Position { ordinal, ..entry }, room));
            let wanted = (at_most + 1).saturating_sub(out.len());
            out.extend(events.filter(|(at, _)| *at > after).take(wanted));
            Ok(if out.len() > at_most { ScanControl::Stop } else { ScanControl::More })
        })?;
        Ok((out.len() <= at_most).then_some(out))
    }

    /// Merges the events of the user's own rooms.
    fn merged(&self, localpart: &str, after: Position, limit: usize) -> Result<FoundEvents, QueryError> {
        let mut runs = Vec::new();
        let mut heads = BinaryHeap::new();
        for row in self.all_rooms_of(localpart)? {
            let stays = self.stays(localpart, &row, after)?.into();
            let mut run = RoomRun { room: row.room, stays, reached: after, ahead: VecDeque::new() };
            if let Some(at) = run.next(self)? {
                heads.push(Reverse((at, runs.len())));
                runs.push(run);
            }
        }
        let mut found = FoundEvents::default();
        while let Some(Reverse((at, place))) = heads.pop() {
            let Some(run) = runs.get_mut(place) else { break };
            if found.events.len() == limit {
                found.stopped = Some(at.before());
                break;
            }
            found.events.push((at, run.room));
            if let Some(next) = run.next(self)? {
                heads.push(Reverse((next, place)));
            }
        }
        Ok(found)
    }
}

/// Events of one room within some stays, in order.
struct RoomRun {
    room: RoomNumber,
    stays: VecDeque<RoomStay>,
    reached: Position,
    ahead: VecDeque<Position>,
}

impl RoomRun {
    fn next(&mut self, view: &StateView<'_>) -> Result<Option<Position>, QueryError> {
        while self.ahead.is_empty() {
            let Some(stay) = self.stays.front().copied() else { return Ok(None) };
            self.reached = self.reached.max(stay.from.before());
            let to = stay.to.unwrap_or(Position::MAX);
            self.fill(view, to)?;
            if self.ahead.is_empty() {
                self.stays.pop_front();
            }
        }
        Ok(self.ahead.pop_front())
    }

    fn fill(&mut self, view: &StateView<'_>, to: Position) -> Result<(), table::ReadError> {
        let low = after_key(self.room, self.reached);
        let high = after_key(self.room, to);
        let ahead = &mut self.ahead;
        view.rows.scan(&ScanRange::between(Table::Timeline, &low, &high), &mut |(key, _)| {
            ahead.push_back(rows::position_in(Table::Timeline, key)?);
            Ok(if ahead.len() < CHUNK { ScanControl::More } else { ScanControl::Stop })
        })?;
        self.reached = ahead.back().copied().unwrap_or(self.reached);
        Ok(())
    }
}
