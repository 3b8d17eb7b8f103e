//! One connection, from its acceptance to its end.

use super::ConnectionBuilder;
use super::places::{ConnectionSignal, SlotGuard};
use super::service::{ConnectionService, RequestGate};
use crate::tls::ClientTls;
use hyper_util::rt::TokioIo;
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
    match shaken.await {
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
    let held = Arc::clone(place.held());
    // Boxed once, instead of within each of the futures around it.
    let mut connection = Box::pin(protocol.serve_connection(TokioIo::new(io), service));
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
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a client connection ended");
    }
    // In this order: the socket is closed before its place counts as free.
    drop(connection);
    drop(place);
}
