//! The cluster's own certificate authority, the nodes' certificates and an administrator's, for processes without
//! Kubernetes. A URI in each says whose it is: a node's cannot administer, an administrator's cannot replicate.

use super::DOMAIN;
use crate::error::Error;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
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

/// The directory of the administrator's certificate, beside those of the nodes.
pub const ADMINISTRATOR: &str = "admin";

/// Whose a certificate is.
#[derive(Clone, Copy)]
enum Holder<'a> {
    Node(&'a str),
    Administrator,
}

impl Holder<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Node(name) => name,
            Self::Administrator => ADMINISTRATOR,
        }
    }

    /// What chatd reads the role from (`chatd/src/tls/holder.rs`).
    fn uri(&self, cluster_id: &str) -> String {
        match self {
            Self::Node(name) => format!("quorate://cluster/{cluster_id}/peer/{name}"),
            Self::Administrator => format!("quorate://cluster/{cluster_id}/admin/{ADMINISTRATOR}"),
        }
    }
}

/// Makes what is missing: `ca.crt`, `ca.key`, and for each node `NODE/tls.crt`, `NODE/tls.key` and a copy of `ca.crt`;
/// the same for the administrator. What is there stays, but for the certificates when `renew` is set. All files have mode
/// 0600. Returns the names of the nodes whose certificates are new.
///
/// # Errors
/// When a file cannot be read or written, or the authority's files do not belong together.
pub fn make(directory: &Path, cluster_id: &str, nodes: &[String], renew: bool) -> Result<Vec<String>, Error> {
    private_directory(directory)?;
    let authority = authority(directory)?;
    let mut made = Vec::new();
    for node in nodes {
        if make_one(directory, &authority, Holder::Node(node), cluster_id, renew)? {
            made.push(node.clone());
        }
    }
    make_one(directory, &authority, Holder::Administrator, cluster_id, renew)?;
    Ok(made)
}

/// Whether it is new.
fn make_one(
    directory: &Path,
    authority: &Issuer<'_, KeyPair>,
    holder: Holder<'_>,
    cluster_id: &str,
    renew: bool,
) -> Result<bool, Error> {
    let own = directory.join(holder.name());
    private_directory(&own)?;
    if !own.join("ca.crt").exists() {
        write(&own.join("ca.crt"), &read(&directory.join("ca.crt"))?)?;
    }
    let is_complete = own.join("tls.crt").exists() && own.join("tls.key").exists();
    if is_complete && !renew {
        return Ok(false);
    }
    let (certificate, key) = certificate(holder, cluster_id, authority)?;
    // The key first: a certificate without its key would look complete to the next run.
    write(&own.join("tls.key"), &key)?;
    write(&own.join("tls.crt"), &certificate)?;
    Ok(true)
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

fn certificate(
    holder: Holder<'_>,
    cluster_id: &str,
    authority: &Issuer<'_, KeyPair>,
) -> Result<(String, String), Error> {
    let names = match holder {
        Holder::Node(_) => vec![DOMAIN.to_owned()],
        // Nobody calls an administrator.
        Holder::Administrator => Vec::new(),
    };
    let mut params = valid_for(CertificateParams::new(names)?, NODE_VALIDITY);
    params.subject_alt_names.push(SanType::URI(holder.uri(cluster_id).try_into()?));
    params.distinguished_name.push(DnType::CommonName, holder.name());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if let Holder::Node(_) = holder {
        // Each node calls the others and is called by them.
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
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

/// Makes a directory that nobody else can look into, if it is not there.
///
/// # Errors
/// Names the path.
pub fn private_directory(path: &Path) -> Result<(), Error> {
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
        make(directory.path(), "c", &names(), false).unwrap();
        for file in [
            "ca.crt",
            "ca.key",
            "a/tls.crt",
            "a/tls.key",
            "a/ca.crt",
            "b/tls.crt",
            "b/tls.key",
            "admin/tls.crt",
            "admin/tls.key",
        ] {
            let mode = fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_second_run_changes_nothing_and_adds_a_new_node_under_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(make(directory.path(), "c", &names(), false).unwrap(), ["a", "b"]);
        let before = read(&directory.path().join("a/tls.crt")).unwrap();
        let authority = read(&directory.path().join("ca.crt")).unwrap();
        assert_eq!(make(directory.path(), "c", &["a".into(), "c".into()], false).unwrap(), ["c"]);
        assert_eq!(read(&directory.path().join("a/tls.crt")).unwrap(), before);
        assert_eq!(read(&directory.path().join("c/ca.crt")).unwrap(), authority);
    }

    #[test]
    fn renewal_replaces_the_nodes_certificates_only() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path(), "c", &names(), false).unwrap();
        let before =
            (read(&directory.path().join("a/tls.crt")).unwrap(), read(&directory.path().join("ca.crt")).unwrap());
        make(directory.path(), "c", &names(), true).unwrap();
        assert_ne!(read(&directory.path().join("a/tls.crt")).unwrap(), before.0);
        assert_eq!(read(&directory.path().join("ca.crt")).unwrap(), before.1);
    }
}
