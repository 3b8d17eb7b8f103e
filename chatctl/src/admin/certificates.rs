//! The cluster's own certificate authority and the nodes' certificates, for processes without Kubernetes.

use super::DOMAIN;
use crate::error::Error;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(86_400);
/// Clocks of machines differ: valid since yesterday.
const BACKDATED: Duration = DAY;
/// The authority outlives several generations of certificates.
const CA_VALIDITY: Duration = Duration::from_secs(3650 * 86_400);
/// Renewed by running `chatctl cluster init --certificates-only --renew` and restarting the nodes one by one.
const NODE_VALIDITY: Duration = Duration::from_secs(825 * 86_400);

/// Makes what is missing: `ca.crt`, `ca.key`, and for each node `NODE/tls.crt`, `NODE/tls.key` and a copy of `ca.crt`.
/// What is there stays, but for the nodes' certificates when `renew` is set. All files have mode 0600.
/// Returns the names of the nodes whose certificates are new.
///
/// # Errors
/// When a file cannot be read or written, or the authority's files do not belong together.
pub fn make(directory: &Path, nodes: &[String], renew: bool) -> Result<Vec<String>, Error> {
    private_directory(directory)?;
    let authority = authority(directory)?;
    let mut made = Vec::new();
    for node in nodes {
        let own = directory.join(node);
        private_directory(&own)?;
        if !own.join("ca.crt").exists() {
            write(&own.join("ca.crt"), &read(&directory.join("ca.crt"))?)?;
        }
        if renew || !own.join("tls.crt").exists() || !own.join("tls.key").exists() {
            let (certificate, key) = node_certificate(node, &authority)?;
            // The key first: a certificate without its key would look complete to the next run.
            write(&own.join("tls.key"), &key)?;
            write(&own.join("tls.crt"), &certificate)?;
            made.push(node.clone());
        }
    }
    Ok(made)
}

fn authority(directory: &Path) -> Result<Issuer<'static, KeyPair>, Error> {
    let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
    if !certificate.exists() {
        let pair = KeyPair::generate()?;
        let made = authority_params()?.self_signed(&pair)?;
        write(&key, &pair.serialize_pem())?;
        write(&certificate, &made.pem())?;
    }
    let pair = KeyPair::from_pem(&read(&key)?)?;
    Ok(Issuer::from_ca_cert_pem(&read(&certificate)?, pair)?)
}

fn authority_params() -> Result<CertificateParams, Error> {
    let mut params = valid_for(CertificateParams::new(Vec::new())?, CA_VALIDITY);
    params.distinguished_name.push(DnType::CommonName, "quorate cluster authority");
    // Signs nodes, and nothing that could sign in turn.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn node_certificate(node: &str, authority: &Issuer<'_, KeyPair>) -> Result<(String, String), Error> {
    let mut params = valid_for(CertificateParams::new(vec![DOMAIN.to_owned()])?, NODE_VALIDITY);
    params.distinguished_name.push(DnType::CommonName, node);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Each node calls the others and is called by them.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn valid_for(mut params: CertificateParams, validity: Duration) -> CertificateParams {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + validity).into();
    params
}

fn private_directory(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file(path))
}

/// Replaces a file whole or not at all, with mode 0600.
///
/// # Errors
/// Names the path.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let replace = || {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(directory)?.sync_all()
    };
    replace().map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["a".into(), "b".into()]
    }

    #[test]
    fn every_file_is_private() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path(), &names(), false).unwrap();
        for file in ["ca.crt", "ca.key", "a/tls.crt", "a/tls.key", "a/ca.crt", "b/tls.crt", "b/tls.key"] {
            let mode = fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_second_run_changes_nothing_and_adds_a_new_node_under_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(make(directory.path(), &names(), false).unwrap(), ["a", "b"]);
        let before = read(&directory.path().join("a/tls.crt")).unwrap();
        let authority = read(&directory.path().join("ca.crt")).unwrap();
        assert_eq!(make(directory.path(), &["a".into(), "c".into()], false).unwrap(), ["c"]);
        assert_eq!(read(&directory.path().join("a/tls.crt")).unwrap(), before);
        assert_eq!(read(&directory.path().join("c/ca.crt")).unwrap(), authority);
    }

    #[test]
    fn renewal_replaces_the_nodes_certificates_only() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path(), &names(), false).unwrap();
        let before =
            (read(&directory.path().join("a/tls.crt")).unwrap(), read(&directory.path().join("ca.crt")).unwrap());
        make(directory.path(), &names(), true).unwrap();
        assert_ne!(read(&directory.path().join("a/tls.crt")).unwrap(), before.0);
        assert_eq!(read(&directory.path().join("ca.crt")).unwrap(), before.1);
    }
}
