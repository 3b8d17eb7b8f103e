//! Mutual TLS of the listener for peers and administration (port 7401).
//!
//! Both sides present a certificate of the cluster's own CA; nothing else is accepted. Peers are dialled by name or by
//! IP, whichever answers, so the certificate is checked against one fixed name, [`PEER_DOMAIN`], and not against the
//! address: the node id in every request settles *which* node answers. The role in a caller's certificate ([`CertificateIdentity`])
//! settles what it may do. Only TLS 1.3 is offered, with ring as crypto provider and without session resumption.
//!
//! The files may change at any time (the operator renews them). They are read again every few seconds; new connections
//! use the new ones, existing connections continue.

mod caller;
mod clients;
mod dial;
mod holder;
mod incoming;
mod load;
mod outgoing;
mod reload;
mod validity;

pub use caller::{CallerStream, PeerCaller};
pub use clients::{ClientTls, ClientTlsFiles};
pub use dial::{PeerDialer, PeerIo};
pub use holder::{CertificateIdentity, HolderError, PeerRole};
pub use incoming::{HandshakeEnd, HandshakeObserver, PeerStream, incoming_connections};
pub use load::TlsError;
pub use outgoing::outgoing_tls;

use load::LoadedTls;
use reload::ReloadableConfig;
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, rustls::pki_types::ServerName};
use tokio_util::sync::CancellationToken;
use validity::ValidityReports;

/// DNS name in every peer certificate, and the name that dialling peers ask for.
pub const PEER_DOMAIN: &str = "quorate-peer";

/// Interval at which the files are read again. The kubelet takes up to 90 s to publish a renewed Secret anyway.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// Paths of the PEM files: `ca.crt`, `tls.crt`, `tls.key` of the Secret, or those of `chatctl cluster init`.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// CA certificates, one of which must have signed the other side's; more than one while the CA is being replaced.
    pub ca: PathBuf,
    /// Certificate of this pod, with intermediates if any.
    pub cert: PathBuf,
    /// Private key of `cert`.
    pub key: PathBuf,
}

/// Current certificate and trust anchors for both directions. Cheap to clone; all clones see a reload.
#[derive(Clone)]
pub struct PeerTls {
    files: Arc<ReloadableConfig<LoadedTls>>,
    complaints: Arc<ValidityReports>,
}

impl PeerTls {
    /// Loads the files.
    ///
    /// # Errors
    /// Returns an error that names the file if one is absent or not PEM, or if the key does not belong to the
    /// certificate.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let files = Arc::new(ReloadableConfig::load(files)?);
        Ok(Self { files, complaints: Arc::default() })
    }

    /// Reads the files again. Returns `true` if they have changed and are in use.
    ///
    /// # Errors
    /// Returns the same errors as [`PeerTls::load`]; the previous certificate then stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.files.reload()
    }

    /// Reloads the files whenever they change, until stopped.
    pub async fn keep_fresh(self, every: Duration, stop: CancellationToken) {
        self.files.keep_fresh(every, stop).await;
    }

    fn current(&self) -> Arc<LoadedTls> {
        self.files.current()
    }

    /// Returns an acceptor for one incoming connection, with the current files.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current().server.clone())
    }

    /// Identifies the caller of an accepted connection.
    #[must_use]
    pub fn identify(&self, stream: PeerStream) -> CallerStream {
        CallerStream::new(stream, &self.current().own)
    }

    /// Connects and completes the handshake. The caller bounds the time.
    ///
    /// # Errors
    /// Returns an error if nobody answers, or if the other side's certificate is not signed by our CA for
    /// [`PEER_DOMAIN`] or is not that of a member of this cluster.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<client::TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        // Each append waits for its answer, and Nagle's algorithm would add up to 40 ms to it.
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(PEER_DOMAIN).map_err(io::Error::other)?;
        let current = self.current();
        let connected = TlsConnector::from(current.client.clone()).connect(name, tcp).await;
        let stream = connected.inspect_err(|error| self.complaints.note(error))?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let holder = shown.map_or(Err(HolderError::NoRole), CertificateIdentity::of).map_err(io::Error::other)?;
        // The CA also signs certificates of administrators, and nothing keeps it from serving two clusters.
        if holder.role == PeerRole::Peer && holder.cluster == current.own.cluster {
            return Ok(stream);
        }
        Err(io::Error::other(format!(
            "the certificate of the other side is for {holder:?}, not for a member of cluster {:?}",
            current.own.cluster
        )))
    }
}
