//! TLS of the client listeners (ports 7400 and 8008): one certificate for both, read again when its files change.
//!
//! Unlike the peer listener they request no client certificate, and also speak TLS 1.2, for phones and old clients.

use super::TlsError;
use super::load::{parse_certificates, private_key, read_file};
use super::reload::{FromFiles, ReloadableConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_util::sync::CancellationToken;

/// Paths of the certificate's PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// Certificate, with intermediates if any.
    pub cert: PathBuf,
    /// Private key of `cert`.
    pub key: PathBuf,
}

struct ClientFiles {
    files: [Vec<u8>; 2],
    config: Arc<ServerConfig>,
}

/// Current certificate of the client listeners. Clones see a reload.
#[derive(Clone)]
pub struct ClientTls(Arc<ReloadableConfig<ClientFiles>>);

impl ClientTls {
    /// Loads the files.
    ///
    /// # Errors
    /// Returns an error that names the file if one is absent or not PEM, or if the key does not belong to the
    /// certificate.
    pub fn load(files: ClientTlsFiles) -> Result<Self, TlsError> {
        ReloadableConfig::load(files).map(Arc::new).map(Self)
    }

    /// Reads the files again. Returns `true` if they have changed and are in use.
    ///
    /// # Errors
    /// Returns the same errors as [`ClientTls::load`]; the previous certificate then stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.0.reload()
    }

    /// Reloads the files whenever they change, until stopped.
    pub async fn keep_fresh(self, every: Duration, stop: CancellationToken) {
        self.0.keep_fresh(every, stop).await;
    }

    /// Returns an acceptor for one incoming connection, with the current files.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.current().config))
    }
}

impl FromFiles for ClientFiles {
    type Files = ClientTlsFiles;
    const WHOSE: &'static str = "the client listeners";

    fn read(files: &ClientTlsFiles) -> Result<Self, TlsError> {
        let [cert, key] = [read_file(&files.cert)?, read_file(&files.key)?];
        let chain = parse_certificates(&files.cert, &cert)?;
        let private = private_key(&files.key, &key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(TlsError::Pair)?;
        // One configuration for both listeners: gRPC needs h2, Matrix clients may speak either.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { files: [cert, key], config: Arc::new(config) })
    }

    fn same_files(&self, other: &Self) -> bool {
        self.files == other.files
    }
}
