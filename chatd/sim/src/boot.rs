//! Start of a pod on a simulated machine, and of the tasks that report what becomes of it.

use crate::act::SimAction;
use crate::faults::{BEGIN, HEAL, MS, PlannedFault};
use crate::history::{LeadershipChange, SharedHistory};
use crate::layout::PODS;
use crate::mutation::Mutation;
use crate::replica::consensus::{ConsensusFaults, FaultyConsensus};
use crate::replica::disk::FaultyDisk;
use crate::replica::store::SimStore;
use crate::replica::{PodHandle, PodSlot, SERVER};
use crate::upgrade::PodVersion;
use crate::world::net::{HostId, SimNet, listener_address};
use crate::world::stream::SimStream;
use futures::future::BoxFuture;
use futures::{FutureExt as _, stream};
use quorate_chatd::config::AccountQuotas;
use quorate_chatd::ephemeral::{EphemeralHub, EphemeralSettings};
use quorate_chatd::feed::ChangeFeed;
use quorate_chatd::metrics::ChatMetrics;
use quorate_chatd::raft::leadership::Leadership;
use quorate_chatd::raft::log::{LogOptions, LogStore};
use quorate_chatd::raft::machine::{StartFacts, StateMachine, start_check};
use quorate_chatd::raft::membership::CompactionOptions;
use quorate_chatd::raft::node::{NodeHandle, NodeOptions, NodeParts, RaftTiming};
use quorate_chatd::raft::peer::serve::serve_on;
use quorate_chatd::raft::propose::NoObserver;
use quorate_chatd::raft::snapshot::{ReceiveOptions, SendOptions, SnapshotShelf};
use quorate_chatd::raft::threading::ThreadingModel;
use quorate_chatd::raft::types;
use quorate_chatd::raft::volume::VolumeGauge;
use quorate_chatd::service::{AccountPolicy, ChatService, ServiceParts, ServiceSettings};
use quorate_chatd::store::{FatalSignal, StateStore as _};
use quorate_chatd::tls::{PeerDialer, PeerIo};
use quorate_core::apply::KnownFormat;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Everything that a pod is started with.
pub(crate) struct PodSetup {
    pub(crate) host: HostId,
    pub(crate) net: SimNet<SimAction>,
    pub(crate) disk: FaultyDisk,
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) version: PodVersion,
    /// Number of this process among all processes of the simulation.
    pub(crate) life: u64,
    /// `true` if a mutation of only one replica applies to this one.
    pub(crate) odd: bool,
    pub(crate) compaction: CompactionOptions,
    /// Requests per thousand that are delivered a second time, late.
    pub(crate) again: usize,
    pub(crate) history: SharedHistory,
    pub(crate) slot: PodSlot,
}

#[derive(Clone)]
struct SimDialer {
    net: SimNet<SimAction>,
    host: HostId,
}

