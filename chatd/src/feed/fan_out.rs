//! From "these rooms and users have changed" to the subscribers that wait for them, off the apply thread.
//!
//! The apply thread notes what changed, which costs as much as the entry touched, however many are subscribed. A task
//! wakes them, some at a time, so that other tasks of the runtime have their turn in between: a message to a room with ten
//! thousand long polls must not hold up the writes of others, or heartbeats.

use super::Topics;
use super::hint::{Call, Hints, Slot};
use quorate_core::id::RoomNumber;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::yield_now;

/// Subscribers woken at a time. Each needs some tens of microseconds of a worker to be answered: others wait for
/// milliseconds, not for all of a large room.
const AT_A_TIME: usize = 32;
/// Rooms and users noted while the task is behind; past it everybody is woken, which is as right and costs no memory.
const MOST_NOTED: usize = 65_536;

/// What has changed, and was not told yet.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    noted: Mutex<Noted>,
    /// A task does the waking; until one is started, whoever publishes does it.
    has_task: AtomicBool,
}

#[derive(Debug, Default)]
struct Noted {
    rooms: BTreeSet<RoomNumber>,
    users: BTreeSet<String>,
    everybody: bool,
}

impl Noted {
    fn note(&mut self, topics: &Topics) {
        self.rooms.extend(topics.rooms.iter().copied());
        self.users.extend(topics.users.iter().cloned());
        if self.rooms.len() + self.users.len() > MOST_NOTED {
            *self = Self { everybody: true, ..Self::default() };
        }
    }

    fn calls(self) -> Vec<Call> {
        if self.everybody {
            return vec![Call::Everybody];
        }
        // Users first: who was invited or put out is one, a room may be ten thousand.
        self.users.into_iter().map(Call::User).chain(self.rooms.into_iter().map(Call::Room)).collect()
    }
}

impl FanOut {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        // A panic in the few lines below loses nothing that was noted.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what has changed.
    pub(super) fn note(&self, topics: &Topics) {
        self.noted().note(topics);
    }

    /// Notes that all may have changed.
    pub(super) fn note_everybody(&self) {
        self.noted().everybody = true;
    }

    /// Wakes all of them at once, where there is no task for it.
    pub(super) fn wake_without_task(&self, hints: &Hints) {
        if self.has_task.load(Ordering::Acquire) {
            return;
        }
        let mut waking = self.take();
        while let Some(slots) = waking.some(hints) {
            hints.wake(&slots);
        }
    }

    fn take(&self) -> Waking {
        let calls = std::mem::take(&mut *self.noted()).calls();
        Waking { calls, after: None, end: Slot::next_number() }
    }
}

/// Subscribers still to be woken.
struct Waking {
    calls: Vec<Call>,
    /// The last one of the last call.
    after: Option<u64>,
    end: u64,
}

impl Waking {
    fn some(&mut self, hints: &Hints) -> Option<Vec<Arc<Slot>>> {
        while let Some(call) = self.calls.last() {
            let slots = hints.some_of(call, self.after, self.end, AT_A_TIME);
            self.after = slots.last().map(|slot| slot.number());
            if slots.len() < AT_A_TIME {
                self.calls.pop();
                self.after = None;
            }
            if !slots.is_empty() {
                return Some(slots);
            }
        }
        None
    }
}

/// The task: it ends with the last handle to the feed, which is the sender of `applied`.
pub(super) fn task<T>(
    fan_out: Arc<FanOut>,
    hints: Arc<Hints>,
    mut applied: watch::Receiver<T>,
) -> impl Future<Output = ()> {
    fan_out.has_task.store(true, Ordering::Release);
    async move {
        loop {
            let mut waking = fan_out.take();
            while let Some(slots) = waking.some(&hints) {
                hints.wake(&slots);
                drop(slots);
                yield_now().await;
            }
            // Noted before `applied` is sent: what was noted since `take` is seen in the next round.
            if applied.changed().await.is_err() {
                return;
            }
        }
    }
}
