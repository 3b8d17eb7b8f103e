//! Connections together with the identity of their callers, for the services behind the peer listener.

use super::{CertificateIdentity, HolderError, PeerRole, PeerStream};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Caller of a connection; present in the extensions of each request on it.
#[derive(Clone, Debug)]
pub struct PeerCaller {
    /// Addresses of the TCP connection.
    pub tcp: TcpConnectInfo,
    /// Role of the caller, or the reason why it has none.
    pub standing: Result<PeerRole, Arc<str>>,
    /// Name of the certificate's holder; `None` if the certificate has no role.
    pub name: Option<Arc<str>>,
}

/// Accepted connection whose caller is identified.
pub struct CallerStream {
    stream: PeerStream,
    caller: PeerCaller,
}

impl CallerStream {
    /// Reads the identity from the certificate that the caller presented. A caller without a role is accepted and
    /// refused at each call, because only then can it be told why.
    #[must_use]
    pub fn new(stream: PeerStream, own: &CertificateIdentity) -> Self {
        let (tcp, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        let holder = shown.map_or(Err(HolderError::NoRole), CertificateIdentity::of);
        let tcp = tcp.connect_info();
        let name: Option<Arc<str>> = holder.as_ref().ok().map(|holder| Arc::from(holder.name.as_str()));
        let standing = match holder {
            Ok(holder) if holder.cluster == own.cluster => Ok(holder.role),
            Ok(holder) => Err(format!(
                "the certificate is for cluster {:?}, but this is {:?}: use one of this cluster",
                holder.cluster, own.cluster
            )),
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = &standing {
            tracing::warn!(from = ?tcp.remote_addr(), reason, "a caller on the peer listener has no rights");
        }
        Self { caller: PeerCaller { tcp, standing: standing.map_err(Arc::from), name }, stream }
    }
}

impl Connected for CallerStream {
    type ConnectInfo = PeerCaller;

    fn connect_info(&self) -> PeerCaller {
        self.caller.clone()
    }
}

impl AsyncRead for CallerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CallerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
