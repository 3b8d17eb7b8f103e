//! `/metrics` and `/healthz`, on one port, for Prometheus and the kubelet.

use crate::metrics::Metrics;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use std::{
    future::Future,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::net::TcpListener;

/// The port cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {address}: is the port in use?")]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Serves until `stop` resolves.
///
/// # Errors
/// When the port cannot be opened.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let error = |source| ServeError { address, source };
    let listener = bind(address).await.map_err(error)?;
    let router = Router::new()
        .route("/metrics", get(text))
        // A replica without the lease is as healthy as the one with it.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async || "ok\n"))
        .with_state(metrics);
    axum::serve(listener, router).with_graceful_shutdown(stop).await.map_err(error)
}

/// `[::]` takes both families on Linux. Where the kernel knows no IPv6, IPv4 is what there is.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // EAFNOSUPPORT and EADDRNOTAVAIL, which have no common kind.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        outcome => outcome,
    }
}

async fn text(State(metrics): State<Metrics>) -> Result<String, (StatusCode, String)> {
    metrics.text().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
