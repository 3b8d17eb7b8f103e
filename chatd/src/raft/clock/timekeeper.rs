//! What this node knows of the time: its own clock, those of the voters, and its leader's word.
//!
//! What was told is kept together with the monotonic moment at which it was, and goes on with it: a clock that is set,
//! this node's or another's, is seen at the next look, before anything is stamped with it.

use super::{
    Clock,
    agreement::{Evidence, TOLERANCE_MS, Verdict, judge},
};
use crate::{feed::LogTime, raft::leadership::Leadership};
use quorate_core::{apply, proto::log::TimeTrust};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// A clock that was told longer ago says nothing about now: it may have been set since. Heartbeats tell it twenty times
/// a second, and what was told goes on by the monotonic clock: a stall of some seconds takes nobody's word away.
const FRESH: Duration = Duration::from_secs(10);
/// Where heartbeats are configured to be rarer: so many of them.
const FRESH_HEARTBEATS: u32 = 4;

/// What an entry is stamped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeStamp {
    pub(crate) time_ms: u64,
    pub(crate) trust: TimeTrust,
}

/// What there is to say about the time on one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeStatus {
    /// This pod's clock minus the time that the cluster goes by, in milliseconds; `None` while it knows none.
    pub offset_ms: Option<i64>,
    /// The clocks of a majority agree, as this pod knows.
    pub confirmed: bool,
    /// By how much the log's time is ahead of them, in milliseconds; 0 unless it is far ahead.
    pub log_ahead_ms: u64,
}

impl TimeStatus {
    /// This pod's clock is wrong: by so many milliseconds.
    #[must_use]
    pub fn wrong_by(&self) -> Option<i64> {
        self.offset_ms.filter(|offset| offset.saturating_abs() > TOLERANCE_MS)
    }
}

/// A time and when it was that.
#[derive(Clone, Copy, Debug)]
struct Moment {
    ms: u64,
    at: Instant,
}

impl Moment {
    fn new(ms: u64) -> Self {
        Self { ms, at: Instant::now() }
    }

    fn now(self) -> u64 {
        self.ms.saturating_add(u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn is_within(self, age: Duration) -> bool {
        self.at.elapsed() <= age
    }
}

/// See the [module](self). Clones share what they know.
#[derive(Clone)]
pub struct Timekeeper {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    node: OnceLock<Attached>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Of other nodes, as they told; bounded by the members that this node dials.
    clocks: BTreeMap<u64, Moment>,
    /// What the leader went by last, this node or another.
    leader: Option<(Moment, TimeTrust)>,
    /// The last of these that a majority had confirmed.
    confirmed: Option<Moment>,
    /// The log's time when it began to be carried on with nothing confirmed to carry on from.
    held: Option<Moment>,
}

/// The running node.
struct Attached {
    leadership: Leadership,
    log_time: LogTime,
    fresh: Duration,
}

/// `a - b` of two times.
fn difference(a: u64, b: u64) -> i64 {
    if a >= b { i64::try_from(a - b).unwrap_or(i64::MAX) } else { i64::try_from(b - a).map_or(i64::MIN, |ms| -ms) }
}

impl Timekeeper {
    /// Knows nothing but its clock yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { inner: Arc::new(Inner { clock, node: OnceLock::new(), memory: Mutex::default() }) }
    }

    /// Once the node runs: who votes, what time the log has, and how often clocks are told.
    pub(crate) fn attach(&self, leadership: Leadership, log_time: LogTime, heartbeat: Duration) {
        let fresh = FRESH.max(heartbeat.saturating_mul(FRESH_HEARTBEATS));
        // Set once, where the node is put together.
        let _ = self.inner.node.set(Attached { leadership, log_time, fresh });
    }

    /// This node's own clock. Only to be told, or compared: what is decided goes by [`Timekeeper::now_after`].
    pub(crate) fn clock_ms(&self) -> u64 {
        (self.inner.clock)()
    }

    /// Another node told what its clock says.
    pub(crate) fn heard_clock(&self, node_id: u64, ms: u64) {
        self.memory().clocks.insert(node_id, Moment::new(ms));
    }

    /// A leader told what it goes by.
    pub(crate) fn heard_leader(&self, ms: u64, trust: TimeTrust) {
        self.memory().went_by(ms, trust);
    }

    /// Forgets the clocks of those that are no members any more.
    pub(crate) fn keep(&self, members: &[u64]) {
        self.memory().clocks.retain(|id, _| members.contains(id));
    }

    /// What an entry of this leader may be stamped with now; `None`: with nothing. What it goes by, it tells the others.
    pub(crate) fn stamp(&self) -> Option<TimeStamp> {
        let own_ms = self.clock_ms();
        let stamp = match self.verdict_at(own_ms) {
            Verdict::Confirmed => TimeStamp { time_ms: own_ms, trust: TimeTrust::Confirmed },
            Verdict::Disputed => TimeStamp { time_ms: self.held()?, trust: TimeTrust::Held },
            Verdict::Unheard | Verdict::Contradicted { .. } => return None,
        };
        self.memory().went_by(stamp.time_ms, stamp.trust);
        Some(stamp)
    }

    /// What this node knows about its clock as a leader.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict_at(self.clock_ms())
    }

