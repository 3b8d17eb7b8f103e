//! The four ports of a pod.

use super::load::LoadWatch;
use super::storage::StorageWatch;
use crate::api::admin::{AdminDoor, Load, ProcessFacts};
use crate::api::grpc::server::{self, DoorHealth};
use crate::api::health::Health;
use crate::api::listen::Listener;
use crate::api::matrix;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::metrics::{Door, Metrics};
use crate::raft::node::Node;
use crate::raft::peer;
use crate::service::Service;
use crate::store::Fatal;
use crate::tls::PeerTls;
use axum::body::Body;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::make::Shared;

/// The open doors.
pub(super) struct Doors {
    health: DoorHealth,
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
        let grpc = Listener::new(bind(listen.grpc, "listen.grpc").await?, Door::Grpc, metrics.clone());
        let http = Listener::new(bind(listen.http, "listen.http").await?, Door::Matrix, metrics.clone());

        let facts = Arc::new(Facts { metrics: metrics.clone(), storage, load: LoadWatch::start(metrics.clone()) });
        let admin = AdminDoor::new(node, env!("CARGO_PKG_VERSION"), facts, peers_closed.clone());
        let services = Routes::new(node.door.clone().into_service()).add_service(admin.clone().into_service());
        let services = Routes::from(services.into_axum_router().merge(admin.clone().page()));
        tokio::spawn(until_failed(
            "peer",
            fatal.clone(),
            peer::serve::serve(peer, tls, services, peers_closed.clone()),
        ));

        let clients = TaskTracker::new();
        let (health, serving) = server::serve(grpc, service.clone(), metrics.clone(), clients_closed.clone());
        clients.spawn(until_failed("gRPC", fatal.clone(), serving));
        // Made ready once and shared: a `Router` would be copied, all routes of it, for each connection.
        let router = matrix::router(service, metrics.clone(), admin).with_state(()).into_service::<Body>();
        let serving =
            axum::serve(http, Shared::new(router)).with_graceful_shutdown(clients_closed.clone().cancelled_owned());
        clients.spawn(until_failed("Matrix", fatal.clone(), serving.into_future()));
        clients.close();
        let doors = Self { health, clients, clients_closed, peers_closed };
        tokio::spawn(doors.health.clone().follow(node.cluster.clone(), doors.clients_closed.clone()));
        Ok(doors)
    }

    /// New calls should go elsewhere from now on; those that come are served.
    pub(super) async fn not_serving(&self) {
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
