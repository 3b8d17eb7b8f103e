//! Lifecycle of a pod: opens the volume, starts Raft, opens the listeners, waits, and closes in the opposite order.

mod chronicle;
mod listeners;
mod load;
mod refusals;
mod secrets;
mod storage;

use crate::api::health::PodHealth;
use crate::config::{self, Config, ListenAddresses, PresenceConfig, RegistrationMode};
use crate::ephemeral::{EphemeralHub, EphemeralSettings, GossipServer, keep_listening, publish_changes};
use crate::exit::{ExitReason, ProcessFailure};
use crate::feed::ChangeFeed;
use crate::metrics::ChatMetrics;
use crate::metrics::scrape::{MetricSources, check_readiness};
use crate::open::{self, OpenedVolume};
use crate::push::{PushSender, PushSenderParts};
use crate::raft::cluster::NodeStatus;
use crate::raft::leadership::Leadership;
use crate::raft::membership::CompactionOptions;
use crate::raft::node::{NodeError, NodeHandle, NodeOptions, NodeParts, RaftTiming};
use crate::raft::propose::{RateLimit, RateLimits};
use crate::raft::volume::{VolumeGauge, VolumeSizes};
use crate::raft::{log::LogStore, types};
use crate::service::{AccountPolicy, ChatService, ServiceParts, ServiceSettings};
use crate::shutdown::{self, LINGER};
use crate::store::{FatalSignal, RocksStore, StateStore as _};
use crate::tls::{PeerTls, RELOAD_EVERY, TlsFiles, outgoing_tls};
use listeners::PodListeners;
use quorate_core::apply::KnownFormat;
use std::sync::Arc;
use std::time::Duration;
use storage::{FsProbe, StorageWatch, keep_measuring};
use tokio_util::sync::CancellationToken;

/// Longest time that a write waits for a leader and its outcome: several elections, but less than people's patience.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// Longest time that a read waits for a quorum. After that it is served from this pod's own state, and says so.
const READ_WAIT: Duration = Duration::from_secs(2);
/// Longest time for handing over leadership. It takes a few milliseconds; if nobody can take over, stopping must not
/// hang on it.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Time that open client calls get to finish after clients were told to go elsewhere. A call still open then is waiting
/// for a leader that this pod will not see; its caller sends it again, with the same transaction id, to another pod.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// Longest time for closing log and state, at the end of the grace period.
const CLOSING: Duration = Duration::from_secs(5);

/// Runs a pod until it is told to stop.
///
/// # Errors
/// Returns a [`ProcessFailure`] that says why the pod could not start, or why it had to stop.
pub async fn run_pod(config: Config) -> Result<(), ProcessFailure> {
    let metrics = ChatMetrics::new().map_err(|error| ProcessFailure::caused(ExitReason::Fatal, &error))?;
    let health = PodHealth::new(metrics.clone());
    let fatal = FatalSignal::default();
    let told = shutdown::wait_for_signal();
    tokio::pin!(told);
    let node = &config.node_name;
    let server_name = &config.server_name;
    let data_dir = config.data_dir.display();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), node, server_name, %data_dir, "starting");
    listeners::serve_health(&config, health.clone()).await?;
    health.opening("opening the log and the state");
    let pod = tokio::select! {
        pod = RunningPod::open(&config, &metrics, &health, &fatal) => pod?,
        told = &mut told => return told.map(|signal| tracing::info!(signal, "stopped before the volume was opened")),
        failure = shutdown::wait_for_failure(&fatal) => return Err(failure),
    };
    let signal = tokio::select! {
        told = told => told?,
        failure = shutdown::wait_for_failure(&fatal) => return Err(failure),
    };
    tracing::info!(signal, "stopping");
    let grace = config.shutdown_grace;
    if tokio::time::timeout(grace, pod.close(&health, grace)).await.is_err() {
        tracing::warn!(?grace, "shutdown did not finish within the grace period; nothing acknowledged is lost");
    }
    Ok(())
}

