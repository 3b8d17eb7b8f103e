//! A complete Raft node: log, state machine, network, and the handles that everything else uses.

mod config;

pub use config::RaftTiming;

use super::{
    announce::keep_announcing,
    clock::{ClockSource, keep_time, system_clock},
    cluster::{ClusterMember, ClusterMonitor, StateFacts},
    consensus::ConsensusRef,
    contact::LastContact,
    hold::LogHolds,
    identity::{IdentityStore, NodeIdentity},
    leadership::Leadership,
    level::keep_level_raised,
    log::LogStore,
    machine::StateMachine,
    membership::{AdminError, AdminParts, ClusterAdmin, CompactionOptions},
    network::{NetworkFactory, PeerSet, snapshot::ReceiveSnapshot},
    observe::{RaftObserver, report_elections},
    peer::{PeerListener, gossip::GossipSlot},
    propose::{AcceptedLookup, ProposeOptions, Proposer, RateLimits},
    read_index::ReadGate,
    snapshot::{ReceiveOptions, SendOptions, SnapshotReceiver, SnapshotSender, SnapshotShelf},
    types::TypeConfig,
    volume::{VolumeGauge, keep_judging},
};
use crate::{
    feed::ChangeFeed,
    store::{self, StateStore},
    tls::{PeerDialer, PeerTls},
};
use futures::future::BoxFuture;
use openraft::{ConfigError, Raft};
use quorate_core::{
    apply::KnownFormat,
    proto::log::Envelope,
    query::{StateView, SweepCursor, SweepPart},
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Reason why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The times in the configuration contradict each other.
    #[error("the configured Raft timeouts cannot be used")]
    Config(#[source] ConfigError),
    /// Log or state cannot be read, or openraft refuses what it found there.
    #[error("Raft cannot start: {0}")]
    Raft(String),
}

/// Settings of a node.
#[derive(Clone)]
pub struct NodeOptions {
    /// Addresses and name of this node, for the other members. The node id is that of the log.
    pub own: super::types::NodeAddresses,
    /// Matrix server name of the cluster.
    pub server_name: String,
    /// Heartbeat and election times.
    pub timing: RaftTiming,
    /// Time for which a write waits for a leader and an outcome.
    pub write_wait: Duration,
    /// Time for which a linearizable read waits before it is served stale.
    pub read_wait: Duration,
    /// Limits by class of commands; `None` for no limits but those on wrong passwords.
    pub rate_limits: Option<RateLimits>,
    /// Conditions under which checkpoints are made.
    pub compaction: CompactionOptions,
    /// Options for sending snapshots.
    pub send: SendOptions,
    /// Options for receiving snapshots.
    pub receive: ReceiveOptions,
    /// Observer for the metrics.
    pub observer: Arc<dyn RaftObserver>,
    /// Gauge of this pod's volume, updated by the code that measures it.
    pub volume: VolumeGauge,
    /// Knowledge of this pod about formats; also that of its state machine.
    pub format: KnownFormat,
}

/// Parts from which a node is built.
pub struct NodeParts<S: StateStore, D = PeerTls> {
    /// Raft log, which also holds the identity of the node.
    pub log: LogStore,
    /// State machine, which is started already.
    pub machine: StateMachine<S>,
    /// State to which the machine applies entries.
    pub store: S,
    /// Snapshots on the volume.
    pub shelf: SnapshotShelf,
    /// Feed to which the machine publishes.
    pub feed: ChangeFeed,
    /// Certificate and trust, with which other members are dialled.
    pub tls: D,
}

/// Parts of a node that depend on its volume.
struct VolumeParts {
    log: LogStore,
    holds: LogHolds,
    snapshots: Arc<dyn ReceiveSnapshot>,
    feed: ChangeFeed,
}

/// A running node. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    /// Entry point of writes.
    pub proposer: Proposer,
    /// Entry point of linearizable reads.
    pub reads: ReadGate,
    /// Status of the node and its cluster.
    pub cluster: ClusterMonitor,
    /// Changes of the membership.
    pub administration: ClusterAdmin,
    /// Service that the other members call.
    pub peer_listener: PeerListener,
    own: ClusterMember,
    consensus: ConsensusRef,
    log: LogStore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl NodeHandle {
    /// Starts openraft on the data of the volume. A node with an empty volume waits to be initialised or added.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start<S: StateStore, D: PeerDialer>(
        parts: NodeParts<S, D>,
        options: NodeOptions,
    ) -> Result<Self, NodeError> {
        Self::start_with_clock(parts, options, system_clock()).await
    }

    /// Starts a node like [`NodeHandle::start`], with another clock, for tests and simulation.
    pub async fn start_with_clock<S: StateStore, D: PeerDialer>(
        parts: NodeParts<S, D>,
        options: NodeOptions,
        clock: ClockSource,
    ) -> Result<Self, NodeError> {
        let NodeParts { log, machine, store, shelf, feed, tls } = parts;
        let identity = NodeIdentity::new(Arc::new(log.clone()));
        let peers = PeerSet::new(identity.clone(), tls, clock);
        let config = config::raft_config(&options.server_name, options.timing).map_err(NodeError::Config)?;
        let holds = LogHolds::default();
        let network = NetworkFactory::new(peers.clone(), SnapshotSender::new(options.send))
            .observed(options.observer.clone())
            .holding(holds.clone());
        let raft: Raft<TypeConfig, StateMachine<S>> =
            Raft::new(identity.node_id(), Arc::new(config), network, log.clone(), machine)
                .await
                .map_err(|error| NodeError::Raft(error.to_string()))?;
        // Any answer of openraft's loop will do: openraft publishes what it found on the volume before it answers
        // anybody. Until then, a node that has a log would report that it is empty.
        raft.is_initialized().await.map_err(|error| NodeError::Raft(error.to_string()))?;
        let receiver = SnapshotReceiver::new(store.clone(), shelf, Arc::new(raft.clone()), options.receive)
            .on_volume(options.volume.clone())
            .knowing(options.format);
        let snapshots: Arc<dyn ReceiveSnapshot> = Arc::new(receiver.observed(options.observer.clone()));
        let facts = Arc::new(StoreFacts(store));
        let stored = VolumeParts { log, holds, snapshots, feed };
        Ok(Self::assemble(Arc::new(raft), stored, peers, facts, options))
    }

    fn assemble<F: StateFacts + AcceptedLookup>(
        consensus: ConsensusRef,
        stored: VolumeParts,
        peers: PeerSet,
        facts: Arc<F>,
        options: NodeOptions,
    ) -> Self {
        let VolumeParts { log, holds, snapshots, feed } = stored;
        let identity = peers.identity().clone();
        let own = ClusterMember::new(identity.node_id(), &options.own);
        let contact = LastContact::default();
        let leadership = Leadership::of(identity.node_id(), &consensus);
        let time = peers.time().clone();
        time.attach(leadership.clone(), feed.log_time().clone(), options.timing.heartbeat);
        let propose = ProposeOptions {
            wait: options.write_wait,
            rate_limits: options.rate_limits,
            accepted: facts.clone(),
            volume: options.volume.clone(),
            observer: options.observer.clone(),
            format: options.format,
            level: feed.level().clone(),
        };
        let proposer = Proposer::start(&consensus, &peers, propose);
        let reads = ReadGate::start(&consensus, &peers, feed.applied(), options.read_wait, options.observer.clone());
        let level = (feed.level().clone(), options.format.level);
        let cluster =
            ClusterMonitor::start(&consensus, identity.clone(), contact.clone(), facts.clone(), time.clone(), level);
        let administration = ClusterAdmin::new(AdminParts {
            consensus: consensus.clone(),
            identity,
            leadership: leadership.clone(),
            cluster: cluster.clone(),
            proposer: proposer.clone(),
            facts,
            server_name: options.server_name,
            compaction: options.compaction,
            time: time.clone(),
            log: log.clone(),
            holds,
            volume: options.volume.clone(),
        });
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let peer_listener = PeerListener {
            consensus: consensus.clone(),
            peers: peers.clone(),
            contact,
            cluster: cluster.clone(),
            proposer: proposer.clone(),
            reads: reads.clone(),
            snapshots,
            closed: stop.clone(),
            observer: options.observer.clone(),
            volume: options.volume.clone(),
            gossip: GossipSlot::default(),
        };
        let node = Self { proposer, reads, cluster, administration, peer_listener, own, consensus, log, tasks, stop };
        node.spawn(node.administration.clone().keep_bootstrapped());
        node.spawn(node.administration.clone().keep_compact());
        node.spawn(node.administration.clone().keep_history_bounded());
        node.spawn(node.administration.clone().keep_devices_bounded());
        node.spawn(node.administration.clone().keep_profiles_shown());
        node.spawn(node.administration.clone().keep_departures_going());
        node.spawn(node.administration.clone().keep_clearings_going());
        node.spawn(keep_time(node.administration.clone(), time, leadership.clone()));
        node.spawn(report_elections(leadership.clone(), options.observer));
        let level = feed.level().clone();
        node.spawn(keep_level_raised(node.proposer.clone(), peers.clone(), leadership.clone(), level));
        node.spawn(keep_judging(options.volume, node.cluster.clone(), peers.clone()));
        node.spawn(keep_announcing(node.cluster.clone(), peers, leadership));
        node
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _ = stop.run_until_cancelled(task).await;
        });
    }

    /// Returns this node as its peers should know it.
    #[must_use]
    pub fn own(&self) -> &ClusterMember {
        &self.own
    }

    /// Returns this node's view of leadership and membership.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership::of(self.own.node_id, &self.consensus)
    }

    /// Transfers leadership to a caught-up voter, if this node leads and there is one; the first step of an orderly
    /// stop. All requests are still served meanwhile: writes are forwarded to the new leader.
    pub async fn hand_over(&self, limit: Duration) {
        if !self.cluster.status().leads() {
            return;
        }
        let start = Instant::now();
        match self.administration.transfer_leader(None, limit).await {
            Ok((leader, term)) => tracing::info!(leader, term, took = ?start.elapsed(), "handed leadership over"),
            Err(AdminError::NotLeader { .. }) => {}
            Err(error) => tracing::warn!(%error, "stopping without handing leadership over; the others elect a leader"),
        }
    }

    /// Refuses proposals, stops Raft, and flushes and closes the log, all within `limit`; the last step of an orderly
    /// stop. What is acknowledged is safe even if the time runs out.
    ///
    /// # Errors
    /// If the log could not be closed in order; the next start then reads its tail more carefully.
    pub async fn stop(&self, limit: Duration) -> io::Result<()> {
        let stopping = async {
            // In this order: the tasks use Raft, and Raft writes to the log until it has stopped.
            self.proposer.close();
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            self.consensus.shutdown().await;
            self.log.close().await.map_err(io::Error::other)
        };
        match tokio::time::timeout(limit, stopping).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("did not stop within {limit:?}"))),
        }
    }
}