impl PeerDialer for SimDialer {
    fn dial(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn PeerIo>>> {
        let stream = self.net.dial(self.host, to);
        async move { Ok(Box::new(stream.established().await?) as Box<dyn PeerIo>) }.boxed()
    }
}

/// Runs a pod; a failure to start is reported as [`SimAction::Died`].
pub(crate) async fn boot_pod(start: PodSetup) {
    let net = start.net.clone();
    let host = start.host;
    if let Err(reason) = start_pod(start).await {
        net.act_at(net.now(), SimAction::Died { host, reason });
    }
}

async fn start_pod(start: PodSetup) -> Result<(), String> {
    let PodSetup { host, net, disk, dir, seed, mutation, version, life, odd, compaction, again, history, slot } = start;
    let of_store = mutation.filter(|mutation| *mutation != Mutation::ReplicaDiffers || odd);
    let options = LogOptions {
        drive: ThreadingModel::Task,
        segment_bytes: 32 << 10,
        cache_bytes: 16 << 10,
        lock_wait: Duration::ZERO,
        ..LogOptions::default()
    };
    let (log, _) = LogStore::open_on(Arc::new(disk), options).map_err(|error| error.to_string())?;
    let store = SimStore::new(of_store);
    let feed = ChangeFeed::new();
    let fatal = FatalSignal::default();
    tokio::spawn(feed.fan_out());
    let shelf = SnapshotShelf::open(&dir).map_err(|error| error.to_string())?;
    let identity = log.identity();
    let facts = StartFacts {
        log_cluster: identity.cluster_id.as_deref(),
        purged: log.purged(),
        applied: store.applied().index(),
        snapshot: shelf.newest_applied(),
        ..StartFacts::default()
    };
    start_check(&facts).map_err(|error| error.to_string())?;
    let machine = StateMachine::start_on(
        ThreadingModel::Task,
        version.format(),
        store.clone(),
        shelf.clone(),
        feed.clone(),
        fatal.clone(),
        Arc::new(()),
    )
    .map_err(|error| error.to_string())?;
    let dialer = SimDialer { net: net.clone(), host };
    let parts = NodeParts { log: log.clone(), machine, store: store.clone(), shelf, feed: feed.clone(), tls: dialer };
    let options = options_of(host, compaction, version.announced_format(mutation, odd));
    let node = NodeHandle::start(parts, options).await.map_err(|error| error.to_string())?;
    watch_leadership(&node, &history, &net, host, life);
    if mutation == Some(Mutation::DiskGoesBack) {
        lose_power_with_leadership(&node, &net);
    }
    watch_failures(&log, &fatal, &net, host);

    let mut listener = node.peer_listener.clone();
    let hinge = ConsensusFaults { seed, again, mutation, odd, history: history.clone() };
    listener.consensus =
        Arc::new(FaultyConsensus::new(listener.consensus.clone(), hinge, Duration::from_nanos(net.now())));
    net.listen(host);
    let accepted = {
        let net = net.clone();
        stream::poll_fn(move |context| net.poll_accept(host, context.waker()).map(|stream| stream.map(io::Result::Ok)))
    };
    let routes = Routes::new(listener.into_service());
    tokio::spawn(serve_on::<SimStream<SimAction>>(accepted, routes, CancellationToken::new()));
    let metrics = ChatMetrics::new().map_err(|error| error.to_string())?;
    // Neither published nor streamed: it is not part of what is simulated.
    let silence = EphemeralSettings { presence: false, silence: Duration::from_secs(30) };
    let service = ChatService::new(ServiceParts {
        settings: ServiceSettings {
            server_name: SERVER.to_owned(),
            session_lifetime: Duration::ZERO,
            registration_open: true,
            accounts: AccountPolicy::default(),
            administrators: Vec::new(),
            rate_limited: false,
            registrations: u32::MAX,
            quotas: AccountQuotas::default(),
            directory_is_open: false,
        },
        rows: Arc::new(store.clone()),
        proposer: node.proposer.clone(),
        reads: node.reads.clone(),
        cluster: node.cluster.clone(),
        feed,
        ephemeral: EphemeralHub::new(silence, 1, metrics.clone()),
        metrics,
        stopping: CancellationToken::new(),
    });
    *slot.lock().unwrap() = Some(PodHandle { node, service, store, log });
    Ok(())
}

fn options_of(host: HostId, compaction: CompactionOptions, format: KnownFormat) -> NodeOptions {
    NodeOptions {
        own: types::NodeAddresses {
            peer_address: listener_address(host).to_string(),
            client_address: format!("pod-{host}:7400"),
            name: format!("pod-{host}"),
        },
        server_name: SERVER.to_owned(),
        timing: RaftTiming::default(),
        write_wait: Duration::from_secs(10),
        read_wait: Duration::from_secs(2),
        rate_limits: None,
        compaction,
        send: SendOptions { drive: ThreadingModel::Task, ..SendOptions::default() },
        receive: ReceiveOptions { drive: ThreadingModel::Task, ..ReceiveOptions::default() },
        observer: Arc::new(NoObserver),
        volume: VolumeGauge::default(),
        format,
    }
}

/// Records every leadership as it begins, so that a short one is not missed between two looks. A Raft that has stopped
/// ends the process, as in production.
fn watch_leadership(node: &NodeHandle, history: &SharedHistory, net: &SimNet<SimAction>, host: HostId, life: u64) {
    let mut leadership = Leadership::of(node.own().node_id, &node.peer_listener.consensus);
    let id = node.own().node_id;
    let history = history.clone();
    let net = net.clone();
    tokio::spawn(async move {
        let mut led = None;
        loop {
            let leads = leadership.is_leader().then(|| leadership.term());
            if let Some(term) = leads {
                history.led((term, id), life);
            }
            if leads != led {
                history.turned(LeadershipChange { at: net.now(), host, term: leads });
                led = leads;
            }
            if !leadership.changed().await {
                return net.act_at(net.now(), SimAction::Died { host, reason: "Raft has stopped".to_owned() });
            }
        }
    });
}

/// Cuts the power of all machines of the cluster when this one begins to lead.
fn lose_power_with_leadership(node: &NodeHandle, net: &SimNet<SimAction>) {
    let mut leadership = Leadership::of(node.own().node_id, &node.peer_listener.consensus);
    let net = net.clone();
    tokio::spawn(async move {
        while !leadership.is_leader() {
            leadership.until_changed().await;
        }
        if (BEGIN..HEAL).contains(&net.now()) {
            for pod in 0..PODS {
                net.act_at(net.now(), SimAction::Fault(PlannedFault::Crash { pod, power: true, down: 50 * MS }));
            }
        }
    });
}

fn watch_failures(log: &LogStore, fatal: &FatalSignal, net: &SimNet<SimAction>, host: HostId) {
    let log = log.clone();
    let fatal = fatal.clone();
    let net = net.clone();
    tokio::spawn(async move {
        let reason = tokio::select! {
            biased;
            error = log.failed() => error.to_string(),
            cause = fatal.raised() => cause.text.to_string(),
        };
        net.act_at(net.now(), SimAction::Died { host, reason });
    });
}
