//! TLS towards servers that belong to others: push gateways.

use super::TlsError;
use super::load::{parse_certificates, read_file};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Returns a connector that trusts the system's certificate authorities, and those in a file if there is one.
///
/// # Errors
/// Returns an error that names the file if it cannot be read, or has no certificate.
pub fn outgoing_tls(ca_file: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    // A system may have some that cannot be used: the others are enough.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        for certificate in parse_certificates(path, &read_file(path)?)? {
            roots.add(certificate).map_err(|source| TlsError::Ca { path: path.to_owned(), source })?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Pair)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