    fn verdict_at(&self, own_ms: u64) -> Verdict {
        let Some(Attached { leadership, .. }) = self.inner.node.get() else { return Verdict::Unheard };
        let (offsets, remembered) = self.evidence(own_ms);
        leadership.with_voters(|voter_sets| {
            judge(&Evidence { own: leadership.own(), voter_sets, offsets: &offsets, remembered })
        })
    }

    fn evidence(&self, own_ms: u64) -> (BTreeMap<u64, i64>, Option<i64>) {
        let memory = self.memory();
        let told = memory.clocks.iter().filter(|(_, clock)| clock.is_within(self.fresh()));
        let offsets = told.map(|(id, clock)| (*id, difference(clock.now(), own_ms))).collect();
        (offsets, memory.confirmed.map(|moment| difference(moment.now(), own_ms)))
    }

    /// The log's own time, carried on: by the last confirmed time where there is one, else from where it stands. A log
    /// that has no time yet has none to carry on.
    fn held(&self) -> Option<u64> {
        let log_ms = self.log_time_ms();
        if log_ms == 0 {
            return None;
        }
        let mut memory = self.memory();
        let from = memory.confirmed.or(memory.held).unwrap_or_else(|| Moment::new(log_ms));
        memory.held = Some(from);
        Some(from.now().max(log_ms))
    }

    /// The time by which everything is judged on this pod, over a state with this log time: what the leader would stamp
    /// an entry with now, as apply would take it. So a read and a write get the same verdict, also on a pod whose own
    /// clock is wrong.
    #[must_use]
    pub fn now_after(&self, log_time_ms: u64) -> u64 {
        match self.memory().leader {
            Some((moment, trust)) => apply::advanced(log_time_ms, moment.now(), trust),
            None => log_time_ms,
        }
    }

    /// The same over what this pod has applied.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_after(self.log_time_ms())
    }

    /// By how much another node's clock differs from a confirmed time, in milliseconds; `None` while one of them is not
    /// known.
    pub(crate) fn offset_of(&self, node_id: u64) -> Option<i64> {
        let own_ms = self.clock_ms();
        let clock = self.memory().clocks.get(&node_id).copied().filter(|clock| clock.is_within(self.fresh()))?;
        (self.verdict_at(own_ms) == Verdict::Confirmed).then(|| difference(clock.now(), own_ms))
    }

    /// What there is to say now.
    #[must_use]
    pub fn status(&self) -> TimeStatus {
        let own_ms = self.clock_ms();
        let leads = self.inner.node.get().is_some_and(|node| node.leadership.is_leader());
        let agreed_ms = if leads { self.agreed_as_leader(own_ms) } else { self.agreed_as_follower(own_ms) };
        let log_ms = self.log_time_ms();
        let Agreed { time_ms, confirmed } = agreed_ms;
        let ahead = time_ms.filter(|_| confirmed).map_or(0, |time_ms| difference(log_ms, time_ms));
        TimeStatus {
            offset_ms: time_ms.map(|time_ms| difference(own_ms, time_ms)),
            confirmed,
            log_ahead_ms: if ahead > TOLERANCE_MS { ahead.unsigned_abs() } else { 0 },
        }
    }

    fn agreed_as_leader(&self, own_ms: u64) -> Agreed {
        match self.verdict_at(own_ms) {
            Verdict::Confirmed => Agreed { time_ms: Some(own_ms), confirmed: true },
            Verdict::Contradicted { offset_ms, .. } => {
                Agreed { time_ms: own_ms.checked_add_signed(offset_ms), confirmed: false }
            }
            Verdict::Unheard | Verdict::Disputed => Agreed::default(),
        }
    }

    fn agreed_as_follower(&self, own_ms: u64) -> Agreed {
        match self.memory().leader {
            Some((moment, TimeTrust::Confirmed)) => {
                Agreed { time_ms: Some(moment.now()), confirmed: moment.is_within(self.fresh()) }
            }
            // The leader itself cannot tell who is right.
            Some(_) => Agreed::default(),
            // Nobody was heard yet, perhaps because this clock finds no certificate valid. Time has passed since the log
            // was written: a clock that is behind it is wrong, or the log's time is ahead.
            None => {
                let log_ms = self.log_time_ms();
                let is_behind = difference(log_ms, own_ms) > TOLERANCE_MS;
                Agreed { time_ms: is_behind.then_some(log_ms), confirmed: false }
            }
        }
    }

    /// Of the newest entry that this pod has applied.
    fn log_time_ms(&self) -> u64 {
        self.inner.node.get().map_or(0, |node| node.log_time.get())
    }

    fn fresh(&self) -> Duration {
        self.inner.node.get().map_or(FRESH, |node| node.fresh)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Agreed {
    time_ms: Option<u64>,
    confirmed: bool,
}

impl Memory {
    fn went_by(&mut self, ms: u64, trust: TimeTrust) {
        let moment = Moment::new(ms);
        self.leader = Some((moment, trust));
        if trust == TimeTrust::Confirmed {
            self.confirmed = Some(moment);
            self.held = None;
        }
    }
}
