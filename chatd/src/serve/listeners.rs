//! The four listeners of a pod.

use super::load::LoadWatch;
use super::storage::StorageWatch;
use crate::api::admin::{AdminApi, ProcessFacts, WriteLoad};
use crate::api::grpc::server::{self, GrpcHealth};
use crate::api::health::PodHealth;
use crate::api::listen::{ListenerBounds, ListenerTimeouts};
use crate::api::matrix;
use crate::api::moderation::ModerationApi;
use crate::config::Config;
use crate::exit::{ExitReason, ProcessFailure};
use crate::metrics::ChatMetrics;
use crate::raft::node::NodeHandle;
use crate::raft::peer;
use crate::service::ChatService;
use crate::store::FatalSignal;
use crate::tls::{ClientTls, PeerTls, RELOAD_EVERY};
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

/// Open listeners for clients and peers.
pub(super) struct PodListeners {
    health: GrpcHealth,
    bounds: Arc<ListenerBounds>,
    clients: TaskTracker,
    clients_closed: CancellationToken,
    peers_closed: CancellationToken,
}

impl PodListeners {
    /// Opens the listeners for peers, gRPC and HTTP; the peer listener first, so that Raft proceeds while the others
    /// open.
    pub(super) async fn open(
        config: &Config,
        node: &NodeHandle,
        service: ChatService,
        tls: PeerTls,
        metrics: &ChatMetrics,
        storage: StorageWatch,
        fatal: &FatalSignal,
    ) -> Result<Self, ProcessFailure> {
        let clients_closed = CancellationToken::new();
        let peers_closed = CancellationToken::new();
        let listen = &config.listen;
        let peer = bind_listener(listen.peer, "listen.peer").await?;
        let grpc = bind_listener(listen.grpc, "listen.grpc").await?;
        let http = bind_listener(listen.http, "listen.http").await?;
        let client_tls = client_tls(config)?;
        let bounds = ListenerBounds::new(config.limits.clone(), ListenerTimeouts::default(), metrics.clone());

        let facts = Arc::new(PodFacts { metrics: metrics.clone(), storage, load: LoadWatch::start(metrics.clone()) });
        let admin = AdminApi::new(node, env!("CARGO_PKG_VERSION"), facts, peers_closed.clone());
        let services = Routes::new(node.peer_listener.clone().into_service())
            .add_service(admin.clone().into_service())
            .add_service(ModerationApi::new(service.clone()).into_service());
        let services = Routes::from(services.into_axum_router().merge(admin.clone().page()));
        tokio::spawn(until_failed(
            "peer",
            fatal.clone(),
            peer::serve::serve_peers(peer, tls, services, peers_closed.clone(), Arc::new(metrics.clone())),
        ));

        let clients = TaskTracker::new();
        let serving = server::serve_grpc(
            grpc,
            client_tls.clone(),
            Arc::clone(&bounds),
            service.clone(),
            metrics.clone(),
            clients_closed.clone(),
        );
        let (health, serving) = serving.map_err(|error| ProcessFailure::caused(ExitReason::Fatal, &error))?;
        clients.spawn(serving);
        let router = matrix::matrix_router(service, metrics.clone(), admin);
        clients.spawn(matrix::serve_matrix(http, client_tls, Arc::clone(&bounds), router, clients_closed.clone()));
        clients.close();
        let listeners = Self { health, bounds, clients, clients_closed, peers_closed };
        tokio::spawn(listeners.health.clone().follow(node.cluster.clone(), listeners.clients_closed.clone()));
        Ok(listeners)
    }

    /// Tells clients to send new calls elsewhere; calls that still arrive are served.
    pub(super) async fn not_serving(&self) {
        self.bounds.stop();
        self.health.stopping().await;
    }

    /// Accepts no more connections, and waits up to `limit` for the open calls to end.
    pub(super) async fn close_clients(&self, limit: Duration) {
        self.clients_closed.cancel();
        if tokio::time::timeout(limit, self.clients.wait()).await.is_err() {
            tracing::warn!(?limit, "some client calls did not finish in time and are cut off");
        }
    }

    /// Ends the streams of all peers.
    pub(super) fn close_peers(&self) {
        self.peers_closed.cancel();
    }
}

/// Opens the listener for metrics and probes.
///
/// # Errors
/// Returns a failure if the address cannot be bound.
pub(super) async fn serve_health(config: &Config, health: PodHealth) -> Result<(), ProcessFailure> {
    let listener = bind_listener(config.listen.metrics, "listen.metrics").await?;
    // Serves until the process ends. An error means that the listener is gone; the probes then fail, as they should.
    tokio::spawn(async move { axum::serve(listener, health.router()).await });
    Ok(())
}

async fn bind_listener(address: SocketAddr, key: &str) -> Result<TcpListener, ProcessFailure> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process uses it; stop that process or choose another port",
            std::io::ErrorKind::AddrNotAvailable => "it is not an address of this host",
            _ => "choose another address",
        };
        ProcessFailure::new(ExitReason::Address, format!("cannot listen on {address} ({key}): {error}; {hint}"))
    })
}

/// Returns the certificate of the client listeners, or `None` if they have none; it is read again when its files
/// change.
fn client_tls(config: &Config) -> Result<Option<ClientTls>, ProcessFailure> {
    let Some(files) = config.tls.client.clone() else { return Ok(None) };
    let tls = ClientTls::load(files).map_err(|error| {
        let ProcessFailure { exit, sentence } = ProcessFailure::caused(ExitReason::Config, &error);
        let keys = "tls.client.certFile, tls.client.keyFile";
        ProcessFailure::new(exit, format!("the client listeners have no usable certificate ({keys}): {sentence}"))
    })?;
    tokio::spawn(tls.clone().keep_fresh(RELOAD_EVERY, CancellationToken::new()));
    Ok(Some(tls))
}

/// Runs a listener, and ends the process if it fails: such a pod looks alive but serves nobody, so a new process is
/// better.
async fn until_failed<E: Display>(
    listener: &'static str,
    fatal: FatalSignal,
    serving: impl Future<Output = Result<(), E>>,
) {
    if let Err(error) = serving.await {
        fatal.raise(format_args!("the {listener} listener failed: {error}"));
    }
}

struct PodFacts {
    metrics: ChatMetrics,
    storage: StorageWatch,
    load: LoadWatch,
}

impl ProcessFacts for PodFacts {
    fn client_connections(&self) -> u32 {
        self.metrics.connections()
    }

    fn storage(&self) -> (u64, u64) {
        self.storage.bytes()
    }

    fn load(&self) -> WriteLoad {
        self.load.now()
    }

    fn memory_bytes(&self) -> u64 {
        // 0 if `/proc` is not available.
        quorate_meter::process::resident_bytes().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default()
    }
}
