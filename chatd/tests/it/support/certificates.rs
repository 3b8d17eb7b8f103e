//! Certificate authority and peer certificates like those of the operator.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use std::fs;
use std::path::{Path, PathBuf};

/// DNS name that peers verify.
pub const PEER_NAME: &str = "quorate-peer";

/// Paths of the PEM files of one holder.
#[derive(Clone)]
pub struct Files {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Creates a certificate authority.
pub fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// Issues a member's certificate and writes the three files.
pub fn issue(authority: &CertifiedIssuer<'static, KeyPair>, dir: &Path) -> Files {
    issue_for(authority, dir, Some("quorate://cluster/test/peer/node"))
}

/// Issues an administrator's certificate.
pub fn issue_administrator(authority: &CertifiedIssuer<'static, KeyPair>, dir: &Path) -> Files {
    issue_for(authority, dir, Some("quorate://cluster/test/admin/somebody"))
}

/// Issues a certificate with `uri`, which holds the role, among its names.
pub fn issue_for(authority: &CertifiedIssuer<'static, KeyPair>, dir: &Path, uri: Option<&str>) -> Files {
    fs::create_dir_all(dir).expect("a directory");
    let mut params = CertificateParams::new(vec![PEER_NAME.to_owned()]).expect("a name");
    params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().expect("a URI"))));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let cert = params.signed_by(&key, authority).expect("a certificate");
    let files = Files { ca: dir.join("ca.crt"), cert: dir.join("tls.crt"), key: dir.join("tls.key") };
    fs::write(&files.ca, authority.pem()).expect("written");
    fs::write(&files.cert, cert.pem()).expect("written");
    fs::write(&files.key, key.serialize_pem()).expect("written");
    files
}
