//! A CA for the tests, and certificates issued by it.

use crate::tls::{PEER_DOMAIN, PeerTls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector, client,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signs itself");
        let pem = certificate.pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes CA, certificate and key of a member into the directory, and overwrites existing ones.
    pub(super) fn write(&self, dir: &Path) -> TlsFiles {
        self.write_with(dir, &["quorate://cluster/test/peer/node"])
    }

    /// Writes the files of a certificate with these URIs among its names.
    pub(super) fn write_with(&self, dir: &Path, uris: &[&str]) -> TlsFiles {
        let (certificate, key) = self.sign(uris);
        let [ca, cert, private] = ["ca.crt", "tls.crt", "tls.key"].map(|name| dir.join(name));
        fs::write(&ca, &self.pem).expect("writes");
        fs::write(&cert, certificate.pem()).expect("writes");
        fs::write(&private, key.serialize_pem()).expect("writes");
        TlsFiles { ca, cert, key: private }
    }

    fn sign(&self, uris: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![PEER_DOMAIN.to_owned()]).expect("a name");
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("a URI"))));
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        (certificate, key)
    }

    /// Returns a TLS client whose certificate has these URIs; the caller need not be a member.
    pub(super) fn caller(&self, uris: &[&str]) -> CallerTls {
        let (certificate, key) = self.sign(uris);
        let mut roots = RootCertStore::empty();
        let own = self.pem.clone();
        use tokio_rustls::rustls::pki_types::pem::PemObject as _;
        roots.add(CertificateDer::from_pem_slice(own.as_bytes()).expect("PEM")).expect("a root");
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .expect("they belong together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        CallerTls(TlsConnector::from(Arc::new(config)))
    }

    pub(super) fn administrator(&self) -> CallerTls {
        self.caller(&["quorate://cluster/test/admin/somebody"])
    }

    pub(super) fn tls(&self, dir: &Path) -> PeerTls {
        PeerTls::load(self.write(dir)).expect("loads")
    }
}

/// TLS client with a given certificate.
#[derive(Clone)]
pub(super) struct CallerTls(TlsConnector);

impl CallerTls {
    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(PEER_DOMAIN).expect("a name");
        self.0.connect(name, TcpStream::connect(address).await?).await
    }
}
