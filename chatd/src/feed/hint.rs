//! Index from rooms and users to the subscribers that they wake.

use super::FeedTopics;
use quorate_core::id::RoomNumber;
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Mark of a subscriber: set or not, however often it is touched.
#[derive(Debug)]
pub(super) struct SubscriberSlot {
    number: u64,
    marked: AtomicBool,
    wake: Notify,
    /// `true` from when the index woke the subscriber until it comes back to wait.
    is_awake: AtomicBool,
}

/// Number of the next subscriber.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Default for SubscriberSlot {
    fn default() -> Self {
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            marked: AtomicBool::default(),
            wake: Notify::default(),
            is_awake: AtomicBool::default(),
        }
    }
}

impl SubscriberSlot {
    /// Sets the mark. Returns `true` if this touch woke the subscriber.
    pub(super) fn mark(&self) -> bool {
        // Only the first touch wakes: the reader takes the mark before it reads, so it sees what the later ones
        // touched.
        let first = !self.marked.swap(true, Ordering::AcqRel);
        if first {
            // `Notify` keeps one permit, so a reader that is not waiting yet is woken when it does.
            self.wake.notify_one();
        }
        first
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns a number that no later subscriber's number is below.
    pub(super) fn next_number() -> u64 {
        NEXT.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> bool {
        self.marked.swap(false, Ordering::AcqRel)
    }

    pub(super) async fn taken(&self) {
        while !self.take() {
            self.wake.notified().await;
        }
    }
}

/// Subscribers to be woken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WakeTarget {
    /// Subscribers that follow a room.
    Room(RoomNumber),
    /// Subscribers that follow a user.
    User(String),
    /// All subscribers of the feed.
    Everybody,
}

/// Subscribers in the order in which they came: if they were ordered by address, the order of waking would differ from
/// run to run.
type SlotMap = BTreeMap<u64, Arc<SubscriberSlot>>;

/// Index of subscribers by topic. Its size is that of the subscriptions, which the listeners bound.
#[derive(Debug, Default)]
pub(super) struct SubscriberIndex {
    index: Mutex<TopicIndex>,
    wakeups: AtomicU64,
    awake: AtomicUsize,
    /// Number of awake subscribers down to which [`SubscriberIndex::until_awake_are`] waits.
    enough: AtomicUsize,
    came_back: Notify,
}

#[derive(Debug, Default)]
struct TopicIndex {
    rooms: HashMap<RoomNumber, SlotMap>,
    users: HashMap<String, SlotMap>,
    all: SlotMap,
}

fn insert_slot<K: Hash + Eq + Clone>(
    map: &mut HashMap<K, SlotMap>,
    keys: impl IntoIterator<Item = K>,
    slot: &Arc<SubscriberSlot>,
) {
    for key in keys {
        map.entry(key).or_default().insert(slot.number, slot.clone());
    }
}

fn remove_slot<'a, K, Q>(
    map: &mut HashMap<K, SlotMap>,
    keys: impl IntoIterator<Item = &'a Q>,
    slot: &Arc<SubscriberSlot>,
) where
    K: Hash + Eq + Borrow<Q>,
    Q: Hash + Eq + ?Sized + 'a,
{
    for key in keys {
        if let Some(slots) = map.get_mut(key) {
            slots.remove(&slot.number);
            if slots.is_empty() {
                map.remove(key);
            }
        }
    }
}

