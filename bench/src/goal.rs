//! Goals: what Quorate must reach, and against whom.

use crate::system::BenchSystem;
use crate::workload::{BenchMetric, Workload};

/// A figure that Quorate must reach in one workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) workload: Workload,
    pub(crate) case: &'static str,
    pub(crate) metric: BenchMetric,
    pub(crate) bound: GoalBound,
    /// Ratio to the rival, or an absolute value if there is no rival.
    pub(crate) factor: f64,
    pub(crate) rival: GoalRival,
}

/// Comparison that a figure must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoalBound {
    AtLeast,
    AtMost,
}

impl GoalBound {
    pub(crate) fn holds(self, value: f64, line: f64) -> bool {
        match self {
            Self::AtLeast => value >= line,
            Self::AtMost => value <= line,
        }
    }

    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::AtLeast => "≥",
            Self::AtMost => "≤",
        }
    }

    /// Returns the better of two figures.
    pub(crate) fn best(self, a: f64, b: f64) -> f64 {
        match self {
            Self::AtLeast => a.max(b),
            Self::AtMost => a.min(b),
        }
    }
}

/// Rival that a figure is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GoalRival {
    /// The best of these systems.
    BestOf(&'static [BenchSystem]),
    /// Quorate itself in another case of the same workload.
    OwnCase(&'static str),
    /// Nobody: the goal is an absolute value.
    Nobody,
}

const NATS: GoalRival = GoalRival::BestOf(&[BenchSystem::Nats]);
const ETCD: GoalRival = GoalRival::BestOf(&[BenchSystem::Etcd]);
const BARE: GoalRival = GoalRival::BestOf(&[BenchSystem::Bare]);
const EJABBERD: GoalRival = GoalRival::BestOf(&[BenchSystem::Ejabberd]);
const SOCKET_IO: GoalRival = GoalRival::BestOf(&[BenchSystem::SocketIo]);
const SYNAPSE: GoalRival = GoalRival::BestOf(&[BenchSystem::Synapse]);
const CHATS: GoalRival = GoalRival::BestOf(&[BenchSystem::Ejabberd, BenchSystem::SocketIo]);

/// Name of the case of B6 with concurrent senders.
pub(crate) const SENDERS: &str = "16 senders";
/// Name of the case of B6 with messages to those who follow the room.
pub(crate) const TO_SYNC: &str = "send to /sync";
/// Name of the case of B6 with first syncs.
pub(crate) const FIRST_SYNC: &str = "first sync, 500 rooms";
/// Names of the cases of B6 with syncs after one message, by the number of the user's rooms.
pub(crate) const FEW_ROOMS: &str = "next sync, 10 rooms";
pub(crate) const MANY_ROOMS: &str = "next sync, 500 rooms";
/// Name of the cases of B8 and the crowd with parked `/sync` requests.
pub(crate) const PARKED: &str = "parked /sync";
/// Name of the case of B10 that measures posts.
pub(crate) const BUSY_POSTS: &str = "posts";
/// Name of the case of B10 that measures deliveries in a room.
pub(crate) const BUSY_ROOM: &str = "delivery";
/// Name of the case of the crowd that measures the nodes before there are polls.
pub(crate) const NO_POLLS: &str = "no polls";
/// Name of the case of the crowd that measures posts in another room.
pub(crate) const ELSEWHERE: &str = "a writer elsewhere";

const fn goal_for(workload: Workload, metric: BenchMetric, bound: GoalBound, factor: f64, rival: GoalRival) -> Goal {
    Goal { workload, case: "", metric, bound, factor, rival }
}

/// All goals, in the order in which they are reported.
pub(crate) const GOALS: [Goal; 27] = {
    use BenchMetric::{Busy, Cpu, Elections, Gap, Lost, MemoryEach, P50, P99, Rate};
    use GoalBound::{AtLeast, AtMost};
    use GoalRival::OwnCase;
    use Workload::{B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, Crowd};
    [
        goal_for(B1, Rate, AtLeast, 1.25, NATS),
        goal_for(B1, Rate, AtLeast, 4.0, ETCD),
        goal_for(B1, Rate, AtLeast, 0.25, BARE),
        goal_for(B2, Rate, AtLeast, 3.0, ETCD),
        goal_for(B2, Rate, AtLeast, 1.0, NATS),
        goal_for(B3, P50, AtMost, 0.65, NATS),
        goal_for(B3, P99, AtMost, 1.0, NATS),
        goal_for(B4, P50, AtMost, 0.8, CHATS),
        goal_for(B5, Rate, AtLeast, 1.5, SOCKET_IO),
        goal_for(B5, Rate, AtLeast, 2.5, EJABBERD),
        Goal { case: SENDERS, ..goal_for(B6, Rate, AtLeast, 50.0, SYNAPSE) },
        Goal { case: TO_SYNC, ..goal_for(B6, P50, AtMost, 0.04, SYNAPSE) },
        Goal { case: FIRST_SYNC, ..goal_for(B6, P50, AtMost, 1.0, SYNAPSE) },
        Goal { case: MANY_ROOMS, ..goal_for(B6, P50, AtMost, 1.25, OwnCase(FEW_ROOMS)) },
        goal_for(B7, Cpu, AtMost, 0.35, ETCD),
        goal_for(B7, Cpu, AtMost, 1.25, NATS),
        goal_for(B8, MemoryEach, AtMost, 1.2, BARE),
        Goal { case: PARKED, ..goal_for(B8, MemoryEach, AtMost, 20.0, GoalRival::Nobody) },
        goal_for(B9, Gap, AtMost, 0.5, ETCD),
        goal_for(B9, Lost, AtMost, 0.0, GoalRival::Nobody),
        Goal { case: BUSY_POSTS, ..goal_for(B10, P99, AtMost, 1.5, NATS) },
        Goal { case: BUSY_ROOM, ..goal_for(B10, P99, AtMost, 1.5, NATS) },
        goal_for(B10, Elections, AtMost, 0.0, GoalRival::Nobody),
        goal_for(Crowd, P99, AtMost, 2000.0, GoalRival::Nobody),
        Goal { case: PARKED, ..goal_for(Crowd, MemoryEach, AtMost, 20.0, GoalRival::Nobody) },
        Goal { case: PARKED, ..goal_for(Crowd, Busy, AtMost, 1.5, OwnCase(NO_POLLS)) },
        Goal { case: ELSEWHERE, ..goal_for(Crowd, P99, AtMost, 20.0, GoalRival::Nobody) },
    ]
};