/// All open parts of a pod.
struct RunningPod {
    node: NodeHandle,
    store: RocksStore,
    listeners: PodListeners,
    /// Cancelled to end clients' streams and long polls.
    hint: CancellationToken,
    /// Cancelled before Raft is stopped, so that its end is not taken for a failure.
    closing: CancellationToken,
}

impl RunningPod {
    async fn open(
        config: &Config,
        metrics: &ChatMetrics,
        health: &PodHealth,
        fatal: &FatalSignal,
    ) -> Result<Self, ProcessFailure> {
        let tls = load_peer_tls(config)?;
        // Before the volume is opened: it takes a moment, and a missing secret is found at once.
        let policy = secrets::account_policy(config)?;
        let feed = ChangeFeed::new();
        tokio::spawn(feed.fan_out());
        let OpenedVolume { log, store, shelf, machine } = open_off_runtime(config, &feed, fatal, metrics).await?;
        watch_log(log.clone(), fatal.clone());
        health.opening("starting Raft");
        let parts =
            NodeParts { log: log.clone(), machine, store: store.clone(), shelf, feed: feed.clone(), tls: tls.clone() };
        let node =
            NodeHandle::start(parts, node_options(config, metrics)).await.map_err(|error| node_failure(&error))?;
        let closing = CancellationToken::new();
        watch_raft(&node, log, fatal.clone(), closing.clone());
        let hint = CancellationToken::new();
        let ephemeral = start_ephemeral(config, &node, &store, &feed, metrics);
        let settings = service_settings(config, policy);
        start_push(config, &node, &store, &feed, metrics, closing.clone())?;
        let service = build_service(settings, &node, &store, &feed, ephemeral, metrics, hint.clone());
        let probe = Arc::new(FsProbe::new(config.data_dir.clone()));
        tokio::spawn(keep_measuring(probe, node.peer_listener.volume.clone()));
        let storage = StorageWatch::start(config.data_dir.clone(), metrics.clone());
        let listeners = PodListeners::open(config, &node, service, tls, metrics, storage, fatal).await?;
        let volume = node.peer_listener.volume.clone();
        let sources = MetricSources { cluster: node.cluster.clone(), store: Arc::new(store.clone()), feed, volume };
        let cluster = node.cluster.clone();
        let observed = metrics.clone();
        health.open(Arc::new(move || check_readiness(&cluster)), Arc::new(move || observed.refresh(&sources)));
        tokio::spawn(metrics.clone().count_leaders(node.cluster.clone()));
        say_open(config, &node);
        tokio::spawn(chronicle::log_changes(node.cluster.clone()));
        tokio::spawn(refusals::log_bursts(metrics.clone()));
        Ok(Self { node, store, listeners, hint, closing })
    }

    /// Hands over leadership first, so that writes continue elsewhere; then closes client calls; log and state last.
    async fn close(self, health: &PodHealth, grace: Duration) {
        let Self { node, store, listeners, hint, closing } = self;
        health.stopping();
        listeners.not_serving().await;
        node.hand_over(HAND_OVER.min(grace / 3)).await;
        hint.cancel();
        tokio::time::sleep(LINGER.min(grace / 4)).await;
        listeners.close_clients(LAST_CALLS.min(grace / 4)).await;
        closing.cancel();
        if let Err(error) = node.stop(CLOSING.min(grace / 3)).await {
            tracing::warn!(%error, "Raft and its log were not closed cleanly; the next start rereads the tail of the log");
        }
        listeners.close_peers();
        let flushed = tokio::task::spawn_blocking(move || store.flush()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the state was not flushed; the next start reapplies the end of the log");
        }
        tracing::info!("stopped");
    }
}

