//! A node's knowledge of the time: its own clock, the clocks of the voters, and the time that its leader uses.
//!
//! Each reading is kept together with the monotonic instant at which it arrived, and advances with it. A clock that is
//! set, this node's or another's, is therefore noticed at the next check, before anything is stamped with it.

use super::{
    ClockSource,
    agreement::{ClockEvidence, ClockVerdict, TOLERANCE_MS, judge_clock},
};
use crate::{feed::LogTime, raft::leadership::Leadership};
use quorate_core::{apply, proto::log::TimeTrust};
use quorate_wire::whole_millis;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// Age up to which a reported clock is used; it may have been set since. Heartbeats report it twenty times a second,
/// and a reading advances with the monotonic clock, so that a stall of a few seconds discards no reports.
const FRESH: Duration = Duration::from_secs(10);
/// Number of heartbeat intervals for which a reported clock is used, if that is longer than [`FRESH`].
const FRESH_HEARTBEATS: u32 = 4;

/// Time with which an entry is stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeStamp {
    pub(crate) time_ms: u64,
    pub(crate) trust: TimeTrust,
}

/// Status of the time on one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeStatus {
    /// Offset of this pod's clock from the cluster's time, in milliseconds; `None` while the cluster's time is unknown.
    pub offset_ms: Option<i64>,
    /// `true` if this pod knows that the clocks of a majority agree.
    pub confirmed: bool,
    /// Milliseconds by which the log's time is ahead of the agreed clocks; 0 unless it is far ahead.
    pub log_ahead_ms: u64,
}

impl TimeStatus {
    /// Returns the offset of this pod's clock, in milliseconds, if it is wrong, and `None` otherwise.
    #[must_use]
    pub fn wrong_by(&self) -> Option<i64> {
        self.offset_ms.filter(|offset| offset.saturating_abs() > TOLERANCE_MS)
    }
}

/// A time, with the monotonic instant at which it was read.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    ms: u64,
    at: Instant,
}

impl ClockReading {
    fn new(ms: u64) -> Self {
        Self { ms, at: Instant::now() }
    }

    fn now(self) -> u64 {
        self.ms.saturating_add(whole_millis(self.at.elapsed()))
    }

    fn is_within(self, age: Duration) -> bool {
        self.at.elapsed() <= age
    }
}

/// Shared knowledge of the time; see the [module](self). Clones share their state.
#[derive(Clone)]
pub struct Timekeeper {
    inner: Arc<Inner>,
}

struct Inner {
    clock: ClockSource,
    node: OnceLock<AttachedNode>,
    memory: Mutex<KnownTimes>,
}

#[derive(Default)]
struct KnownTimes {
    /// Clocks that other nodes reported; bounded by the members that this node dials.
    clocks: BTreeMap<u64, ClockReading>,
    /// Time that the leader used last, whether this node or another leads.
    leader: Option<(ClockReading, TimeTrust)>,
    /// Last of the leader's times that a majority had confirmed.
    confirmed: Option<ClockReading>,
    /// Time from which the log's time is carried forward while clocks are disputed; used if there is no confirmed time.
    held: Option<ClockReading>,
}

/// Parts of the running node.
struct AttachedNode {
    leadership: Leadership,
    log_time: LogTime,
    fresh: Duration,
}

/// Returns `a - b`, saturating.
fn signed_difference(a: u64, b: u64) -> i64 {
    if a >= b { i64::try_from(a - b).unwrap_or(i64::MAX) } else { i64::try_from(b - a).map_or(i64::MIN, |ms| -ms) }
}

impl Timekeeper {
    /// Creates a timekeeper that knows only its own clock.
    #[must_use]
    pub fn new(clock: ClockSource) -> Self {
        Self { inner: Arc::new(Inner { clock, node: OnceLock::new(), memory: Mutex::default() }) }
    }

    /// Connects the timekeeper to the running node, for the voters, the log's time and the heartbeat interval at which
    /// clocks are reported.
    pub(crate) fn attach(&self, leadership: Leadership, log_time: LogTime, heartbeat: Duration) {
        let fresh = FRESH.max(heartbeat.saturating_mul(FRESH_HEARTBEATS));
        // Set once, when the node is assembled.
        let _ = self.inner.node.set(AttachedNode { leadership, log_time, fresh });
    }

    /// Returns this node's own clock, in milliseconds since the Unix epoch. Only for reports and comparisons: decisions
    /// use [`Timekeeper::now_after`].
    pub(crate) fn clock_ms(&self) -> u64 {
        (self.inner.clock)()
    }

    /// Records a clock reading that another node reported.
    pub(crate) fn heard_clock(&self, node_id: u64, ms: u64) {
        self.memory().clocks.insert(node_id, ClockReading::new(ms));
    }

    /// Records the time that a leader uses.
    pub(crate) fn heard_leader(&self, ms: u64, trust: TimeTrust) {
        self.memory().went_by(ms, trust);
    }

    /// Forgets the clocks of nodes that are not in `members`.
    pub(crate) fn keep(&self, members: &[u64]) {
        self.memory().clocks.retain(|id, _| members.contains(id));
    }

    /// Returns the time with which this leader may stamp an entry, or `None` if it may not stamp any. The returned time
    /// is recorded as the leader's, which is the one sent to the other nodes.
    pub(crate) fn stamp(&self) -> Option<TimeStamp> {
        let own_ms = self.clock_ms();
        let stamp = match self.verdict_at(own_ms) {
            ClockVerdict::Confirmed => TimeStamp { time_ms: own_ms, trust: TimeTrust::Confirmed },
            ClockVerdict::Disputed => TimeStamp { time_ms: self.held()?, trust: TimeTrust::Held },
            ClockVerdict::Unheard | ClockVerdict::Contradicted { .. } => return None,
        };
        self.memory().went_by(stamp.time_ms, stamp.trust);
        Some(stamp)
    }

