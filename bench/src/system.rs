//! Systems under measurement: Quorate, its peers, and the bare machine. One closed set; each knows how it is started
//! and driven.

pub(crate) mod bare;
pub(crate) mod ejabberd;
pub(crate) mod etcd;
pub(crate) mod nats;
pub(crate) mod quorate;
pub(crate) mod socketio;
pub(crate) mod synapse;

use crate::load::{
    clock::LoadClock, failover::LeaderOutage, idle::IdleConnections, latency::LatencyRecorder, members::DeliveryBoard,
    post::PostMode, room::RoomUnderLoad,
};
use crate::places::BenchPaths;
use crate::process::ServerProcess;
use crate::stage::{START, run_stage};
use anyhow::bail;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// A system under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BenchSystem {
    /// Cluster of three `chatd` processes.
    Quorate,
    /// Three NATS servers with a JetStream stream of three replicas, synced at every write.
    Nats,
    /// Cluster of three etcd members.
    Etcd,
    /// Three clustered ejabberd nodes; rooms in memory.
    Ejabberd,
    /// Three Node.js processes with socket.io and one Redis; rooms in memory.
    #[value(name = "socketio")]
    #[serde(rename = "socketio")]
    SocketIo,
    /// One Synapse process with SQLite.
    Synapse,
    /// No system at all: files, `fdatasync` and tonic.
    Bare,
}

impl BenchSystem {
    /// Returns the name as people write it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Quorate => "Quorate",
            Self::Nats => "NATS JetStream",
            Self::Etcd => "etcd",
            Self::Ejabberd => "ejabberd",
            Self::SocketIo => "socket.io + Redis",
            Self::Synapse => "Synapse",
            Self::Bare => "bare",
        }
    }
}

/// Reason why a system is not driven by a workload that has another protocol than Matrix.
const MATRIX_ONLY: &str = "the system is driven over Matrix only";

/// A running system, with connections to it. When dropped, its processes end and its data is removed.
pub(crate) enum RunningSystem {
    Quorate(quorate::QuorateCluster),
    Nats(nats::NatsCluster),
    Etcd(etcd::EtcdCluster),
    Ejabberd(ejabberd::EjabberdCluster),
    SocketIo(socketio::SocketIo),
    Synapse(synapse::SynapseServer),
    Bare(bare::BareMachine),
}

impl RunningSystem {
    /// Starts the processes of a system, and returns when they serve.
    ///
    /// # Errors
    /// Fails if a program is missing or does not come up; the message names its log.
    pub(crate) async fn start(system: BenchSystem, places: &BenchPaths) -> anyhow::Result<Self> {
        run_stage(&format!("starting {}", system.title()), START, Self::started(system, places)).await
    }

    async fn started(system: BenchSystem, places: &BenchPaths) -> anyhow::Result<Self> {
        Ok(match system {
            BenchSystem::Quorate => Self::Quorate(quorate::QuorateCluster::start(places).await?),
            BenchSystem::Nats => Self::Nats(nats::NatsCluster::start(places).await?),
            BenchSystem::Etcd => Self::Etcd(etcd::EtcdCluster::start(places).await?),
            BenchSystem::Ejabberd => Self::Ejabberd(ejabberd::EjabberdCluster::start(places).await?),
            BenchSystem::SocketIo => Self::SocketIo(socketio::SocketIo::start(places).await?),
            BenchSystem::Synapse => Self::Synapse(synapse::SynapseServer::start(places).await?),
            BenchSystem::Bare => Self::Bare(bare::BareMachine::start(places).await?),
        })
    }

    /// Returns all server processes.
    pub(crate) fn servers(&self) -> &[ServerProcess] {
        match self {
            Self::Quorate(it) => &it.servers,
            Self::Nats(it) => &it.servers,
            Self::Etcd(it) => &it.servers,
            Self::Ejabberd(it) => &it.servers,
            Self::SocketIo(it) => &it.servers,
            Self::Synapse(it) => &it.servers,
            Self::Bare(it) => &it.servers,
        }
    }

    /// Returns the ids of all server processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.servers().iter().map(ServerProcess::pid).collect()
    }

    /// Returns the addresses at which the system serves Matrix.
    ///
    /// # Errors
    /// Fails if the system is no homeserver.
    pub(crate) fn homeserver(&self) -> anyhow::Result<Vec<SocketAddr>> {
        match self {
            Self::Quorate(it) => Ok(it.homeserver()),
            Self::Synapse(it) => Ok(vec![it.address]),
            Self::Nats(_) | Self::Etcd(_) | Self::Ejabberd(_) | Self::SocketIo(_) | Self::Bare(_) => {
                bail!("the system is no homeserver")
            }
        }
    }

    /// Posts for the length of the clock, and records each acknowledgement.
    ///
    /// # Errors
    /// Fails if a post fails, or if the system does not keep posts.
    pub(crate) async fn post(&self, posting: PostMode, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
        match self {
            Self::Quorate(it) => it.post(posting, clock).await,
            Self::Nats(it) => it.post(posting, clock).await,
            Self::Etcd(it) => it.post(posting, clock).await,
            Self::Bare(it) => it.post(posting, clock).await,
            Self::Ejabberd(_) | Self::SocketIo(_) => bail!("the system has no durable acknowledgements"),
            Self::Synapse(_) => bail!(MATRIX_ONLY),
        }
    }

    /// Opens a room with connected members, spread over all processes, who report to the board.
    ///
    /// # Errors
    /// Fails if a member cannot connect or enter, or if the system has no rooms.
    pub(crate) async fn room(&self, board: Arc<DeliveryBoard>) -> anyhow::Result<RoomUnderLoad> {
        match self {
            Self::Quorate(it) => it.room(board).await,
            Self::Nats(it) => it.room(board).await,
            Self::Ejabberd(it) => it.room(board).await,
            Self::SocketIo(it) => it.room(board).await,
            Self::Bare(it) => it.room(board).await,
            Self::Etcd(_) => bail!("the system has no rooms"),
            Self::Synapse(_) => bail!(MATRIX_ONLY),
        }
    }

    /// Connects `count` subscribers that receive nothing, each over a connection of its own.
    ///
    /// # Errors
    /// Fails if a subscriber cannot connect, or if the system has none that are measured.
    pub(crate) async fn idle(&self, count: usize) -> anyhow::Result<IdleConnections> {
        match self {
            Self::Quorate(it) => it.idle(count).await,
            Self::Nats(it) => it.idle(count).await,
            Self::Ejabberd(it) => it.idle(count).await,
            Self::SocketIo(it) => it.idle(count).await,
            Self::Bare(it) => it.idle(count).await,
            Self::Etcd(_) => bail!("the system has no subscribers to measure"),
            Self::Synapse(_) => bail!(MATRIX_ONLY),
        }
    }

    /// Kills the leader under writers, waits until writing goes on, counts what was lost, and brings the leader back.
    ///
    /// # Errors
    /// Fails if writing does not go on, or if the system has no leader.
    pub(crate) async fn outage(&mut self) -> anyhow::Result<LeaderOutage> {
        match self {
            Self::Quorate(it) => it.outage().await,
            Self::Nats(it) => it.outage().await,
            Self::Etcd(it) => it.outage().await,
            Self::Ejabberd(_) | Self::SocketIo(_) | Self::Synapse(_) | Self::Bare(_) => {
                bail!("the system has no leader")
            }
        }
    }
}
