//! Authorities that a client trusts when a server presents its certificate.

use rustls::pki_types::{CertificateDer, TrustAnchor, pem::PemObject as _};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;
use tonic::transport::ClientTlsConfig;
use webpki::anchor_from_trusted_cert;

/// Authorities whose certificates are accepted, and the name expected in a server's certificate.
#[derive(Clone)]
pub struct ServerTrust {
    anchors: Arc<[TrustAnchor<'static>]>,
    name: Option<String>,
}

/// Reason why authorities cannot be loaded.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file can be read, but contains no authorities that can be used.
    #[error("{path}: {problem}", path = path.display())]
    Unusable {
        /// Path of the file.
        path: PathBuf,
        /// Description of the problem, and what to do about it.
        problem: String,
    },
}

impl ServerTrust {
    /// Trusts the authorities in a PEM file, or those of the system without one. `name` is expected in a certificate
    /// instead of the host connected to: pods are addressed by names that a public certificate does not list.
    ///
    /// # Errors
    /// Returns a [`TrustError`] that names the file that cannot be used.
    pub fn load(file: Option<&Path>, name: Option<String>) -> Result<Self, TrustError> {
        let certificates = file.map_or_else(of_system, of_file)?;
        let anchors = certificates.iter().filter_map(|one| anchor_from_trusted_cert(one).ok());
        let anchors: Arc<[_]> = anchors.map(|anchor| anchor.to_owned()).collect();
        if anchors.is_empty() {
            let path = file.map_or_else(|| PathBuf::from("system certificate store"), Path::to_owned);
            let problem = "contains no CA certificate: pass a PEM file with --ca-file".to_owned();
            return Err(TrustError::Unusable { path, problem });
        }
        Ok(Self { anchors, name })
    }

    pub(super) fn config(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().trust_anchors(self.anchors.iter().cloned());
        match &self.name {
            Some(name) => config.domain_name(name),
            None => config,
        }
    }
}

impl fmt::Debug for ServerTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTrust").field("anchors", &self.anchors.len()).field("name", &self.name).finish()
    }
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let text = std::fs::read(path).map_err(|source| TrustError::Unreadable { path: path.to_owned(), source })?;
    CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(|error| TrustError::Unusable {
        path: path.to_owned(),
        problem: format!("is not a valid PEM file ({error})"),
    })
}

/// Loads the system's certificates, except for those that cannot be read: a system may have some.
fn of_system() -> Result<Vec<CertificateDer<'static>>, TrustError> {
    Ok(rustls_native_certs::load_native_certs().certs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, text).unwrap();
            let error = ServerTrust::load(Some(&path), None).unwrap_err();
            assert!(error.to_string().contains("ca.crt"), "{error}");
        }
        assert!(ServerTrust::load(Some(&directory.path().join("none")), None).is_err());
    }
}
