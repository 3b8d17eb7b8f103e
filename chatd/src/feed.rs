//! Wakes readers when something they read has changed.
//!
//! The feed carries hints: a reader holds a cursor, reads rows from the store, waits here, and reads again. It cannot be
//! overrun, because there is nothing to queue; a slow reader costs a later read and misses nothing. Readers that keep up
//! are spared the store: the newest events are kept beside the hints ([`tail`]).
//! The order that makes this right: subscribe, read, then wait, read, wait, …; and the machine publishes after its
//! commit, so that whoever is woken finds the rows.

mod fan_out;
mod hint;
pub mod sessions;
pub mod subscribe;
pub mod tail;

use crate::trace::delivery::Deliveries;
use fan_out::FanOut;
use hint::{Hints, Slot};
use quorate_core::id::{Position, RoomNumber};
use sessions::KnownSessions;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tail::{Addition, Tail};
use tokio::sync::watch;

/// See the [module](self). Clones are handles to the same feed.
#[derive(Clone)]
pub struct Feed {
    applied: watch::Sender<Position>,
    log_time: LogTime,
    sessions: Arc<KnownSessions>,
    hints: Arc<Hints>,
    fan_out: Arc<FanOut>,
    /// Apart from the readers': who watches over a session is no reader.
    accounts: Arc<Hints>,
    tail: Arc<Tail>,
    deliveries: Arc<Deliveries>,
}

/// The time of the newest entry that is applied on this pod, milliseconds since the Unix epoch; 0 before the first.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LogTime(Arc<AtomicU64>);

impl LogTime {
    /// As of the last commit.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// The committer sets it. The time may go back, when it is repaired.
    pub(crate) fn set(&self, time_ms: u64) {
        self.0.store(time_ms, Ordering::Release);
    }
}

/// What a reader wants to be woken by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// Anything in these rooms.
    pub rooms: BTreeSet<RoomNumber>,
    /// Anything of these users (localparts): invitations, account data, devices.
    pub users: BTreeSet<String>,
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl Feed {
    /// A feed without subscribers, at the beginning.
    #[must_use]
    pub fn new() -> Self {
        let applied = watch::Sender::new(Position::ZERO);
        Self {
            applied,
            log_time: LogTime::default(),
            sessions: Arc::default(),
            hints: Arc::default(),
            fan_out: Arc::default(),
            accounts: Arc::default(),
            tail: Arc::default(),
            deliveries: Arc::default(),
        }
    }

    /// Wakes readers from now on, as long as it is polled, instead of whoever publishes; ends with the last handle to the
    /// feed.
    pub fn fan_out(&self) -> impl Future<Output = ()> + Send + 'static {
        fan_out::task(self.fan_out.clone(), self.hints.clone(), self.applied.subscribe())
    }

    /// The end of the last entry that is applied on this pod: rows up to there can be read.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Position> {
        self.applied.subscribe()
    }

    /// The sessions that doors have seen lately.
    #[must_use]
    pub fn sessions(&self) -> &KnownSessions {
        &self.sessions
    }

    /// The time of the last entry that is applied.
    #[must_use]
    pub fn log_time(&self) -> &LogTime {
        &self.log_time
    }

    /// Has those woken whom the topics concern. After the rows are committed. Costs in proportion to the topics and to the
    /// streams of these users, not to the subscribers of these rooms.
    pub fn publish(&self, applied: Position, topics: &Topics) {
        self.publish_with(applied, applied, topics, None);
    }

    /// The same, with the events of the commit for those who keep up: everything up to `rows` is in them or was before.
    pub(crate) fn publish_with(&self, applied: Position, rows: Position, topics: &Topics, addition: Option<Addition>) {
        // First: whoever finds events in the tail finds the mark of a logout that came before them.
        if !topics.users.is_empty() {
            self.accounts.touch_users(topics);
        }
        self.tail.push(rows, addition);
        if self.subscribers() > 0 {
            self.fan_out.note(topics);
        }
        self.advance(applied);
        self.fan_out.wake_without_task(&self.hints);
    }

    /// The whole state may have changed: a snapshot was installed.
    pub fn publish_all(&self, applied: Position) {
        self.sessions.forget_all();
        self.accounts.touch_all();
        self.tail.restart(applied);
        self.fan_out.note_everybody();
        self.advance(applied);
        self.fan_out.wake_without_task(&self.hints);
    }

    /// The newest events.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Readers woken since the process began.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        self.hints.wakeups()
    }

    /// Reads that had fallen behind the newest events kept in memory.
    #[must_use]
    pub fn lagged(&self) -> u64 {
        self.tail.lagged()
    }

    /// When the commit that holds this position was published here; `None` when that was before what is remembered.
    #[must_use]
    pub fn applied_at(&self, position: Position) -> Option<Instant> {
        self.tail.applied_at(position)
    }

    /// The sampled entries that readers are about to be given.
    pub(crate) fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    fn advance(&self, applied: Position) {
        // Also when it is the same again: the task that wakes readers waits for it.
        self.applied.send_replace(applied);
    }

    /// Subscribes until the handle is dropped. What is published from now on is not missed; what was before is read
    /// first.
    #[must_use]
    pub fn subscribe(&self, topics: Topics) -> Interest {
        let slot = Arc::new(Slot::default());
        self.hints.add(&topics, &slot);
        Interest { hints: self.hints.clone(), slot, topics }
    }

    /// Watches what is applied to an account, sessions that end among it, until the handle is dropped.
    #[must_use]
    pub fn watch_account(&self, localpart: &str) -> Interest {
        let topics = Topics { rooms: BTreeSet::new(), users: BTreeSet::from([localpart.to_owned()]) };
        let slot = Arc::new(Slot::default());
        self.accounts.add(&topics, &slot);
        Interest { hints: self.accounts.clone(), slot, topics }
    }

    /// Handles of readers that are alive.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.hints.subscribers()
    }
}

/// A subscription.
pub struct Interest {
    hints: Arc<Hints>,
    slot: Arc<Slot>,
    topics: Topics,
}

impl Interest {
    /// Waits until something of interest has changed since this last returned; any number of changes count as one.
    /// Read the store after it, not before. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        self.hints.come_back(&self.slot);
        self.slot.taken().await;
    }

    /// Has something changed? Takes the mark, as [`changed`](Self::changed) does.
    pub fn take(&mut self) -> bool {
        self.slot.take()
    }

    /// What it is subscribed to.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Changes the rooms. Rooms that are new are counted as changed, because they may have been between the reader's
    /// last read and this call.
    pub fn set_rooms(&mut self, rooms: BTreeSet<RoomNumber>) {
        let added = Topics { rooms: &rooms - &self.topics.rooms, users: BTreeSet::new() };
        let removed = Topics { rooms: &self.topics.rooms - &rooms, users: BTreeSet::new() };
        self.hints.extend(&added, &self.slot);
        self.hints.narrow(&removed, &self.slot);
        self.topics.rooms = rooms;
        if !added.rooms.is_empty() {
            // Not a wake-up of somebody who waits: the reader itself calls this.
            let _ = self.slot.mark();
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.hints.remove(&self.topics, &self.slot);
    }
}

#[cfg(test)]
mod tests;
