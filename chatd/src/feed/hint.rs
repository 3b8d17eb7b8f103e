//! Who is to be woken by what: an index from rooms and users to subscribers.

use super::Topics;
use quorate_core::id::RoomNumber;
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A subscriber's mark: set or not, however often it is touched.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    marked: AtomicBool,
    wake: Notify,
}

impl Default for Slot {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { number: NEXT.fetch_add(1, Ordering::Relaxed), marked: AtomicBool::default(), wake: Notify::default() }
    }
}

impl Slot {
    /// `true`: this touch woke it.
    pub(super) fn mark(&self) -> bool {
        // Only the first touch wakes: the reader takes the mark before it reads, so it sees what the others touched.
        let first = !self.marked.swap(true, Ordering::AcqRel);
        if first {
            // Keeps one permit, so a reader that is not waiting yet is woken when it does.
            self.wake.notify_one();
        }
        first
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

/// Subscribers in the order in which they came: by address, the order of waking would differ from run to run.
type Slots = BTreeMap<u64, Arc<Slot>>;

/// The index. As large as the subscriptions, which the doors bound.
#[derive(Debug, Default)]
pub(super) struct Hints {
    index: Mutex<Index>,
    wakeups: AtomicU64,
}

#[derive(Debug, Default)]
struct Index {
    rooms: HashMap<RoomNumber, Slots>,
    users: HashMap<String, Slots>,
    all: Slots,
}

fn insert<K: Hash + Eq + Clone>(map: &mut HashMap<K, Slots>, keys: impl IntoIterator<Item = K>, slot: &Arc<Slot>) {
    for key in keys {
        map.entry(key).or_default().insert(slot.number, slot.clone());
    }
}

fn remove<'a, K, Q>(map: &mut HashMap<K, Slots>, keys: impl IntoIterator<Item = &'a Q>, slot: &Arc<Slot>)
where
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

impl Hints {
    fn index(&self) -> MutexGuard<'_, Index> {
        // A panic while it is held leaves at worst a subscriber too many or too few in one set.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the subscribers of these topics.
    pub(super) fn touch(&self, topics: &Topics) {
        if topics.rooms.is_empty() && topics.users.is_empty() {
            return;
        }
        let index = self.index();
        let by_room = topics.rooms.iter().filter_map(|room| index.rooms.get(room));
        let by_user = topics.users.iter().filter_map(|user| index.users.get(user));
        self.wake(by_room.chain(by_user).flat_map(Slots::values));
    }

    /// Marks every subscriber.
    pub(super) fn touch_all(&self) {
        self.wake(self.index().all.values());
    }

    /// Marks these, and counts once for all of them.
    fn wake<'a>(&self, slots: impl Iterator<Item = &'a Arc<Slot>>) {
        let woken = slots.filter(|slot| slot.mark()).count();
        self.wakeups.fetch_add(u64::try_from(woken).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How often a subscriber was woken.
    pub(super) fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    /// A new subscriber.
    pub(super) fn add(&self, topics: &Topics, slot: &Arc<Slot>) {
        self.index().all.insert(slot.number, slot.clone());
        self.extend(topics, slot);
    }

    /// More topics for a subscriber.
    pub(super) fn extend(&self, topics: &Topics, slot: &Arc<Slot>) {
        let mut index = self.index();
        insert(&mut index.rooms, topics.rooms.iter().copied(), slot);
        insert(&mut index.users, topics.users.iter().cloned(), slot);
    }

    /// Fewer topics for a subscriber.
    pub(super) fn narrow(&self, topics: &Topics, slot: &Arc<Slot>) {
        let mut index = self.index();
        remove(&mut index.rooms, &topics.rooms, slot);
        remove(&mut index.users, topics.users.iter().map(String::as_str), slot);
    }

    /// A subscriber goes.
    pub(super) fn remove(&self, topics: &Topics, slot: &Arc<Slot>) {
        self.narrow(topics, slot);
        self.index().all.remove(&slot.number);
    }

    pub(super) fn subscribers(&self) -> usize {
        self.index().all.len()
    }

    /// Keys that the index holds, for tests that nothing is left behind.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        let index = self.index();
        index.rooms.len() + index.users.len()
    }
}
