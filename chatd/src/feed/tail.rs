//! The newest events of this pod, in memory, for all readers that follow them.
//!
//! A message to a room of a hundred is the same row for each of them: the apply thread leaves it here, and readers that
//! keep up take it without asking the store. The tail is not a queue: it holds a bounded number of events, a reader
//! that has fallen behind its beginning reads rows, and whenever it may not tell the whole truth (history was changed,
//! a snapshot came) it begins anew, and all readers read rows once.

use bytes::Bytes;
use quorate_core::apply::KeyChangeHint;
use quorate_core::id::{Position, RoomNumber};
use quorate_core::query::{PAGE_BYTES, QueryError, RoomEvent};
use quorate_core::receipt::{ReadReceipt, ReceiptKind};
use quorate_core::table::{ChangeSet, Table, key};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Maximum number of events kept: a second of them at a high rate. A reader walks over them to find its own, which is
/// cheaper than asking the store only while they are few.
const EVENTS: usize = 4096;
/// Maximum number of bytes of the events kept.
const BYTES: usize = 4 << 20;

/// Bounded list of the newest events; see the [module](self).
#[derive(Debug, Default)]
pub struct EventTail {
    ring: Mutex<TailRing>,
    lagged: AtomicU64,
}

#[derive(Debug, Default)]
struct TailRing {
    /// Position after which all that happened, up to `end`, is in `items`.
    start: Position,
    end: Position,
    items: VecDeque<TailItem>,
    bytes: usize,
    /// Publication times of the newest commits.
    times: CommitTimes,
}

/// Publication times of the newest commits, by their ends: the commits that hold what lies after `start`.
#[derive(Debug, Default)]
struct CommitTimes {
    start: Position,
    ends: VecDeque<(Position, Instant)>,
}

impl CommitTimes {
    fn push(&mut self, end: Position) {
        self.ends.push_back((end, Instant::now()));
        // A commit has an event or more, as a rule: as many commits are kept as events.
        while self.ends.len() > EVENTS {
            let Some((oldest, _)) = self.ends.pop_front() else { break };
            self.start = oldest;
        }
    }

    fn of(&self, position: Position) -> Option<Instant> {
        if position <= self.start {
            return None;
        }
        let commit = self.ends.partition_point(|(end, _)| *end < position);
        self.ends.get(commit).map(|(_, at)| *at)
    }
}

#[derive(Clone, Debug)]
enum TailItem {
    Event(Arc<FreshEvent>),
    /// Users whose memberships, devices or account data a commit changes, placed at the commit's beginning. The rows
    /// have to say what these users may see.
    Users(Position, Arc<BTreeSet<String>>),
    Receipt(Arc<TailReceipt>),
    /// A user whose devices or keys a commit changes, placed as the users are.
    Keys(Position, Arc<KeyChangeHint>),
}

/// A new public receipt.
#[derive(Clone, Debug)]
pub struct TailReceipt {
    /// Identifier of the room.
    pub room_id: Arc<str>,
    /// Receipt as it was set.
    pub receipt: ReadReceipt,
}

/// A new event, as its row.
#[derive(Debug)]
struct FreshEvent {
    at: Position,
    room: RoomNumber,
    room_id: Arc<str>,
    row: Bytes,
    /// Event decoded by its first reader; `None` if the rows have to be asked.
    event: OnceLock<Option<RoomEvent>>,
}

impl FreshEvent {
    fn event(&self) -> Option<&RoomEvent> {
        let decode = || RoomEvent::of_row(self.room, &self.room_id, self.at, self.row.clone()).ok().flatten();
        self.event.get_or_init(decode).as_ref()
    }
}

impl TailItem {
    fn at(&self) -> Position {
        match self {
            Self::Event(event) => event.at,
            Self::Users(at, _) | Self::Keys(at, _) => *at,
            Self::Receipt(found) => found.receipt.changed,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => event.row.len(),
            Self::Users(_, users) => users.iter().map(String::len).sum(),
            Self::Receipt(found) => found.receipt.weight(),
            Self::Keys(_, hint) => {
                hint.localpart.len() + size_of::<RoomNumber>() * hint.rooms.as_ref().map_or(0, Vec::len)
            }
        }
    }
}

/// Events and users that one commit adds.
#[derive(Debug, Default)]
pub struct TailAddition(Vec<TailItem>);

impl TailAddition {
    /// Collects the new events among the changes of a commit whose first event is at `first` or later, the users that it
    /// concerns, and those whose keys it changes; `None` if the commit changes older events, too.
    ///
    /// # Errors
    /// If a room cannot be read.
    pub fn of(
        changes: &ChangeSet,
        first: Position,
        users: &BTreeSet<String>,
        keys: &[KeyChangeHint],
        room_id: impl Fn(RoomNumber) -> Result<String, QueryError>,
    ) -> Result<Option<Self>, QueryError> {
        let mut room_ids = BTreeMap::<RoomNumber, Arc<str>>::new();
        let mut id_of = |room: RoomNumber| -> Result<Arc<str>, QueryError> {
            match room_ids.get(&room) {
                Some(known) => Ok(known.clone()),
                None => Ok(room_ids.entry(room).or_insert(room_id(room)?.into()).clone()),
            }
        };
        let mut events = Vec::new();
        for (key, row) in changes.of(Table::Timeline) {
            let (Some(room), Some(at), Some(row)) = (key::leading_room(key), key::trailing_position(key), row) else {
                return Ok(None);
            };
            // An event that readers may have from here was changed, redacted for instance.
            if at < first {
                return Ok(None);
            }
            let room_id = id_of(room)?;
            let event = OnceLock::new();
            events.push(TailItem::Event(Arc::new(FreshEvent { at, room, room_id, row: row.clone(), event })));
        }
        for (key, row) in changes.of(Table::Receipt) {
            // A removed receipt is one of a user who has left.
            let Some(row) = row else { continue };
            let receipt = ReadReceipt::of_row(key, row.clone())?;
            if receipt.kind == ReceiptKind::Public {
                let room_id = id_of(receipt.room)?;
                events.push(TailItem::Receipt(Arc::new(TailReceipt { room_id, receipt })));
            }
        }
        if !users.is_empty() {
            events.push(TailItem::Users(first, Arc::new(users.clone())));
        }
        events.extend(keys.iter().map(|hint| TailItem::Keys(first, Arc::new(hint.clone()))));
        // Rows come by room; at the same position the users go first.
        events.sort_by_key(|item| (item.at(), !matches!(item, TailItem::Users(..) | TailItem::Keys(..))));
        Ok(Some(Self(events)))
    }
}

