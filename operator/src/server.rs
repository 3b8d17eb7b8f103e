//! HTTP server for `/metrics`, `/healthz` and `/readyz` on one port, for Prometheus and the kubelet.

use crate::metrics::OperatorMetrics;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use std::{
    future::Future,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::net::TcpListener;

/// The metrics port cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {address}: is the port in use?")]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Serves requests until `stop` resolves.
///
/// # Errors
/// Fails if the port cannot be opened or served.
pub async fn serve_metrics(
    address: SocketAddr,
    metrics: OperatorMetrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let error = |source| ServeError { address, source };
    let listener = bind_listener(address).await.map_err(error)?;
    let router = Router::new()
        .route("/metrics", get(render_metrics))
        // A replica without the lease is as healthy as the one that holds it.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async || "ok\n"))
        .with_state(metrics);
    axum::serve(listener, router).with_graceful_shutdown(stop).await.map_err(error)
}

/// Binds the address. On Linux `[::]` covers both IP families; if the kernel does not support IPv6, IPv4 alone is used.
async fn bind_listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // EAFNOSUPPORT and EADDRNOTAVAIL, which have no common kind.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        outcome => outcome,
    }
}

async fn render_metrics(State(metrics): State<OperatorMetrics>) -> Result<String, (StatusCode, String)> {
    metrics.text().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
