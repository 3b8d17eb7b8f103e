//! Wakes readers when something they read has changed.
//!
//! The feed carries hints: a reader holds a cursor, reads rows from the store, waits here, and reads again. The feed
//! cannot be overrun, because there is nothing to queue; a slow reader costs a later read and misses nothing. Readers
//! that keep up are spared the store: the newest events are kept beside the hints ([`tail`]).
//!
//! The order that makes this right: a reader subscribes, reads, and only then waits, reads, waits, …; the state machine
//! publishes after its commit, so that a woken reader finds the rows.

mod fan_out;
mod hint;
pub mod sessions;
pub mod tail;
mod touched;

use crate::trace::delivery::DeliveryTraces;
use fan_out::FanOut;
use hint::{SubscriberIndex, SubscriberSlot};
use quorate_core::id::{Position, RoomNumber};
use sessions::KnownSessions;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;
use tail::{EventTail, TailAddition};
use tokio::sync::watch;
use touched::TouchedRecord;

pub use touched::TouchedUsers;

/// Hub that wakes readers after each commit; see the [module](self). Clones are handles to the same feed.
#[derive(Clone)]
pub struct ChangeFeed {
    applied: watch::Sender<Position>,
    log_time: LogTime,
    level: LevelInForce,
    sessions: Arc<KnownSessions>,
    hints: Arc<SubscriberIndex>,
    fan_out: Arc<FanOut>,
    /// Subscriptions of those who watch over a session, apart from those of readers: a watcher is not a reader.
    accounts: Arc<SubscriberIndex>,
    tail: Arc<EventTail>,
    deliveries: Arc<DeliveryTraces>,
    touched: Arc<TouchedRecord>,
}

/// Time of the newest entry that is applied on this pod, in milliseconds since the Unix epoch; 0 before the first
/// entry. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LogTime(Arc<AtomicU64>);

impl LogTime {
    /// Returns the time as of the last commit.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Sets the time; called by the committer. The time may go back, when it is repaired.
    pub(crate) fn set(&self, time_ms: u64) {
        self.0.store(time_ms, Ordering::Release);
    }
}

/// Format level in force after the newest entry that is applied on this pod. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LevelInForce(Arc<AtomicU32>);

impl LevelInForce {
    /// Returns the level as of the last commit; at least 1.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire).max(1)
    }

    /// Sets the level; called by the committer.
    pub(crate) fn set(&self, level: u32) {
        self.0.store(level, Ordering::Release);
    }
}

/// Topics that wake a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedTopics {
    /// Rooms in which any change wakes the reader.
    pub rooms: BTreeSet<RoomNumber>,
    /// Users (localparts) of whom any change wakes the reader: invitations, account data, devices.
    pub users: BTreeSet<String>,
}

impl Default for ChangeFeed {
    fn default() -> Self {
        Self::new()
    }
}

impl ChangeFeed {
    /// Creates a feed without subscribers, at the first position.
    #[must_use]
    pub fn new() -> Self {
        let applied = watch::Sender::new(Position::ZERO);
        Self {
            applied,
            log_time: LogTime::default(),
            level: LevelInForce::default(),
            sessions: Arc::default(),
            hints: Arc::default(),
            fan_out: Arc::default(),
            accounts: Arc::default(),
            tail: Arc::default(),
            deliveries: Arc::default(),
            touched: Arc::default(),
        }
    }

