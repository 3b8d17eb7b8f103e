//! Conversion of PEM files to rustls configurations.

use super::reload::FromFiles;
use super::{CertificateIdentity, HolderError, PeerRole, TlsFiles};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};

/// Errors of loading certificate, key and CA.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file holds no PEM block of the expected kind.
    #[error("{} holds no {what} in PEM form", path.display())]
    Pem {
        path: PathBuf,
        /// Kind that was expected.
        what: &'static str,
    },
    /// A CA certificate cannot be used as a trust anchor.
    #[error("{} holds a CA certificate that cannot be used", path.display())]
    Ca {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    /// Certificate and key do not belong together, or are of an unsupported kind.
    #[error("certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// The certificate does not identify its holder as a member of a cluster.
    #[error("{} cannot be used as this node's certificate", path.display())]
    Holder {
        path: PathBuf,
        #[source]
        source: HolderError,
    },
    /// The certificate is an administrator's, so no member would accept this node.
    #[error("{} is an administrator's certificate, but a node needs a peer's: one with quorate://cluster/ID/peer/NAME among its names", path.display())]
    NotAPeer { path: PathBuf },
    /// No certificate verifier can be built from the CA.
    #[error("the CA of the peer listener cannot be used")]
    Verifier(#[source] VerifierBuilderError),
}

/// Configurations made from the files, with the contents of the files to detect changes.
pub(super) struct LoadedTls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    /// Holder of this node's own certificate.
    pub(super) own: CertificateIdentity,
    files: [Vec<u8>; 3],
}

impl FromFiles for LoadedTls {
    type Files = TlsFiles;
    const WHOSE: &'static str = "this node";

    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let [ca, cert, key] = [read_file(&files.ca)?, read_file(&files.cert)?, read_file(&files.key)?];
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(root_store(&files.ca, &ca)?);
        let chain = parse_certificates(&files.cert, &cert)?;
        let own = own_identity(&files.cert, &chain)?;
        let private = private_key(&files.key, &key)?;
        let client = client_config(&provider, &roots, chain.clone(), private.clone_key())?;
        let server = server_config(&provider, roots, chain, private)?;
        Ok(Self { server: Arc::new(server), client: Arc::new(client), own, files: [ca, cert, key] })
    }

    fn same_files(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

pub(super) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::Pem { path: path.to_owned(), what: "private key" })
}

pub(super) fn parse_certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let absent = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| absent())?;
    if found.is_empty() { Err(absent()) } else { Ok(found) }
}

fn own_identity(path: &Path, chain: &[CertificateDer<'static>]) -> Result<CertificateIdentity, TlsError> {
    let holder = chain.first().map_or(Err(HolderError::NoRole), CertificateIdentity::of);
    // Found at the start, and not only when every member refuses this node.
    match holder.map_err(|source| TlsError::Holder { path: path.to_owned(), source })? {
        holder if holder.role == PeerRole::Peer => Ok(holder),
        _ => Err(TlsError::NotAPeer { path: path.to_owned() }),
    }
}

fn root_store(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in parse_certificates(path, pem)? {
        store.add(certificate).map_err(|source| TlsError::Ca { path: path.to_owned(), source })?;
    }
    Ok(store)
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().map_err(TlsError::Verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Pair)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would not present its certificate again, and so outlive the CA that signed it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Pair)?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
