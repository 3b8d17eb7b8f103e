//! Mutual TLS of the peer and admin door (port 7401).
//!
//! Both sides show a certificate of the cluster's own CA, and nothing else is let in. Peers are dialled by name or by
//! IP, whichever answers, so the certificate is checked against one fixed name, [`PEER_DOMAIN`], and not against the
//! address: *who* answers is settled by the node id in every request. What a caller may do is settled by the role in its
//! certificate ([`holder`](Holder)). TLS 1.3 only, ring, no session tickets' state.
//!
//! The files may change at any time (the operator renews them). They are read again every few seconds; connections
//! made after that use the new ones, those that stand go on.

mod caller;
mod clients;
mod dial;
mod holder;
mod incoming;
mod load;
mod reload;
mod validity;

pub use caller::{Caller, CallerStream};
pub use clients::{ClientTls, ClientTlsFiles};
pub use dial::{Dial, PeerIo};
pub use holder::{Holder, HolderError, PeerRole};
pub use incoming::{HandshakeEnd, HandshakeObserver, PeerStream, incoming};
pub use load::TlsError;

use load::Loaded;
use reload::Reloading;
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, rustls::pki_types::ServerName};
use tokio_util::sync::CancellationToken;
use validity::Complaints;

/// The one DNS name in every peer certificate, and the name that dialling peers ask for.
pub const PEER_DOMAIN: &str = "quorate-peer";

/// How often the files are looked at. A renewed Secret takes the kubelet up to 90 s anyway.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// Where the PEM files are: `ca.crt`, `tls.crt`, `tls.key` of the Secret, or those of `chatctl cluster init`.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificates that the other side's must be signed by; more than one while a CA is being replaced.
    pub ca: PathBuf,
    /// This pod's certificate, with intermediates if any.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The present certificate and trust, for both directions. Cheap to clone; all clones see a reload.
#[derive(Clone)]
pub struct PeerTls {
    files: Arc<Reloading<Loaded>>,
    complaints: Arc<Complaints>,
}

impl PeerTls {
    /// Reads the files once.
    ///
    /// # Errors
    /// When a file is absent, not PEM, or the key is not the certificate's; the error names the file.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let files = Arc::new(Reloading::load(files)?);
        Ok(Self { files, complaints: Arc::default() })
    }

    /// Reads the files again; `true` when they had changed and are in use now.
    ///
    /// # Errors
    /// As [`PeerTls::load`]; the former certificate stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.files.reload()
    }

    /// Reloads whenever the files change, until stopped.
    pub async fn keep_fresh(self, every: Duration, stop: CancellationToken) {
        self.files.keep_fresh(every, stop).await;
    }

    fn current(&self) -> Arc<Loaded> {
        self.files.current()
    }

    /// For one incoming connection, with the files as they are now.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current().server.clone())
    }

    /// Who an accepted connection comes from.
    #[must_use]
    pub fn identify(&self, stream: PeerStream) -> CallerStream {
        CallerStream::new(stream, &self.current().own)
    }

    /// Connects and shakes hands; the caller bounds the time.
    ///
    /// # Errors
    /// When nobody answers, or the other side's certificate is not of our CA, for [`PEER_DOMAIN`] and a member's.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<client::TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        // An append waits for its answer: Nagle's algorithm would add up to 40 ms to each.
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(PEER_DOMAIN).map_err(io::Error::other)?;
        let current = self.current();
        let connected = TlsConnector::from(current.client.clone()).connect(name, tcp).await;
        let stream = connected.inspect_err(|error| self.complaints.note(error))?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let holder = shown.map_or(Err(HolderError::NoRole), Holder::of).map_err(io::Error::other)?;
        if holder.role == PeerRole::Peer && holder.cluster == current.own.cluster {
            return Ok(stream);
        }
        Err(io::Error::other(format!(
            "the other side is {holder:?}, not a member of cluster {:?}",
            current.own.cluster
        )))
    }
}
