//! Server of the peer listener: mutual TLS, HTTP/2, the Raft and admin services on one port.

use super::rights::guard_services;
use crate::{
    raft::network::lanes::{CONNECTION_WINDOW, STREAM_WINDOW},
    tls::{HandshakeObserver, PeerIo, PeerTls, incoming_connections},
};
use futures::{Stream, TryStreamExt as _};
use std::{io, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::Connected},
};

/// Interval of pings. Peers ping every 500 ms; these pings end the streams of callers that vanished, such as an
/// operator's watch.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_LIMIT: Duration = Duration::from_secs(5);

/// Serves until `stop`, then ends all streams.
///
/// # Errors
/// If the listener fails permanently.
pub async fn serve_peers(
    listener: TcpListener,
    tls: PeerTls,
    services: Routes,
    stop: CancellationToken,
    observer: Arc<dyn HandshakeObserver>,
) -> Result<(), tonic::transport::Error> {
    let connections = incoming_connections(listener, tls.clone(), stop.clone(), observer);
    let connections = connections.map_ok(move |stream| tls.identify(stream));
    serve_on(connections, guard_services(services), stop).await
}

/// Serves connections that are already established, and whose callers may do everything: for the simulation.
pub async fn serve_on<C: PeerIo + Connected>(
    connections: impl Stream<Item = io::Result<C>> + Send + 'static,
    services: Routes,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_LIMIT))
        .add_routes(services)
        .serve_with_incoming(connections);
    // Not a graceful shutdown: an append stream ends only with its leader, and by this time the node has handed
    // leadership over and stopped.
    match stop.run_until_cancelled(server).await {
        Some(result) => result,
        None => Ok(()),
    }
}
