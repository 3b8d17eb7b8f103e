//! TLS of the clients' doors (7400 and 8008): one certificate for both, read again when its files change.
//!
//! Unlike the peers' door it asks for no certificate, and speaks TLS 1.2, too: phones and old clients come here.

use super::TlsError;
use super::load::{certificates, private_key, read};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
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

struct Current {
    files: [Vec<u8>; 2],
    config: Arc<ServerConfig>,
}

/// The present certificate of the clients' doors. Clones see a reload.
#[derive(Clone)]
pub struct ClientTls {
    files: Arc<ClientTlsFiles>,
    current: Arc<RwLock<Current>>,
}

impl ClientTls {
    /// Reads the files once.
    ///
    /// # Errors
    /// When a file is absent, not PEM, or the key is not the certificate's; the error names the file.
    pub fn load(files: ClientTlsFiles) -> Result<Self, TlsError> {
        let current = Current::read(&files)?;
        Ok(Self { files: Arc::new(files), current: Arc::new(RwLock::new(current)) })
    }

    /// Reads the files again; `true` when they had changed and are in use now.
    ///
    /// # Errors
    /// As [`ClientTls::load`]; the former certificate stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let read = Current::read(&self.files)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = current.files != read.files;
        if changed {
            *current = read;
        }
        Ok(changed)
    }

    /// Reloads whenever the files change, until stopped. A state that cannot be used (two files cannot be replaced at one
    /// instant) is reported once and tried again.
    pub async fn keep_fresh(self, every: Duration, stop: CancellationToken) {
        let mut reported = false;
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let tls = self.clone();
            let Ok(outcome) = tokio::task::spawn_blocking(move || tls.reload()).await else { continue };
            match outcome {
                Ok(true) => tracing::info!("the certificate of the clients' doors was renewed; new connections use it"),
                Ok(false) => reported = false,
                Err(error) if !reported => {
                    reported = true;
                    tracing::warn!(%error, "the changed certificate of the clients' doors cannot be used, the former one stays");
                }
                Err(_) => {}
            }
        }
    }

    /// For one incoming connection, with the files as they are now.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current.config))
    }
}

impl Current {
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
}
