//! Workloads by name, and the metrics that they measure.

use crate::system::BenchSystem;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The workloads, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Workload {
    /// Durable posts over a stream, 256 in flight
    #[value(name = "B1", alias = "b1")]
    B1,
    /// Durable posts, one call each, 64 callers
    #[value(name = "B2", alias = "b2")]
    B2,
    /// Durable posts, one at a time
    #[value(name = "B3", alias = "b3")]
    B3,
    /// 100 members of one room, 50 messages a second
    #[value(name = "B4", alias = "b4")]
    B4,
    /// The same room, highest rate
    #[value(name = "B5", alias = "b5")]
    B5,
    /// Sends, deliveries and syncs over Matrix; includes `crowd`
    #[value(name = "B6", alias = "b6")]
    B6,
    /// Server CPU time per post of B1; measured in its run
    #[value(name = "B7", alias = "b7")]
    B7,
    /// Memory of 5,000 idle subscribers
    #[value(name = "B8", alias = "b8")]
    B8,
    /// The leader is killed under 4 writers
    #[value(name = "B9", alias = "b9")]
    B9,
    /// Posts and delivery while other work keeps all cores busy
    #[value(name = "B10", alias = "b10")]
    B10,
    /// One message to a room with 10,000 parked `/sync` requests
    #[value(name = "crowd")]
    Crowd,
    /// Posts as stored messages and rooms grow
    #[value(name = "growth")]
    Growth,
}

impl Workload {
    /// Returns the name as people write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::B1 => "B1",
            Self::B2 => "B2",
            Self::B3 => "B3",
            Self::B4 => "B4",
            Self::B5 => "B5",
            Self::B6 => "B6",
            Self::B7 => "B7",
            Self::B8 => "B8",
            Self::B9 => "B9",
            Self::B10 => "B10",
            Self::Crowd => "crowd",
            Self::Growth => "growth",
        }
    }

    /// Returns one line that says what the workload is.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::B1 => "durable posts over a stream, 256 in flight",
            Self::B2 => "durable posts, one call each, 64 callers",
            Self::B3 => "durable posts, one at a time",
            Self::B4 => "100 members of one room on 3 nodes, 50 messages/s, delivered",
            Self::B5 => "the same room, highest rate with p99 below 250 ms",
            Self::B6 => "Matrix over HTTP: sends, deliveries, syncs",
            Self::B7 => "server CPU time per post of B1, all nodes",
            Self::B8 => "5,000 idle subscribers, server memory per subscriber",
            Self::B9 => "kill -9 of the leader under 4 writers",
            Self::B10 => "B3 and B4 while work at nice 10 keeps all cores busy",
            Self::Crowd => "one message to a room with 10,000 parked /sync requests on 3 nodes",
            Self::Growth => "posts as stored data grows",
        }
    }

    /// Returns the systems that the workload compares.
    pub(crate) const fn systems(self) -> &'static [BenchSystem] {
        use BenchSystem::{Bare, Ejabberd, Etcd, Nats, Quorate, SocketIo, Synapse};
        match self {
            Self::B1 | Self::B2 | Self::B3 | Self::B7 => &[Quorate, Nats, Etcd, Bare],
            Self::B4 | Self::B5 => &[Quorate, Ejabberd, SocketIo, Nats, Bare],
            Self::B6 => &[Quorate, Synapse],
            Self::B8 => &[Quorate, Nats, Ejabberd, SocketIo, Bare],
            Self::B9 => &[Quorate, Etcd, Nats],
            Self::B10 => &[Quorate, Nats, Ejabberd],
            Self::Crowd | Self::Growth => &[Quorate],
        }
    }
}

/// Quantity that a workload measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BenchMetric {
    /// Posts or messages per second.
    Rate,
    /// Median of the latency, in milliseconds.
    P50,
    /// 99th percentile of the latency, in milliseconds.
    P99,
    /// CPU time per post or sync, in microseconds.
    Cpu,
    /// CPU time of all servers while nothing is asked of them, in percent of one core.
    Busy,
    /// Resident memory per subscriber, in KiB.
    MemoryEach,
    /// Resident memory of all servers, in MiB.
    Memory,
    /// Longest time without an acknowledgement, in seconds.
    Gap,
    /// Number of messages that were acknowledged and are gone.
    Lost,
    /// Number of elections that nothing gave cause for.
    Elections,
    /// Time from start to ready, in seconds.
    Start,
}

impl BenchMetric {
    /// Returns the head of a column, with its unit.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Rate => "per second",
            Self::P50 => "p50, ms",
            Self::P99 => "p99, ms",
            Self::Cpu => "CPU each, µs",
            Self::Busy => "CPU, % of a core",
            Self::MemoryEach => "memory each, KiB",
            Self::Memory => "memory, MiB",
            Self::Gap => "longest gap, s",
            Self::Lost => "lost",
            Self::Elections => "elections",
            Self::Start => "start, s",
        }
    }
}
