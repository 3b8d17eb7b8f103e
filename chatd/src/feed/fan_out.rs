//! Fan-out from changed rooms and users to the subscribers that wait for them, off the apply thread.
//!
//! The apply thread notes what changed, which costs as much as the entry touched, however many are subscribed. A task
//! wakes the subscribers, some at a time, so that other tasks of the runtime have their turn in between. A crowd, such
//! as a room with ten thousand long polls, is paced: the next few are woken when those before were answered, and after
//! a pause that is a multiple of the time that took. So a crowd takes a fifth of a pod at most, its last member waits a
//! little longer, and neither the writes of others nor heartbeats wait for all of it. Whatever else changes meanwhile
//! is told first.

use super::FeedTopics;
use super::hint::{SubscriberIndex, SubscriberSlot, WakeTarget};
use quorate_core::id::RoomNumber;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

/// Number of subscribers woken at a time. Each needs some tens of microseconds of a worker to be answered: others wait
/// for milliseconds, not for all of a large room.
const AT_A_TIME: usize = 32;
/// Number of subscribers of one room that are woken without pauses: some tens of milliseconds of work. More of them are
/// a crowd.
const WITHOUT_PAUSES: usize = 256;
/// Number of subscribers of a crowd woken at a time: a write passes through three pods, and may meet them at each step.
const OF_A_CROWD: usize = 8;
/// Length of the pause, in multiples of the time that the work for the crowd took. With 4, ten thousand polls on two
/// cores were told in 1.3 s, and a writer elsewhere waited 17 ms at the 99th percentile; with 1, in 0.4 s and 30 ms;
/// without pauses, in 0.3 s and 230 ms.
const PAUSES: u32 = 4;
/// Maximum wait for the answers to the subscribers that were woken: a reader whose client takes nothing does not come
/// back, and the others must not wait for it.
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// Maximum number of rooms and users noted while the task is behind. Past it everybody is woken, which is as right and
/// costs no memory.
const MOST_NOTED: usize = 65_536;

/// Changes that were noted and are not told yet.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    noted: Mutex<NotedChanges>,
    /// `true` once a task does the waking; until then whoever publishes does it.
    has_task: AtomicBool,
}

#[derive(Debug, Default)]
struct NotedChanges {
    rooms: BTreeSet<RoomNumber>,
    users: BTreeSet<String>,
    everybody: bool,
}

impl NotedChanges {
    fn note(&mut self, topics: &FeedTopics) {
        self.rooms.extend(topics.rooms.iter().copied());
        self.users.extend(topics.users.iter().cloned());
        if self.rooms.len() + self.users.len() > MOST_NOTED {
            *self = Self { everybody: true, ..Self::default() };
        }
    }

    fn calls(self) -> Vec<WakeTarget> {
        if self.everybody {
            return vec![WakeTarget::Everybody];
        }
        self.users.into_iter().map(WakeTarget::User).chain(self.rooms.into_iter().map(WakeTarget::Room)).collect()
    }
}

impl FanOut {
    fn noted(&self) -> MutexGuard<'_, NotedChanges> {
        // A panic in the few lines below loses nothing that was noted.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes topics that have changed.
    pub(super) fn note(&self, topics: &FeedTopics) {
        self.noted().note(topics);
    }

    /// Notes that everything may have changed.
    pub(super) fn note_everybody(&self) {
        self.noted().everybody = true;
    }

    /// Wakes all noted subscribers at once, if there is no task for it.
    pub(super) fn wake_without_task(&self, hints: &SubscriberIndex) {
        if self.has_task.load(Ordering::Acquire) {
            return;
        }
        for mut telling in self.take().into_iter().map(WakeProgress::new) {
            while !telling.is_told {
                hints.wake(&telling.next(hints));
            }
        }
    }

    fn take(&self) -> Vec<WakeTarget> {
        std::mem::take(&mut *self.noted()).calls()
    }
}

/// A call under way: some of its subscribers are still to be woken.
struct WakeProgress {
    call: WakeTarget,
    /// Number of the last subscriber that was woken.
    after: Option<u64>,
    /// First number of subscribers that need not be woken: they subscribed later, so they have read later.
    end: u64,
    woken: usize,
    is_told: bool,
    /// `true` if the call came again meanwhile: the subscribers that were woken first have to be woken once more.
    again: bool,
}

impl WakeProgress {
    fn new(call: WakeTarget) -> Self {
        Self { call, after: None, end: SubscriberSlot::next_number(), woken: 0, is_told: false, again: false }
    }

    fn is_crowd(&self) -> bool {
        self.woken >= WITHOUT_PAUSES
    }

    fn next(&mut self, hints: &SubscriberIndex) -> Vec<Arc<SubscriberSlot>> {
        let at_most = if self.is_crowd() { OF_A_CROWD } else { AT_A_TIME };
        let slots = hints.some_of(&self.call, self.after, self.end, at_most);
        self.after = slots.last().map(|slot| slot.number());
        self.woken += slots.len();
        if slots.len() < at_most {
            self.is_told = !std::mem::take(&mut self.again);
            (self.after, self.end) = (None, SubscriberSlot::next_number());
        }
        slots
    }
}

/// The task's calls under way: as many as there are calls with more than a few subscribers.
struct WakePacer {
    hints: Arc<SubscriberIndex>,
    begun: VecDeque<WakeProgress>,
    /// End of the current pause.
    resume: Instant,
}

impl WakePacer {
    /// Wakes the first subscribers at once, whatever else is under way.
    fn begin(&mut self, call: WakeTarget) {
        let mut telling = WakeProgress::new(call);
        self.hints.wake(&telling.next(&self.hints));
        if telling.is_told {
            return;
        }
        match self.begun.iter_mut().find(|begun| begun.call == telling.call) {
            Some(begun) => begun.again = true,
            None => self.begun.push_back(telling),
        }
    }

    /// Wakes the next subscribers of the call whose turn it is.
    async fn go_on(&mut self) {
        let Some(mut telling) = self.begun.pop_front() else { return };
        let began = Instant::now();
        let awake = self.hints.awake();
        self.hints.wake(&telling.next(&self.hints));
        if telling.is_crowd() {
            let _late = timeout(LONGEST_WAIT, self.hints.until_awake_are(awake)).await;
            self.resume = Instant::now() + began.elapsed().min(LONGEST_WAIT) * PAUSES;
        } else {
            yield_now().await;
        }
        if !telling.is_told {
            self.begun.push_back(telling);
        }
    }
}

/// Returns the task, which ends with the last handle to the feed: that is the sender of `applied`.
pub(super) fn fan_out_task<T>(
    fan_out: Arc<FanOut>,
    hints: Arc<SubscriberIndex>,
    mut applied: watch::Receiver<T>,
) -> impl Future<Output = ()> {
    // Before the task first runs: what is published until then is noted, and told in its first round.
    fan_out.has_task.store(true, Ordering::Release);
    async move {
        let mut pacer = WakePacer { hints, begun: VecDeque::new(), resume: Instant::now() };
        loop {
            for call in fan_out.take() {
                pacer.begin(call);
                yield_now().await;
            }
            // Topics are noted before `applied` is sent: what was noted since `take` is seen in the next round.
            let changed = match (pacer.begun.is_empty(), pacer.resume > Instant::now()) {
                (true, _) => applied.changed().await,
                (false, true) => tokio::select! {
                    () = sleep_until(pacer.resume) => Ok(()),
                    changed = applied.changed() => changed,
                },
                (false, false) => {
                    pacer.go_on().await;
                    Ok(())
                }
            };
            if changed.is_err() {
                return;
            }
        }
    }
}