    /// Returns the task that wakes readers, for as long as it is polled, in place of whoever publishes. The task ends
    /// with the last handle to the feed.
    pub fn fan_out(&self) -> impl Future<Output = ()> + Send + 'static {
        fan_out::fan_out_task(self.fan_out.clone(), self.hints.clone(), self.applied.subscribe())
    }

    /// Watches the end of the last entry that is applied on this pod: rows up to there can be read.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Position> {
        self.applied.subscribe()
    }

    /// Returns the sessions that the APIs have seen recently.
    #[must_use]
    pub fn sessions(&self) -> &KnownSessions {
        &self.sessions
    }

    /// Returns the time of the last entry that is applied.
    #[must_use]
    pub fn log_time(&self) -> &LogTime {
        &self.log_time
    }

    /// Returns the format level in force.
    #[must_use]
    pub fn level(&self) -> &LevelInForce {
        &self.level
    }

    /// Wakes the readers that the topics concern. Call it after the rows are committed. Costs in proportion to the
    /// topics and to the streams of these users, not to the subscribers of these rooms.
    pub fn publish(&self, applied: Position, topics: &FeedTopics) {
        self.publish_with(applied, applied, topics, None);
    }

    /// Publishes a commit with its events, for readers that keep up: everything up to `rows` is in `addition` or was
    /// there before.
    pub(crate) fn publish_with(
        &self,
        applied: Position,
        rows: Position,
        topics: &FeedTopics,
        addition: Option<TailAddition>,
    ) {
        // First: a reader that finds events in the tail also finds the mark of a logout that came before them.
        if !topics.users.is_empty() {
            self.accounts.touch_users(topics);
            self.touched.note(&topics.users);
        }
        self.tail.push(rows, addition);
        // Whoever subscribes later reads later, and finds the rows.
        if self.subscribers() > 0 {
            self.fan_out.note(topics);
        }
        // Last: whoever waits for the position finds the mark, the tail and the noted topics in place.
        self.advance(applied);
        self.fan_out.wake_without_task(&self.hints);
    }

    /// Wakes everybody, because the whole state may have changed: a snapshot was installed.
    pub fn publish_all(&self, applied: Position) {
        // Before anybody is woken: a session of the state before must let nobody in.
        self.sessions.forget_all();
        self.accounts.touch_all();
        self.touched.note_all();
        self.tail.restart(applied);
        self.fan_out.note_everybody();
        self.advance(applied);
        self.fan_out.wake_without_task(&self.hints);
    }

    /// Wakes the readers that the topics concern, because of something that is not in the rows.
    pub fn wake(&self, topics: &FeedTopics) {
        if self.subscribers() > 0 {
            self.fan_out.note(topics);
            // The position stays: the task that wakes readers waits for it to be sent.
            self.applied.send_modify(|_| ());
            self.fan_out.wake_without_task(&self.hints);
        }
    }

    /// Begins to record the users whose memberships may have changed, for [`ChangeFeed::take_touched`].
    pub fn watch_touched(&self) {
        self.touched.begin();
    }

    /// Returns the users whose memberships may have changed since the last call.
    #[must_use]
    pub fn take_touched(&self) -> TouchedUsers {
        self.touched.take()
    }

    /// Returns the newest events, which are kept in memory.
    pub(crate) fn tail(&self) -> &EventTail {
        &self.tail
    }

    /// Returns the number of readers woken since the process began.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        self.hints.wakeups()
    }

    /// Returns the number of reads that had fallen behind the newest events kept in memory.
    #[must_use]
    pub fn lagged(&self) -> u64 {
        self.tail.lagged()
    }

    /// Returns the time at which the commit that holds this position was published on this pod; `None` if that was
    /// before what is remembered.
    #[must_use]
    pub fn applied_at(&self, position: Position) -> Option<Instant> {
        self.tail.applied_at(position)
    }

    /// Returns the sampled entries that readers are about to be given.
    pub(crate) fn deliveries(&self) -> &DeliveryTraces {
        &self.deliveries
    }

    fn advance(&self, applied: Position) {
        // Also if the position is the same again: the task that wakes readers waits for it.
        self.applied.send_replace(applied);
    }

    /// Subscribes until the handle is dropped. Nothing that is published from now on is missed; what was published
    /// before has to be read first.
    #[must_use]
    pub fn subscribe(&self, topics: FeedTopics) -> FeedSubscription {
        let slot = Arc::new(SubscriberSlot::default());
        self.hints.add(&topics, &slot);
        FeedSubscription { hints: self.hints.clone(), slot, topics }
    }

    /// Watches what is applied to an account, including the end of its sessions, until the handle is dropped.
    #[must_use]
    pub fn watch_account(&self, localpart: &str) -> FeedSubscription {
        let topics = FeedTopics { rooms: BTreeSet::new(), users: BTreeSet::from([localpart.to_owned()]) };
        let slot = Arc::new(SubscriberSlot::default());
        self.accounts.add(&topics, &slot);
        FeedSubscription { hints: self.accounts.clone(), slot, topics }
    }

    /// Returns the number of live subscriptions of readers.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.hints.subscribers()
    }
}

/// A subscription to topics, until it is dropped.
pub struct FeedSubscription {
    hints: Arc<SubscriberIndex>,
    slot: Arc<SubscriberSlot>,
    topics: FeedTopics,
}

impl FeedSubscription {
    /// Waits until something of interest has changed since this last returned; any number of changes count as one. Read
    /// the store after it, not before. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        // A crowd is paced by those who come back to wait.
        self.hints.come_back(&self.slot);
        self.slot.taken().await;
    }

    /// Returns `true` if something has changed, and takes the mark as [`changed`](Self::changed) does.
    pub fn take(&mut self) -> bool {
        self.slot.take()
    }

    /// Returns the topics of this subscription.
    #[must_use]
    pub fn topics(&self) -> &FeedTopics {
        &self.topics
    }

    /// Replaces the rooms. New rooms count as changed, because they may have changed between the reader's last read and
    /// this call.
    pub fn set_rooms(&mut self, rooms: BTreeSet<RoomNumber>) {
        let added = FeedTopics { rooms: &rooms - &self.topics.rooms, users: BTreeSet::new() };
        let removed = FeedTopics { rooms: &self.topics.rooms - &rooms, users: BTreeSet::new() };
        self.hints.extend(&added, &self.slot);
        self.hints.narrow(&removed, &self.slot);
        self.topics.rooms = rooms;
        if !added.rooms.is_empty() {
            // Wakes nobody who waits: the caller is the reader itself.
            let _ = self.slot.mark();
        }
    }
}

impl Drop for FeedSubscription {
    fn drop(&mut self) {
        self.hints.remove(&self.topics, &self.slot);
    }
}

#[cfg(test)]
mod tests;
