//! The client listeners: who is let in, for how long, and how much of the process each caller may hold.
//!
//! A connection goes through [`ClientListener::serve`] (accept) → [`places`] (a place, or somebody idle gives way) →
//! [`connection`] (hyper, until told to end) → [`service`] for each request: the caller's address, the budget for its
//! body ([`body`], [`budget`]) and for its answer ([`answer`]). Once a second [`patrol`] looks for connections that are
//! idle or take no answers. A request of HTTP/1 that waits long leaves hyper meanwhile ([`parking`]).
//!
//! Nothing of this is on the path of single frames except for a few relaxed atomics: the wrapper around the socket
//! ([`replayed`]) passes on what it is given, and no lock is taken after a connection was accepted, other than by a
//! request that leaves hyper.

mod address;
mod answer;
mod body;
pub(crate) mod bounds;
mod budget;
mod connection;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod http1;
mod opening;
mod parking;
mod patrol;
pub(crate) mod places;
mod protocol;
mod replayed;
pub(crate) mod service;
#[cfg(test)]
mod tests;

pub(crate) use body::BodyFault;
pub use bounds::{ListenerBounds, ListenerTimeouts};
pub(crate) use places::CallerConnection;
pub(crate) use protocol::ConnectionBuilder;
pub(crate) use service::{BodyMode, RequestGate};

use crate::metrics::ClientApi;
use crate::tls::ClientTls;
use axum::Router;
use places::{ConnectionSlots, SlotGuard};
use service::ConnectionService;
use socket2::{SockRef, TcpKeepalive};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after a failed accept, which happens when file descriptors run out; trying again at once would only burn the
/// CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Keepalive of client connections. A laptop that was closed says nothing more: after a minute of silence it is probed,
/// and given up after four probes without an answer, two minutes in all. Shorter times would wake phones and lose those
/// in a tunnel.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);
/// Maximum time for which sent data may stay unacknowledged: as long as a silent client is kept, where TCP's own
/// patience is a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);

/// A client listener that is about to open.
pub(crate) struct ClientListener<M> {
    /// Socket that is listened on.
    pub(crate) listener: TcpListener,
    /// API that is served, for the metrics.
    pub(crate) api: ClientApi,
    /// Bounds that all client listeners of the process share.
    pub(crate) bounds: Arc<ListenerBounds>,
    /// HTTP/1, HTTP/2 or both, with their limits.
    pub(crate) protocol: ConnectionBuilder,
    /// Routes behind the listener.
    pub(crate) router: Router,
    /// TLS certificate; without one the listener speaks plain HTTP.
    pub(crate) tls: Option<ClientTls>,
    /// Protocol-specific behaviour: how the listener refuses, and what it checks before it reads a body.
    pub(crate) manner: M,
}

impl<M: RequestGate> ClientListener<M> {
    /// Serves until `closed` fires and the calls that were open then have ended.
    pub(crate) async fn serve(self, closed: CancellationToken) {
        let Self { listener, api, bounds, protocol, router, tls, manner } = self;
        let places = ConnectionSlots::new(api, bounds);
        let patrol = tokio::spawn(patrol::patrol_connections(Arc::clone(&places)));
        let protocol = Arc::new(protocol);
        // Prepared once and shared: a `Router` would be copied, with all its routes, for each connection.
        let service = Arc::new(service::ListenerBackend { router: router.with_state(()), manner });
        let tasks = TaskTracker::new();
        while let Some(accepted) = closed.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, from)) => {
                    let Some(place) = admit_connection(&places, &stream, from.ip()) else { continue };
                    let service = ConnectionService::new(Arc::clone(&service), &place, from.ip());
                    let protocol = Arc::clone(&protocol);
                    match tls.clone() {
                        None => tasks.spawn(connection::run_connection(stream, protocol, service, place)),
                        Some(tls) => tasks.spawn(connection::run_with_tls(stream, tls, protocol, service, place)),
                    };
                }
                // The error concerns one connection, or passes: the listener stays open.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // In this order: a connection that was accepted in between would never be told to finish.
        drop(listener);
        places.finish_all();
        tasks.close();
        tasks.wait().await;
        // Last: until then the patrol ends those who take no answers, and for whom `wait` would wait.
        patrol.abort();
    }
}

/// Gives a connection its place, and sets the options by which its socket notices that the other side is gone. A socket
/// that refuses the options works all the same.
fn admit_connection(places: &Arc<ConnectionSlots>, stream: &TcpStream, from: IpAddr) -> Option<SlotGuard> {
    let place = match places.admit(from) {
        Ok(place) => place,
        Err(refused) => {
            places.refused(refused);
            tracing::debug!(%from, reason = refused, "refused a client connection");
            return None;
        }
    };
    // Small frames must not wait for more data.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&KEEPALIVE);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    Some(place)
}