impl SubscriberIndex {
    fn index(&self) -> MutexGuard<'_, TopicIndex> {
        // A panic while the lock is held leaves at worst a subscriber too many or too few in one set.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns at most `at_most` subscribers of a call, those after the number `after` and before `end`: whoever
    /// subscribes later also reads later. The index is not locked while they are woken.
    pub(super) fn some_of(
        &self,
        call: &WakeTarget,
        after: Option<u64>,
        end: u64,
        at_most: usize,
    ) -> Vec<Arc<SubscriberSlot>> {
        let index = self.index();
        let slots = match call {
            WakeTarget::Room(room) => index.rooms.get(room),
            WakeTarget::User(user) => index.users.get(user),
            WakeTarget::Everybody => Some(&index.all),
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some = slots.into_iter().flat_map(|slots| slots.range((from, Bound::Excluded(end))));
        some.take(at_most).map(|(_, slot)| slot.clone()).collect()
    }

    /// Marks the subscribers of these users at once: for the few that must be marked before anything else is seen.
    pub(super) fn touch_users(&self, topics: &FeedTopics) {
        let index = self.index();
        topics.users.iter().filter_map(|user| index.users.get(user)).flat_map(SlotMap::values).for_each(|slot| {
            slot.mark();
        });
    }

    /// Marks every subscriber at once.
    pub(super) fn touch_all(&self) {
        self.index().all.values().for_each(|slot| {
            slot.mark();
        });
    }

    /// Marks these subscribers, and adds them to the counters once for all of them.
    pub(super) fn wake(&self, slots: &[Arc<SubscriberSlot>]) {
        // Before the mark: once it is set the reader may be back at once.
        let awake = slots.iter().filter(|slot| !slot.is_awake.swap(true, Ordering::AcqRel)).count();
        self.awake.fetch_add(awake, Ordering::AcqRel);
        let woken = slots.iter().filter(|slot| slot.mark()).count();
        self.wakeups.fetch_add(u64::try_from(woken).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns the number of subscribers that were woken and have not come back to wait: they read, or write an answer,
    /// or are stuck with it.
    pub(super) fn awake(&self) -> usize {
        self.awake.load(Ordering::Acquire)
    }

    /// Waits until no more than `at_most` subscribers are awake.
    pub(super) async fn until_awake_are(&self, at_most: usize) {
        // Before the count is read: whoever comes back after that notifies.
        self.enough.store(at_most, Ordering::Release);
        while self.awake() > at_most {
            self.came_back.notified().await;
        }
    }

    /// Notes that a subscriber has come back to wait, or goes.
    pub(super) fn come_back(&self, slot: &SubscriberSlot) {
        if slot.is_awake.swap(false, Ordering::AcqRel) {
            let before = self.awake.fetch_sub(1, Ordering::AcqRel);
            if before <= self.enough.load(Ordering::Acquire).saturating_add(1) {
                self.came_back.notify_one();
            }
        }
    }

    /// Returns how often subscribers were woken.
    pub(super) fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    /// Adds a subscriber with its topics.
    pub(super) fn add(&self, topics: &FeedTopics, slot: &Arc<SubscriberSlot>) {
        self.index().all.insert(slot.number, slot.clone());
        self.extend(topics, slot);
    }

    /// Adds topics to a subscriber.
    pub(super) fn extend(&self, topics: &FeedTopics, slot: &Arc<SubscriberSlot>) {
        let mut index = self.index();
        insert_slot(&mut index.rooms, topics.rooms.iter().copied(), slot);
        insert_slot(&mut index.users, topics.users.iter().cloned(), slot);
    }

    /// Removes topics from a subscriber.
    pub(super) fn narrow(&self, topics: &FeedTopics, slot: &Arc<SubscriberSlot>) {
        let mut index = self.index();
        remove_slot(&mut index.rooms, &topics.rooms, slot);
        remove_slot(&mut index.users, topics.users.iter().map(String::as_str), slot);
    }

    /// Removes a subscriber and its topics.
    pub(super) fn remove(&self, topics: &FeedTopics, slot: &Arc<SubscriberSlot>) {
        self.narrow(topics, slot);
        self.index().all.remove(&slot.number);
        // A reader that goes while it is awake must not be waited for.
        self.come_back(slot);
    }

    pub(super) fn subscribers(&self) -> usize {
        self.index().all.len()
    }

    /// Returns the number of keys in the index, for tests that nothing is left behind.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        let index = self.index();
        index.rooms.len() + index.users.len()
    }
}
