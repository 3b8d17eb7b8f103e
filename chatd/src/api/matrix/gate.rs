//! Listener of the Matrix API: HTTP/1 and HTTP/2, with the limits of both, and refusals as the specification spells
//! them.

use super::error::MatrixError;
use crate::api::listen::{
    BodyFault, BodyMode, CallerConnection, ClientListener, ConnectionBuilder, ListenerBounds, RequestGate,
};
use crate::metrics::ClientApi;
use crate::service::RequestRefusal;
use crate::tls::ClientTls;
use axum::body::Body;
use axum::response::IntoResponse as _;
use axum::{BoxError, Router};
use http::Response;
use http::request::Parts;
use hyper_util::rt::TokioTimer;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Maximum size of a head, and of a piece of a body that is read at once: what a connection holds for as long as it is
/// open. A `/sync` with its filter in the URL is the longest head that there is.
const HEAD: usize = 32 * 1024;
/// Maximum number of lines in a head; browsers and proxies send some thirty.
const HEAD_LINES: usize = 100;
/// Maximum number of concurrent requests on one HTTP/2 connection: browsers use a handful, proxies multiplex users.
const STREAMS: u32 = 256;
/// Interval between keepalive pings, by which a client that vanished is noticed, and which keep middleboxes from
/// forgetting a parked `/sync`.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Flow-control window for bodies that are sent ahead: most are smaller, and one of 1 MiB takes some more round trips.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;

/// Serves until `closed` fires and the requests that were open then have ended.
pub(crate) fn serve_matrix(
    listener: TcpListener,
    tls: Option<ClientTls>,
    bounds: Arc<ListenerBounds>,
    router: Router,
    closed: CancellationToken,
) -> impl Future<Output = ()> {
    ClientListener {
        listener,
        api: ClientApi::Matrix,
        bounds,
        protocol: connection_builder(),
        router,
        tls,
        manner: MatrixGate,
    }
    .serve(closed)
}

/// Builds the protocol. HTTP/1 needs no timer of its own: the patrol ends whoever is too long at a head.
fn connection_builder() -> ConnectionBuilder {
    let mut protocol = ConnectionBuilder::new();
    protocol.http1().max_buf_size(HEAD).max_headers(HEAD_LINES);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    protocol
}

/// Protocol-specific behaviour of the Matrix listener. Each endpoint asks for the session before it reads the body:
/// only the route tells whether it needs one.
#[derive(Clone)]
struct MatrixGate;

impl RequestGate for MatrixGate {
    fn refuse(&self, refusal: RequestRefusal) -> Response<Body> {
        let mut response = MatrixError::overloaded(refusal).into_response();
        // Here as well, because the router adds them to what it answers, and such a request does not reach it.
        super::insert_cors_headers(response.headers_mut());
        response
    }

    fn fault(&self, fault: BodyFault) -> BoxError {
        fault.into()
    }

    async fn ask(&self, _: &mut Parts, _: &CallerConnection) -> BodyMode {
        BodyMode::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::listen::service::overload_refusal;
    use http::{StatusCode, header};

    #[test]
    fn a_browser_can_read_that_the_listener_has_no_room() {
        let refused = MatrixGate.refuse(overload_refusal("later"));
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    }
}
