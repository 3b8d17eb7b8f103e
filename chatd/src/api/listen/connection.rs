//! One connection, from its acceptance to its end.

use super::http1::run_http1;
use super::opening::{HttpOpening, HttpVersion, read_opening};
use super::places::{ConnectionSignal, SlotGuard};
use super::protocol::ConnectionBuilder;
use super::replayed::ReplayedIo;
use super::service::{ConnectionService, RequestGate};
use crate::tls::ClientTls;
use axum::BoxError;
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Performs the TLS handshake and serves the connection. A handshake that takes its time is the silence of a stranger:
/// the patrol ends it, and a newcomer may.
pub(super) async fn run_with_tls<M: RequestGate>(
    stream: TcpStream,
    tls: ClientTls,
    protocol: Arc<ConnectionBuilder>,
    service: ConnectionService<M>,
    place: SlotGuard,
) {
    let held = Arc::clone(place.held());
    let mut shaking = Box::pin(tls.acceptor().accept(stream));
    let shaken = poll_fn(|cx| {
        held.waker.register(cx.waker());
        if held.told() != ConnectionSignal::GoOn {
            return Poll::Ready(None);
        }
        shaking.as_mut().poll(cx).map(Some)
    });
    // Boxed: it is a kilobyte, for which each of the futures that it is passed through would have room. So has the
    // handshake, which is over.
    let shaken = shaken.await.map(|shaken| shaken.map(Box::new));
    drop(shaking);
    match shaken {
        Some(Ok(stream)) => run_connection(stream, protocol, service, place).await,
        Some(Err(error)) => tracing::debug!(%error, "a client handshake failed"),
        None => tracing::debug!("a client handshake was abandoned"),
    }
}

/// Serves a connection until it ends or is told to.
pub(super) async fn run_connection<I, M>(
    io: I,
    protocol: Arc<ConnectionBuilder>,
    service: ConnectionService<M>,
    place: SlotGuard,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    M: RequestGate,
{
    if let Err(error) = run_version(io, protocol, service).await {
        tracing::debug!(%error, "a client connection ended");
    }
    // The socket is closed before its place counts as free.
    drop(place);
}

/// Serves a connection by the version of HTTP that it begins with.
async fn run_version<I, M>(
    mut io: I,
    protocol: Arc<ConnectionBuilder>,
    service: ConnectionService<M>,
) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    M: RequestGate,
{
    let opening = if protocol.is_http2_only {
        Some(HttpOpening { version: HttpVersion::Http2, read: Bytes::new() })
    } else {
        read_opening(&mut io, service.held()).await?
    };
    match opening {
        Some(HttpOpening { version: HttpVersion::Http1, read }) => run_http1(io, read, protocol, service).await?,
        Some(HttpOpening { version: HttpVersion::Http2, read }) => run_http2(io, read, protocol, service).await?,
        None => tracing::debug!("a client connection was given up before its first request"),
    }
    Ok(())
}

/// Serves a connection of HTTP/2, which begins with the bytes of `read`, until it ends or is told to.
async fn run_http2<I, M>(
    io: I,
    read: Bytes,
    protocol: Arc<ConnectionBuilder>,
    service: ConnectionService<M>,
) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    M: RequestGate,
{
    let held = Arc::clone(service.held());
    // Boxed once, instead of within each of the futures around it.
    let mut connection = Box::pin(protocol.http2.serve_connection(ReplayedIo::new(io, read, None), service));
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        // Registered before the check: whoever tells the connection something after it wakes this task.
        held.waker.register(cx.waker());
        match held.told() {
            ConnectionSignal::End => return Poll::Ready(Ok(())),
            ConnectionSignal::Finish if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            ConnectionSignal::Finish | ConnectionSignal::GoOn => {}
        }
        connection.as_mut().poll(cx)
    });
    ended.await
}
