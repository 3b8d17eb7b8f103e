//! `/metrics` and `/healthz`, on one port, for Prometheus and the kubelet.

use crate::metrics::Metrics;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use std::{future::Future, net::SocketAddr};
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
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let router = Router::new()
        .route("/metrics", get(text))
        // A replica without the lease is as healthy as the one with it.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async || "ok\n"))
        .with_state(metrics);
    axum::serve(listener, router).with_graceful_shutdown(stop).await.map_err(error)
}

async fn text(State(metrics): State<Metrics>) -> Result<String, (StatusCode, String)> {
    metrics.text().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
