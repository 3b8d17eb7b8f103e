//! TLS of the clients' doors (7400 and 8008): one certificate for both, read again when its files change.
//!
//! Unlike the peers' door it asks for no certificate, and speaks TLS 1.2, too: phones and old clients come here.

use super::TlsError;
use super::load::{certificates, private_key, read};
use super::reload::{FromFiles, Reloading};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_util::sync::CancellationToken;

/// Where the certificate's PEM files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// The certificate, with intermediates if any.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

struct ClientFiles {
    files: [Vec<u8>; 2],
    config: Arc<ServerConfig>,
}

/// The present certificate of the clients' doors. Clones see a reload.
#[derive(Clone)]
pub struct ClientTls(Arc<Reloading<ClientFiles>>);

impl ClientTls {
    /// Reads the files once.
    ///
    /// # Errors
    /// When a file is absent, not PEM, or the key is not the certificate's; the error names the file.
    pub fn load(files: ClientTlsFiles) -> Result<Self, TlsError> {
        Reloading::load(files).map(Arc::new).map(Self)
    }

    /// Reads the files again; `true` when they had changed and are in use now.
    ///
    /// # Errors
    /// As [`ClientTls::load`]; the former certificate stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.0.reload()
    }

    /// Reloads whenever the files change, until stopped.
    pub async fn keep_fresh(self, every: Duration, stop: CancellationToken) {
        self.0.keep_fresh(every, stop).await;
    }

    /// For one incoming connection, with the files as they are now.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.current().config))
    }
}

impl FromFiles for ClientFiles {
    type Files = ClientTlsFiles;
    const WHOSE: &'static str = "the clients' doors";

    fn read(files: &ClientTlsFiles) -> Result<Self, TlsError> {
        let [cert, key] = [read(&files.cert)?, read(&files.key)?];
        let (chain, private) = (certificates(&files.cert, &cert)?, private_key(&files.key, &key)?);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { files: [cert, key], config: Arc::new(config) })
    }

    fn same_files(&self, other: &Self) -> bool {
        self.files == other.files
    }
}
