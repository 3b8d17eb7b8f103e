//! The listeners of the doors: they accept, count and bound connections.

use crate::metrics::{Counted, Door, Metrics};
use futures::{Stream, stream};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Connections of one door: a quarter of the 65,536 files that container runtimes commonly allow, so that the other door, log and
/// state are never short of them. More wait in the kernel's queue.
const CONNECTIONS: usize = 16_384;
/// Accepting fails when files run out; trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A client's connection; counted until it is dropped.
pub struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

/// A door's listener.
pub struct Listener {
    tcp: TcpListener,
    places: Arc<Semaphore>,
    door: Door,
    metrics: Metrics,
}

impl Listener {
    /// Counts what comes as this door's.
    #[must_use]
    pub fn new(tcp: TcpListener, door: Door, metrics: Metrics) -> Self {
        Self { tcp, places: Arc::new(Semaphore::new(CONNECTIONS)), door, metrics }
    }

    /// The next connection. A failed `accept` concerns one of them, or passes: the door stays open.
    async fn next(&self) -> (Connection, SocketAddr) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await;
            match (place, self.tcp.accept().await) {
                (Ok(place), Ok((stream, from))) => {
                    // Small frames must not wait for more; a socket that cannot be told so works all the same.
                    let _ = stream.set_nodelay(true);
                    let connection = Connection { stream, _place: place, _counted: self.metrics.connection(self.door) };
                    return (connection, from);
                }
                (Ok(_), Err(error)) => {
                    tracing::warn!(%error, "cannot accept a client connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                // Closed by nobody.
                (Err(_), _) => std::future::pending().await,
            }
        }
    }

    /// As a stream, for tonic.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> {
        stream::unfold(self, |listener| async move {
            let (connection, _) = listener.next().await;
            Some((Ok(connection), listener))
        })
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;
    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
