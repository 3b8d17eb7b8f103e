//! The four ports of a pod.

use super::load::LoadWatch;
use super::storage::StorageWatch;
use crate::api::admin::{AdminDoor, Load, ProcessFacts};
use crate::api::grpc::server::{self, DoorHealth};
use crate::api::health::Health;
use crate::api::listen::{Bounds, Patience};
use crate::api::matrix;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::metrics::Metrics;
use crate::raft::node::Node;
use crate::raft::peer;
use crate::service::Service;
use crate::store::Fatal;
use crate::tls::{ClientTls, PeerTls, RELOAD_EVERY};
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

/// The open doors.
pub(super) struct Doors {
    health: DoorHealth,
    bounds: Arc<Bounds>,
    clients: TaskTracker,
    clients_closed: CancellationToken,
    peers_closed: CancellationToken,
}

impl Doors {
    /// Opens all three; the peers' first, so that Raft moves while the others open.
    pub(super) async fn open(
        config: &Config,
        node: &Node,
        service: Service,
        tls: PeerTls,
        metrics: &Metrics,
        storage: StorageWatch,
        fatal: &Fatal,
    ) -> Result<Self, Failure> {
        let (clients_closed, peers_closed) = (CancellationToken::new(), CancellationToken::new());
        let listen = &config.listen;
        let peer = bind(listen.peer, "listen.peer").await?;
        let (grpc, http) = (bind(listen.grpc, "listen.grpc").await?, bind(listen.http, "listen.http").await?);
        let client_tls = client_tls(config)?;
        let bounds = Bounds::new(config.limits.clone(), Patience::default(), metrics.clone());

        let facts = Arc::new(Facts { metrics: metrics.clone(), storage, load: LoadWatch::start(metrics.clone()) });
        let admin = AdminDoor::new(node, env!("CARGO_PKG_VERSION"), facts, peers_closed.clone());
        let services = Routes::new(node.door.clone().into_service()).add_service(admin.clone().into_service());
        let services = Routes::from(services.into_axum_router().merge(admin.clone().page()));
        tokio::spawn(until_failed(
            "peer",
            fatal.clone(),
            peer::serve::serve(peer, tls, services, peers_closed.clone(), Arc::new(metrics.clone())),
        ));

        let clients = TaskTracker::new();
        let serving = server::serve(
            grpc,
            client_tls.clone(),
            Arc::clone(&bounds),
            service.clone(),
            metrics.clone(),
            clients_closed.clone(),
        );
        let (health, serving) = serving.map_err(|error| Failure::caused(Exit::Fatal, &error))?;
        clients.spawn(serving);
        let router = matrix::router(service, metrics.clone(), admin);
        clients.spawn(matrix::serve(http, client_tls, Arc::clone(&bounds), router, clients_closed.clone()));
        clients.close();
        let doors = Self { health, bounds, clients, clients_closed, peers_closed };
        tokio::spawn(doors.health.clone().follow(node.cluster.clone(), doors.clients_closed.clone()));
        Ok(doors)
    }

    /// New calls should go elsewhere from now on; those that come are served.
    pub(super) async fn not_serving(&self) {
        self.bounds.stop();
        self.health.stopping().await;
    }

    /// Takes no more connections, and waits until the open calls have ended, at most so long.
    pub(super) async fn close_clients(&self, limit: Duration) {
        self.clients_closed.cancel();
        if tokio::time::timeout(limit, self.clients.wait()).await.is_err() {
            tracing::warn!(?limit, "some clients' calls did not end in time; they are cut off");
        }
    }

    /// Ends all peers' streams.
    pub(super) fn close_peers(&self) {
        self.peers_closed.cancel();
    }
}

/// Opens the port of the probes.
///
/// # Errors
/// When it cannot be listened on.
pub(super) async fn health(config: &Config, health: Health) -> Result<(), Failure> {
    let listener = bind(config.listen.metrics, "listen.metrics").await?;
    // It serves until the process ends: it fails only with the listener, and then the probes fail, which is right.
    tokio::spawn(async move { axum::serve(listener, health.router()).await });
    Ok(())
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process has it; stop that one or choose another port",
            std::io::ErrorKind::AddrNotAvailable => "it is not an address of this host",
            _ => "choose another one",
        };
        Failure::new(Exit::Address, format!("cannot listen on {address} ({key}): {error}; {hint}"))
    })
}

/// The certificate of the clients' doors, if they have one; it is read again when it changes.
fn client_tls(config: &Config) -> Result<Option<ClientTls>, Failure> {
    let Some(files) = config.tls.client.clone() else { return Ok(None) };
    let tls = ClientTls::load(files).map_err(|error| {
        let Failure { exit, sentence } = Failure::caused(Exit::Config, &error);
        let keys = "tls.client.certFile, tls.client.keyFile";
        Failure::new(exit, format!("the clients' doors have no certificate ({keys}): {sentence}"))
    })?;
    tokio::spawn(tls.clone().keep_fresh(RELOAD_EVERY, CancellationToken::new()));
    Ok(Some(tls))
}

/// A door that fails leaves a pod that looks alive and serves nobody: better a new process.
async fn until_failed<E: Display>(door: &'static str, fatal: Fatal, serving: impl Future<Output = Result<(), E>>) {
    if let Err(error) = serving.await {
        fatal.raise(format_args!("the {door} door failed: {error}"));
    }
}

struct Facts {
    metrics: Metrics,
    storage: StorageWatch,
    load: LoadWatch,
}

impl ProcessFacts for Facts {
    fn client_connections(&self) -> u32 {
        self.metrics.connections()
    }

    fn storage(&self) -> (u64, u64) {
        self.storage.bytes()
    }

    fn load(&self) -> Load {
        self.load.now()
    }

    fn memory_bytes(&self) -> u64 {
        // 0 where `/proc` does not tell.
        quorate_meter::process::resident_bytes().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default()
    }
}
