//! Creation of the cluster's own certificate authority and of the certificates of nodes and administrator, for clusters
//! outside Kubernetes. A URI in each certificate names the role of its holder: a node's certificate cannot administer,
//! an administrator's cannot replicate.

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
/// Time by which the start of validity is backdated, because the clocks of machines differ.
const BACKDATED: Duration = DAY;
/// Validity of the authority, which outlives several generations of certificates.
const CA_VALIDITY: Duration = Duration::from_secs(3650 * 86_400);
/// Validity of the other certificates. They are renewed by running `chatctl cluster init --certificates-only --renew`
/// and restarting the nodes one by one.
const NODE_VALIDITY: Duration = Duration::from_secs(825 * 86_400);

/// Name of the directory of the administrator's certificate, beside those of the nodes.
pub const ADMINISTRATOR: &str = "admin";

/// Holder of a certificate.
#[derive(Clone, Copy)]
enum CertificateSubject<'a> {
    Node(&'a str),
    Administrator,
}

impl CertificateSubject<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Node(name) => name,
            Self::Administrator => ADMINISTRATOR,
        }
    }

    /// Returns the URI from which chatd reads the role (`chatd/src/tls/holder.rs`).
    fn uri(&self, cluster_id: &str) -> String {
        match self {
            Self::Node(name) => format!("quorate://cluster/{cluster_id}/peer/{name}"),
            Self::Administrator => format!("quorate://cluster/{cluster_id}/admin/{ADMINISTRATOR}"),
        }
    }
}

/// Creates the files that are missing: `ca.crt`, `ca.key`, and for each node `NODE/tls.crt`, `NODE/tls.key` and a copy
/// of `ca.crt`; the same for the administrator. Existing files are kept, except for certificates and their keys if
/// `renew` is set. All files have mode 0600. Returns the names of the nodes whose certificates are new.
///
/// # Errors
/// Returns an error if a file cannot be read or written, or if the authority's files do not belong together.
pub fn make_missing(directory: &Path, cluster_id: &str, nodes: &[String], renew: bool) -> Result<Vec<String>, Error> {
    private_directory(directory)?;
    let authority = load_or_create_authority(directory)?;
    let mut made = Vec::new();
    for node in nodes {
        if make_one(directory, &authority, CertificateSubject::Node(node), cluster_id, renew)? {
            made.push(node.clone());
        }
    }
    make_one(directory, &authority, CertificateSubject::Administrator, cluster_id, renew)?;
    Ok(made)
}

/// Creates the files of one holder. Returns `true` if the certificate is new.
fn make_one(
    directory: &Path,
    authority: &Issuer<'_, KeyPair>,
    holder: CertificateSubject<'_>,
    cluster_id: &str,
    renew: bool,
) -> Result<bool, Error> {
    let own = directory.join(holder.name());
    private_directory(&own)?;
    if !own.join("ca.crt").exists() {
        write_private(&own.join("ca.crt"), &read_text(&directory.join("ca.crt"))?)?;
    }
    let is_complete = own.join("tls.crt").exists() && own.join("tls.key").exists();
    if is_complete && !renew {
        return Ok(false);
    }
    let (certificate, key) = sign_certificate(holder, cluster_id, authority)?;
    // The key is written first, so that no new certificate exists without its key.
    write_private(&own.join("tls.key"), &key)?;
    write_private(&own.join("tls.crt"), &certificate)?;
    Ok(true)
}

fn load_or_create_authority(directory: &Path) -> Result<Issuer<'static, KeyPair>, Error> {
    let certificate = directory.join("ca.crt");
    let key = directory.join("ca.key");
    if !certificate.exists() {
        let pair = KeyPair::generate()?;
        let made = authority_params()?.self_signed(&pair)?;
        // The key first: once the certificate exists, the authority counts as made.
        write_private(&key, &pair.serialize_pem())?;
        write_private(&certificate, &made.pem())?;
    }
    let pair = KeyPair::from_pem(&read_text(&key)?)?;
    Ok(Issuer::from_ca_cert_pem(&read_text(&certificate)?, pair)?)
}

fn authority_params() -> Result<CertificateParams, Error> {
    let mut params = valid_for(CertificateParams::new(Vec::new())?, CA_VALIDITY);
    params.distinguished_name.push(DnType::CommonName, "quorate cluster authority");
    // Path length 0: the authority signs nodes, but nothing that could sign in turn.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn sign_certificate(
    holder: CertificateSubject<'_>,
    cluster_id: &str,
    authority: &Issuer<'_, KeyPair>,
) -> Result<(String, String), Error> {
    let names = match holder {
        CertificateSubject::Node(_) => vec![DOMAIN.to_owned()],
        // An administrator is only ever a client, so its certificate needs no DNS name.
        CertificateSubject::Administrator => Vec::new(),
    };
    let mut params = valid_for(CertificateParams::new(names)?, NODE_VALIDITY);
    params.subject_alt_names.push(SanType::URI(holder.uri(cluster_id).try_into()?));
    params.distinguished_name.push(DnType::CommonName, holder.name());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if let CertificateSubject::Node(_) = holder {
        // Each node is a client and a server of the others.
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

/// Creates a directory that only its owner can access, if it does not exist.
///
/// # Errors
/// Returns an error that names the path.
pub fn private_directory(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))
}

fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file(path))
}

/// Replaces a file atomically, with mode 0600.
///
/// # Errors
/// Returns an error that names the path.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
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
        make_missing(directory.path(), "c", &names(), false).unwrap();
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
        assert_eq!(make_missing(directory.path(), "c", &names(), false).unwrap(), ["a", "b"]);
        let before = read_text(&directory.path().join("a/tls.crt")).unwrap();
        let authority = read_text(&directory.path().join("ca.crt")).unwrap();
        assert_eq!(make_missing(directory.path(), "c", &["a".into(), "c".into()], false).unwrap(), ["c"]);
        assert_eq!(read_text(&directory.path().join("a/tls.crt")).unwrap(), before);
        assert_eq!(read_text(&directory.path().join("c/ca.crt")).unwrap(), authority);
    }

    #[test]
    fn renewal_replaces_the_nodes_certificates_only() {
        let directory = tempfile::tempdir().unwrap();
        make_missing(directory.path(), "c", &names(), false).unwrap();
        let before = (
            read_text(&directory.path().join("a/tls.crt")).unwrap(),
            read_text(&directory.path().join("ca.crt")).unwrap(),
        );
        make_missing(directory.path(), "c", &names(), true).unwrap();
        assert_ne!(read_text(&directory.path().join("a/tls.crt")).unwrap(), before.0);
        assert_eq!(read_text(&directory.path().join("ca.crt")).unwrap(), before.1);
    }
}
