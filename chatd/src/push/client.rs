//! Requests to push gateways, one connection for each: gateways are asked seldom, and by the leader alone.

use super::private::is_public;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

/// Longest time of a request with everything around it. A gateway that takes longer is asked again later.
const LONGEST: Duration = Duration::from_secs(10);
/// Maximum number of names that are resolved at a time. Each occupies one of the 512 threads that reads of the state need,
/// also after the request was given up: a name server chosen by a user may take a minute.
const MOST_LOOKUPS: usize = 128;
/// Maximum number of addresses of a gateway that are tried, and longest time for each: one that leads nowhere, as of a
/// network that the pod has no way to, must leave time for the next.
const MOST_ADDRESSES: usize = 4;
const LONGEST_CONNECT: Duration = Duration::from_secs(2);
/// Maximum size of an answer in bytes: a list of pushkeys, of which the request named one.
const MOST_ANSWER: usize = 64 << 10;

/// Reason why a gateway did not take a notification.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    #[error("the URL of the gateway has no host")]
    NoHost,
    #[error("the name of the gateway cannot be resolved")]
    Resolve(#[source] io::Error),
    #[error("the gateway has no address that requests may go to (push.allowPrivate)")]
    Private,
    #[error("cannot connect to the gateway")]
    Connect(#[source] io::Error),
    #[error("the name of the gateway cannot be in a certificate")]
    Name(#[source] InvalidDnsNameError),
    #[error("no secure connection to the gateway")]
    Tls(#[source] io::Error),
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("the request failed")]
    Http(#[source] hyper::Error),
    #[error("the gateway answered with status {0}")]
    Status(u16),
    #[error("the answer of the gateway cannot be read")]
    Answer(#[source] axum::Error),
    #[error("the answer of the gateway is not what it should be")]
    Json(#[source] serde_json::Error),
    #[error("the gateway took too long")]
    Slow,
}

/// Answer of a gateway.
#[derive(Deserialize)]
struct GatewayAnswer {
    /// Pushkeys that the gateway does not know any more.
    #[serde(default)]
    rejected: Vec<String>,
}

/// Client for all push gateways. Clones share it.
#[derive(Clone)]
pub(super) struct GatewayClient {
    tls: TlsConnector,
    allow_private: bool,
    lookups: Arc<Semaphore>,
}

impl GatewayClient {
    pub(super) fn new(tls: TlsConnector, allow_private: bool) -> Self {
        Self { tls, allow_private, lookups: Arc::new(Semaphore::new(MOST_LOOKUPS)) }
    }

    /// Sends a notification. Returns the pushkeys that the gateway rejects.
    pub(super) async fn notify(&self, gateway: &Uri, body: Bytes) -> Result<Vec<String>, GatewayError> {
        timeout(LONGEST, Box::pin(self.ask(gateway, body))).await.unwrap_or(Err(GatewayError::Slow))
    }

    async fn ask(&self, gateway: &Uri, body: Bytes) -> Result<Vec<String>, GatewayError> {
        let host = gateway.host().ok_or(GatewayError::NoHost)?;
        // The address of IPv6 stands in brackets in a URL.
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let secure = gateway.scheme_str() != Some("http");
        let port = gateway.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = self.connect(name, port).await?;
        let answer = if secure {
            let server = ServerName::try_from(name.to_owned()).map_err(GatewayError::Name)?;
            exchange(self.tls.connect(server, stream).await.map_err(GatewayError::Tls)?, gateway, body).await?
        } else {
            exchange(stream, gateway, body).await?
        };
        // Some gateways leave out the object that they have nothing to say in.
        if answer.is_empty() {
            return Ok(Vec::new());
        }
        let answer: GatewayAnswer = serde_json::from_slice(&answer).map_err(GatewayError::Json)?;
        Ok(answer.rejected)
    }

    /// Connects to an address that was checked: the name is resolved once, so that it cannot become another one.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, GatewayError> {
        let found = self.resolve(host, port).await.map_err(GatewayError::Resolve)?.into_iter();
        let allowed = found.filter(|address| self.allow_private || is_public(address.ip()));
        let allowed: Vec<SocketAddr> = allowed.take(MOST_ADDRESSES).collect();
        let mut failed = GatewayError::Private;
        for address in allowed {
            match timeout(LONGEST_CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = GatewayError::Connect(error),
                Err(_) => failed = GatewayError::Slow,
            }
        }
        Err(failed)
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let turn = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        let resolved = spawn_blocking(move || -> io::Result<Vec<SocketAddr>> {
            // Held by the thread: it goes on when nobody waits for it any more.
            let _turn = turn;
            Ok((host.as_str(), port).to_socket_addrs()?.collect())
        });
        resolved.await.map_err(io::Error::other)?
    }
}

/// Makes one request over a connection. Redirections are not followed: they could lead anywhere.
async fn exchange<S>(stream: S, gateway: &Uri, body: Bytes) -> Result<Bytes, GatewayError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let authority = gateway.authority().map(ToString::to_string).unwrap_or_default();
    let target = gateway.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::builder()
        .method(Method::POST)
        .uri(target)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Body::from(body))
        .map_err(GatewayError::Request)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(GatewayError::Http)?;
    // It ends with this function, whether there is an answer or nobody waits for one any more: a gateway that reads
    // nothing would keep it otherwise.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let response = sender.send_request(request).await.map_err(GatewayError::Http)?;
    if !response.status().is_success() {
        return Err(GatewayError::Status(response.status().as_u16()));
    }
    to_bytes(Body::new(response.into_body()), MOST_ANSWER).await.map_err(GatewayError::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::outgoing_tls;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn names_of_addresses_that_are_not_public_are_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = GatewayClient::new(outgoing_tls(None).unwrap(), false);
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
            let gateway: Uri = format!("http://{host}:{port}/_matrix/push/v1/notify").parse().unwrap();
            let refused = client.notify(&gateway, Bytes::from_static(b"{}")).await;
            assert!(matches!(refused, Err(GatewayError::Private)), "{host}: {refused:?}");
        }
    }
}