    /// Judges this node's clock as a leader would.
    #[must_use]
    pub fn verdict(&self) -> ClockVerdict {
        self.verdict_at(self.clock_ms())
    }

    fn verdict_at(&self, own_ms: u64) -> ClockVerdict {
        let Some(AttachedNode { leadership, .. }) = self.inner.node.get() else { return ClockVerdict::Unheard };
        let (offsets, remembered) = self.evidence(own_ms);
        leadership.with_voters(|voter_sets| {
            judge_clock(&ClockEvidence { own: leadership.own(), voter_sets, offsets: &offsets, remembered })
        })
    }

    fn evidence(&self, own_ms: u64) -> (BTreeMap<u64, i64>, Option<i64>) {
        let memory = self.memory();
        let told = memory.clocks.iter().filter(|(_, clock)| clock.is_within(self.fresh()));
        let offsets = told.map(|(id, clock)| (*id, signed_difference(clock.now(), own_ms))).collect();
        (offsets, memory.confirmed.map(|moment| signed_difference(moment.now(), own_ms)))
    }

    /// Returns the log's own time, carried forward from the last confirmed time if there is one, otherwise from the
    /// log's current time; `None` for a log that has no time yet.
    fn held(&self) -> Option<u64> {
        let log_ms = self.log_time_ms();
        if log_ms == 0 {
            return None;
        }
        let mut memory = self.memory();
        let from = memory.confirmed.or(memory.held).unwrap_or_else(|| ClockReading::new(log_ms));
        memory.held = Some(from);
        Some(from.now().max(log_ms))
    }

    /// Returns the time by which this pod judges everything, given a state with this log time: the time with which the
    /// leader would stamp an entry, as apply would take it. Reads and writes thus get the same verdict, even on a pod
    /// whose own clock is wrong.
    #[must_use]
    pub fn now_after(&self, log_time_ms: u64) -> u64 {
        match self.memory().leader {
            Some((moment, trust)) => apply::advanced_time(log_time_ms, moment.now(), trust),
            None => log_time_ms,
        }
    }

    /// Returns [`Timekeeper::now_after`] for the state that this pod has applied.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_after(self.log_time_ms())
    }

    /// Returns the offset of another node's clock from a confirmed time, in milliseconds; `None` while either is
    /// unknown.
    pub(crate) fn offset_of(&self, node_id: u64) -> Option<i64> {
        let own_ms = self.clock_ms();
        let clock = self.memory().clocks.get(&node_id).copied().filter(|clock| clock.is_within(self.fresh()))?;
        (self.verdict_at(own_ms) == ClockVerdict::Confirmed).then(|| signed_difference(clock.now(), own_ms))
    }

    /// Returns the current status of the time on this pod.
    #[must_use]
    pub fn status(&self) -> TimeStatus {
        let own_ms = self.clock_ms();
        let leads = self.inner.node.get().is_some_and(|node| node.leadership.is_leader());
        let agreed_ms = if leads { self.agreed_as_leader(own_ms) } else { self.agreed_as_follower(own_ms) };
        let log_ms = self.log_time_ms();
        let AgreedTime { time_ms, confirmed } = agreed_ms;
        let ahead = time_ms.filter(|_| confirmed).map_or(0, |time_ms| signed_difference(log_ms, time_ms));
        TimeStatus {
            offset_ms: time_ms.map(|time_ms| signed_difference(own_ms, time_ms)),
            confirmed,
            log_ahead_ms: if ahead > TOLERANCE_MS { ahead.unsigned_abs() } else { 0 },
        }
    }

    fn agreed_as_leader(&self, own_ms: u64) -> AgreedTime {
        match self.verdict_at(own_ms) {
            ClockVerdict::Confirmed => AgreedTime { time_ms: Some(own_ms), confirmed: true },
            ClockVerdict::Contradicted { offset_ms, .. } => {
                AgreedTime { time_ms: own_ms.checked_add_signed(offset_ms), confirmed: false }
            }
            ClockVerdict::Unheard | ClockVerdict::Disputed => AgreedTime::default(),
        }
    }

    fn agreed_as_follower(&self, own_ms: u64) -> AgreedTime {
        match self.memory().leader {
            Some((moment, TimeTrust::Confirmed)) => {
                AgreedTime { time_ms: Some(moment.now()), confirmed: moment.is_within(self.fresh()) }
            }
            // The leader itself cannot tell which clock is right.
            Some(_) => AgreedTime::default(),
            // No leader has been heard yet, perhaps because by this clock no certificate is valid. Time has passed
            // since the log was written: if this clock is behind the log's time, either the clock is wrong or the log's
            // time is ahead.
            None => {
                let log_ms = self.log_time_ms();
                let is_behind = signed_difference(log_ms, own_ms) > TOLERANCE_MS;
                AgreedTime { time_ms: is_behind.then_some(log_ms), confirmed: false }
            }
        }
    }

    /// Returns the time of the newest entry that this pod has applied.
    fn log_time_ms(&self) -> u64 {
        self.inner.node.get().map_or(0, |node| node.log_time.get())
    }

    fn fresh(&self) -> Duration {
        self.inner.node.get().map_or(FRESH, |node| node.fresh)
    }

    fn memory(&self) -> MutexGuard<'_, KnownTimes> {
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct AgreedTime {
    time_ms: Option<u64>,
    confirmed: bool,
}

impl KnownTimes {
    fn went_by(&mut self, ms: u64, trust: TimeTrust) {
        let moment = ClockReading::new(ms);
        self.leader = Some((moment, trust));
        if trust == TimeTrust::Confirmed {
            self.confirmed = Some(moment);
            self.held = None;
        }
    }
}
