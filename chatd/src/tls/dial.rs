//! Dialling of peers: over mutual TLS and TCP, except in the simulation, whose network is in memory.

use super::PeerTls;
use futures::{FutureExt as _, future::BoxFuture};
use std::{io, net::SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};

/// Byte stream to a peer.
pub trait PeerIo: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> PeerIo for T {}

/// Dialler of connections to peers.
pub trait PeerDialer: Send + Sync + 'static {
    /// Connects, and authenticates the other side as a member of the cluster. The caller bounds the time.
    ///
    /// # Errors
    /// Returns an error if nobody answers, or if somebody else does.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn PeerIo>>>;
}

impl PeerDialer for PeerTls {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn PeerIo>>> {
        async move { Ok(Box::new(self.connect(address).await?) as Box<dyn PeerIo>) }.boxed()
    }
}