/// Logs the identity and the addresses of this pod, so that they can be looked up.
fn say_open(config: &Config, node: &NodeHandle) {
    let NodeStatus { cluster_id, term, last_log_index, applied_index, .. } = node.cluster.status();
    let ListenAddresses { http, grpc, peer, metrics } = config.listen;
    tracing::info!(
        node_id = node.own().node_id,
        cluster_id = cluster_id.as_deref(),
        term,
        last_log_index,
        applied_index,
        %http,
        %grpc,
        %peer,
        %metrics,
        "open"
    );
}

fn load_peer_tls(config: &Config) -> Result<PeerTls, ProcessFailure> {
    let files = TlsFiles {
        ca: config.tls.ca_file.clone(),
        cert: config.tls.cert_file.clone(),
        key: config.tls.key_file.clone(),
    };
    let tls = PeerTls::load(files).map_err(|error| {
        let ProcessFailure { exit, sentence } = ProcessFailure::caused(ExitReason::Config, &error);
        ProcessFailure::new(
            exit,
            format!("the peer listener has no usable certificate (tls.caFile, tls.certFile, tls.keyFile): {sentence}"),
        )
    })?;
    tokio::spawn(tls.clone().keep_fresh(RELOAD_EVERY, CancellationToken::new()));
    Ok(tls)
}

async fn open_off_runtime(
    config: &Config,
    feed: &ChangeFeed,
    fatal: &FatalSignal,
    metrics: &ChatMetrics,
) -> Result<OpenedVolume, ProcessFailure> {
    let config = config.clone();
    let feed = feed.clone();
    let fatal = fatal.clone();
    let metrics = metrics.clone();
    let opened = tokio::task::spawn_blocking(move || open::open_volume(&config, &feed, &fatal, &metrics)).await;
    opened.map_err(|error| ProcessFailure::caused(ExitReason::Fatal, &error))?
}

/// Ends the process if the log can no longer be written: its memory may then be ahead of its disk.
fn watch_log(log: LogStore, fatal: FatalSignal) {
    tokio::spawn(async move { fatal.raise(log.failed().await) });
}

/// Ends the process if Raft stops: such a pod looks alive but serves nobody, so a new process is better.
fn watch_raft(node: &NodeHandle, log: LogStore, fatal: FatalSignal, closing: CancellationToken) {
    let mut leadership = Leadership::of(node.own().node_id, &node.peer_listener.consensus);
    tokio::spawn(async move {
        while let Some(runs) = closing.run_until_cancelled(leadership.changed()).await {
            if !runs {
                // The watch on the log may report later, and people need the disk's error instead of its consequence.
                return match log.failure() {
                    Some(error) => fatal.raise(error),
                    None => fatal.raise("Raft has stopped; the log above says why"),
                };
            }
        }
    });
}

fn node_options(config: &Config, metrics: &ChatMetrics) -> NodeOptions {
    let raft = &config.raft;
    NodeOptions {
        own: types::NodeAddresses {
            peer_address: config.advertise.peer.clone(),
            client_address: config.advertise.grpc.clone(),
            name: config.node_name.clone(),
        },
        server_name: config.server_name.clone(),
        timing: RaftTiming {
            heartbeat: raft.heartbeat_interval,
            election_min: raft.election_timeout_min,
            election_max: raft.election_timeout_max,
        },
        write_wait: WRITE_WAIT,
        read_wait: READ_WAIT,
        rate_limits: config.rate_limit.enabled.then(|| rate_limits(&config.rate_limit)),
        compaction: CompactionOptions {
            entries: raft.snapshot_entries,
            keep_entries: raft.keep_log_entries,
            bytes: VolumeSizes::of(fs4::total_space(&config.data_dir).unwrap_or(0)).log,
            ..CompactionOptions::default()
        },
        send: Default::default(),
        receive: Default::default(),
        observer: Arc::new(metrics.clone()),
        volume: VolumeGauge::with_reserve(config.storage_reserve_mebibytes.map(|n| n.saturating_mul(1 << 20))),
        format: KnownFormat::CURRENT,
    }
}