impl IdentityStore for LogStore {
    fn node_id(&self) -> u64 {
        self.identity().node_id
    }

    fn cluster_id(&self) -> Option<String> {
        self.identity().cluster_id
    }

    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    fn set_cluster_id<'a>(&'a self, cluster_id: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { Self::set_cluster_id(self, cluster_id).await.map_err(io::Error::other) })
    }
}

/// Facts that proposing and readiness need from the state.
struct StoreFacts<S>(S);

impl<S: StateStore> StateFacts for StoreFacts<S> {
    fn is_bootstrapped(&self) -> bool {
        store::cluster_row(&self.0.view()).is_ok_and(|row| row.is_some())
    }

    fn expired_rooms(&self, now_ms: u64, limit: usize) -> Vec<String> {
        let view = self.0.view();
        let found = StateView::open(&view).and_then(|view| view.expired_rooms(now_ms, limit));
        // Either the cluster is not initialised yet, or rows are damaged, which is reported when they are served.
        found.unwrap_or_default()
    }

    fn devices_to_sweep(&self, cursor: &SweepCursor, now_ms: u64, kept_ms: u64, rows: usize) -> SweepPart {
        let view = self.0.view();
        StateView::open(&view).and_then(|view| view.devices_to_sweep(cursor, now_ms, kept_ms, rows)).unwrap_or_default()
    }

    fn unfinished_renewals(&self, limit: usize) -> Vec<String> {
        let view = self.0.view();
        StateView::open(&view).and_then(|view| view.unfinished_renewals(limit)).unwrap_or_default()
    }

    fn unfinished_departures(&self, limit: usize) -> Vec<String> {
        let view = self.0.view();
        StateView::open(&view).and_then(|view| view.unfinished_departures(limit)).unwrap_or_default()
    }

    fn unfinished_clearings(&self, limit: usize) -> Vec<String> {
        let view = self.0.view();
        StateView::open(&view).and_then(|view| view.unfinished_clearings(limit)).unwrap_or_default()
    }

    fn may_block(&self) -> bool {
        StateStore::may_block(&self.0)
    }
}

impl<S: StateStore> AcceptedLookup for StoreFacts<S> {
    fn is_accepted(&self, envelope: &Envelope) -> bool {
        quorate_core::apply::is_accepted(&self.0.view(), envelope).unwrap_or(false)
    }
}

#[cfg(test)]
pub(super) mod tests;
