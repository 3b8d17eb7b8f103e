//! How peers are reached: by mutual TLS over TCP, but for the simulation, whose network is in memory.

use super::PeerTls;
use futures::{FutureExt as _, future::BoxFuture};
use std::{io, net::SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a peer.
pub trait PeerIo: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> PeerIo for T {}

/// Makes connections to peers.
pub trait Dial: Send + Sync + 'static {
    /// Connects, with whatever proves that the other side may be talked to; the caller bounds the time.
    ///
    /// # Errors
    /// When nobody answers, or somebody else.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn PeerIo>>>;
}

impl Dial for PeerTls {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn PeerIo>>> {
        async move { Ok(Box::new(self.connect(address).await?) as Box<dyn PeerIo>) }.boxed()
    }
}