fn node_failure(error: &NodeError) -> ProcessFailure {
    let exit = match error {
        NodeError::Config(_) => ExitReason::Config,
        NodeError::Raft(_) => ExitReason::Damaged,
    };
    ProcessFailure::caused(exit, error)
}

/// Starts what carries typing and presence. Its tasks end with the process: nothing of it is kept.
fn start_ephemeral(
    config: &Config,
    node: &NodeHandle,
    store: &RocksStore,
    feed: &ChangeFeed,
    metrics: &ChatMetrics,
) -> EphemeralHub {
    let PresenceConfig { enabled, pod_timeout } = config.presence;
    let settings = EphemeralSettings { presence: enabled, silence: pod_timeout };
    let hub = EphemeralHub::new(settings, rand::random(), metrics.clone());
    let peers = node.peer_listener.peers.clone();
    node.peer_listener.gossip.set(GossipServer(hub.clone()));
    tokio::spawn(keep_listening(hub.clone(), peers, node.leadership()));
    tokio::spawn(publish_changes(hub.clone(), store.clone(), feed.clone()));
    hub
}

/// Starts the sender of notifications, which sends while this pod leads.
fn start_push(
    config: &Config,
    node: &NodeHandle,
    store: &RocksStore,
    feed: &ChangeFeed,
    metrics: &ChatMetrics,
    stop: CancellationToken,
) -> Result<(), ProcessFailure> {
    let tls = outgoing_tls(config.push.ca_file.as_deref()).map_err(|error| {
        let ProcessFailure { exit, sentence } = ProcessFailure::caused(ExitReason::Config, &error);
        ProcessFailure::new(exit, format!("push gateways cannot be recognised (push.caFile): {sentence}"))
    })?;
    let sender = PushSender::new(PushSenderParts {
        rows: Arc::new(store.clone()),
        proposer: node.proposer.clone(),
        reads: node.reads.clone(),
        leadership: node.leadership(),
        feed: feed.clone(),
        metrics: metrics.clone(),
        tls,
        allow_private: config.push.allow_private,
    });
    tokio::spawn(sender.run(stop));
    Ok(())
}

/// Returns the limits of the classes of commands.
fn rate_limits(config: &config::RateLimit) -> RateLimits {
    let config::RateLimit { enabled: _, messages, per, state, account, receipts, keys, logins, registrations } =
        *config;
    let derived = RateLimits::of_messages(RateLimit { burst: messages, per });
    let or = |set: Option<u32>, derived: RateLimit| RateLimit { burst: set.unwrap_or(derived.burst), per };
    RateLimits {
        messages: derived.messages,
        state: or(state, derived.state),
        account: or(account, derived.account),
        receipts: or(receipts, derived.receipts),
        keys: or(keys, derived.keys),
        logins: RateLimit { burst: logins, ..derived.logins },
        registrations: RateLimit { burst: registrations, ..derived.registrations },
    }
}

fn service_settings(config: &Config, accounts: AccountPolicy) -> ServiceSettings {
    ServiceSettings {
        server_name: config.server_name.clone(),
        session_lifetime: config.session_lifetime,
        registration_open: config.registration != RegistrationMode::Closed,
        accounts,
        administrators: config.administrators.clone(),
        rate_limited: config.rate_limit.enabled,
        registrations: config.rate_limit.registrations,
        quotas: config.quotas,
        directory_is_open: config.directory.without_token,
    }
}

fn build_service(
    settings: ServiceSettings,
    node: &NodeHandle,
    store: &RocksStore,
    feed: &ChangeFeed,
    ephemeral: EphemeralHub,
    metrics: &ChatMetrics,
    stopping: CancellationToken,
) -> ChatService {
    ChatService::new(ServiceParts {
        settings,
        rows: Arc::new(store.clone()),
        proposer: node.proposer.clone(),
        reads: node.reads.clone(),
        cluster: node.cluster.clone(),
        feed: feed.clone(),
        ephemeral,
        metrics: metrics.clone(),
        stopping,
    })
}
