//! Goals: what Quorate must reach, and against whom.

use crate::system::System;
use crate::workload::{Metric, Workload};

/// A figure that Quorate must reach in one workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) workload: Workload,
    pub(crate) case: &'static str,
    pub(crate) metric: Metric,
    pub(crate) bound: Bound,
    /// Ratio to the rival, or an absolute value if there is no rival.
    pub(crate) factor: f64,
    pub(crate) rival: Rival,
}

/// Comparison that a figure must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    AtLeast,
    AtMost,
}

impl Bound {
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
pub(crate) enum Rival {
    /// The best of these systems.
    BestOf(&'static [System]),
    /// Nobody: the goal is an absolute value.
    Nobody,
}

const NATS: Rival = Rival::BestOf(&[System::Nats]);
const ETCD: Rival = Rival::BestOf(&[System::Etcd]);
const BARE: Rival = Rival::BestOf(&[System::Bare]);
const EJABBERD: Rival = Rival::BestOf(&[System::Ejabberd]);
const SOCKET_IO: Rival = Rival::BestOf(&[System::SocketIo]);
const CHATS: Rival = Rival::BestOf(&[System::Ejabberd, System::SocketIo]);

/// Name of the case of B8 with parked `/sync` requests.
pub(crate) const PARKED: &str = "parked /sync";
/// Name of the case of B10 that measures posts.
pub(crate) const BUSY_POSTS: &str = "posts";
/// Name of the case of B10 that measures deliveries in a room.
pub(crate) const BUSY_ROOM: &str = "delivery";
/// Name of the case of the crowd that measures posts in another room.
pub(crate) const ELSEWHERE: &str = "a writer elsewhere";

const fn goal(workload: Workload, metric: Metric, bound: Bound, factor: f64, rival: Rival) -> Goal {
    Goal { workload, case: "", metric, bound, factor, rival }
}

/// All goals, in the order in which they are reported.
pub(crate) const GOALS: [Goal; 21] = {
    use Bound::{AtLeast, AtMost};
    use Metric::{Cpu, Elections, Gap, Lost, MemoryEach, P50, P99, Rate};
    use Workload::{B1, B2, B3, B4, B5, B7, B8, B9, B10, Crowd};
    [
        goal(B1, Rate, AtLeast, 1.25, NATS),
        goal(B1, Rate, AtLeast, 4.0, ETCD),
        goal(B1, Rate, AtLeast, 0.25, BARE),
        goal(B2, Rate, AtLeast, 3.0, ETCD),
        goal(B2, Rate, AtLeast, 1.0, NATS),
        goal(B3, P50, AtMost, 0.65, NATS),
        goal(B3, P99, AtMost, 1.0, NATS),
        goal(B4, P50, AtMost, 0.8, CHATS),
        goal(B5, Rate, AtLeast, 1.5, SOCKET_IO),
        goal(B5, Rate, AtLeast, 2.5, EJABBERD),
        goal(B7, Cpu, AtMost, 0.35, ETCD),
        goal(B7, Cpu, AtMost, 1.25, NATS),
        goal(B8, MemoryEach, AtMost, 1.2, BARE),
        Goal { case: PARKED, ..goal(B8, MemoryEach, AtMost, 20.0, Rival::Nobody) },
        goal(B9, Gap, AtMost, 0.5, ETCD),
        goal(B9, Lost, AtMost, 0.0, Rival::Nobody),
        Goal { case: BUSY_POSTS, ..goal(B10, P99, AtMost, 1.5, NATS) },
        Goal { case: BUSY_ROOM, ..goal(B10, P99, AtMost, 1.5, NATS) },
        goal(B10, Elections, AtMost, 0.0, Rival::Nobody),
        goal(Crowd, P99, AtMost, 2000.0, Rival::Nobody),
        Goal { case: ELSEWHERE, ..goal(Crowd, P99, AtMost, 20.0, Rival::Nobody) },
    ]
};