/// Events that a reader gets from memory.
#[derive(Debug)]
pub struct TailPage {
    /// Events in timeline order.
    pub events: Vec<RoomEvent>,
    /// Public receipts in the order in which they were set.
    pub receipts: Vec<TailReceipt>,
    /// Users with whom the reader shares a room and whose devices or keys changed, with the positions of the changes.
    pub key_changes: Vec<(Position, Arc<KeyChangeHint>)>,
    /// Cursor from which the reader goes on.
    pub next: Position,
    /// `true` if there is more already.
    pub more: bool,
    /// Time at which the oldest of the events was applied on this pod; `None` if it is not known.
    pub applied: Option<Instant>,
}

impl EventTail {
    fn ring(&self) -> MutexGuard<'_, TailRing> {
        // A panic in the few lines below leaves at worst items without an `end`, which are read as not being there.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that everything up to `end` is committed. If `addition` is `None`, the added events are unknown and the
    /// tail begins anew.
    pub fn push(&self, end: Position, addition: Option<TailAddition>) {
        let mut ring = self.ring();
        match addition {
            Some(TailAddition(items)) => items.into_iter().for_each(|item| ring.push(item)),
            None => {
                // Only the events are unknown; when commits were published is still right.
                let times = std::mem::take(&mut ring.times);
                *ring = TailRing { start: end, times, ..TailRing::default() };
            }
        }
        ring.end = end;
        ring.times.push(end);
    }

    /// Begins anew at `end`, without knowing when what is up to there was committed: at the start, or after a snapshot.
    pub fn restart(&self, end: Position) {
        let times = CommitTimes { start: end, ..CommitTimes::default() };
        *self.ring() = TailRing { start: end, end, times, ..TailRing::default() };
    }

    /// Returns the time at which the commit that holds this position was published; `None` if that is not remembered.
    pub fn applied_at(&self, position: Position) -> Option<Instant> {
        self.ring().times.of(position)
    }

    /// Returns the number of reads that began before what is kept.
    pub fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }

    /// Returns at most `limit` events and receipts of these rooms after a cursor, and some [`PAGE_BYTES`] of them, for a
    /// user who is in all of the rooms; `None` if the tail cannot tell.
    pub fn after(
        &self,
        after: Position,
        localpart: &str,
        rooms: &BTreeSet<RoomNumber>,
        limit: usize,
    ) -> Option<TailPage> {
        let ring = self.ring();
        if after < ring.start {
            self.lagged.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if after > ring.end {
            return None;
        }
        let mut found = Vec::new();
        let mut receipts = Vec::new();
        let mut key_changes = Vec::new();
        let mut next = ring.end;
        let mut more = false;
        let mut bytes = 0;
        for item in ring.items.range(ring.items.partition_point(|item| item.at() <= after)..) {
            match item {
                TailItem::Users(_, users) if users.contains(localpart) => return None,
                TailItem::Users(..) => continue,
                TailItem::Event(event) if !rooms.contains(&event.room) => continue,
                TailItem::Receipt(found) if !rooms.contains(&found.receipt.room) => continue,
                TailItem::Keys(_, hint) => match &hint.rooms {
                    // In more rooms than are listed: the rows tell.
                    None => return None,
                    Some(of) if !of.iter().any(|room| rooms.contains(room)) => continue,
                    Some(_) => {}
                },
                TailItem::Event(_) | TailItem::Receipt(_) => {}
            }
            if found.len() + receipts.len() == limit || bytes >= PAGE_BYTES {
                next = item.at().before();
                more = true;
                break;
            }
            bytes += item.bytes();
            match item {
                TailItem::Event(event) => found.push(event.clone()),
                TailItem::Receipt(receipt) => receipts.push(receipt.clone()),
                TailItem::Keys(at, hint) => key_changes.push((*at, hint.clone())),
                TailItem::Users(..) => {}
            }
        }
        let applied = found.first().and_then(|oldest| ring.times.of(oldest.at));
        // Before the events are decoded: the apply thread takes this lock for each commit.
        drop(ring);
        let events = found.iter().map(|event| event.event().cloned()).collect::<Option<_>>()?;
        let receipts = receipts.iter().map(|receipt| TailReceipt::clone(receipt)).collect();
        Some(TailPage { events, receipts, key_changes, next, more, applied })
    }
}

impl TailRing {
    fn push(&mut self, item: TailItem) {
        self.bytes += item.bytes();
        self.items.push_back(item);
        while self.items.len() > EVENTS || self.bytes > BYTES {
            let Some(oldest) = self.items.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.start = oldest.at();
        }
    }
}

#[cfg(test)]
mod tests;
