//! A CA of the test's own, and certificates of it.

use crate::tls::{PEER_DOMAIN, PeerTls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{fs, path::Path};

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

    /// Writes CA, certificate and key into the directory, over those that are there.
    pub(super) fn write(&self, dir: &Path) -> TlsFiles {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![PEER_DOMAIN.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        let [ca, cert, private] = ["ca.crt", "tls.crt", "tls.key"].map(|name| dir.join(name));
        fs::write(&ca, &self.pem).expect("writes");
        fs::write(&cert, certificate.pem()).expect("writes");
        fs::write(&private, key.serialize_pem()).expect("writes");
        TlsFiles { ca, cert, key: private }
    }

    pub(super) fn tls(&self, dir: &Path) -> PeerTls {
        PeerTls::load(self.write(dir)).expect("loads")
    }
}
