//! Files with which a client authenticates to the administrative API.

use super::{DOMAIN, certificates::ADMINISTRATOR};
use crate::error::Error;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// Certificate authority, and a certificate that it signed, with its key.
#[derive(Clone)]
pub struct AdminTlsFiles {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl AdminTlsFiles {
    /// Reads `ca.crt`, `tls.crt` and `tls.key`. All of them are in `directory` (as Kubernetes mounts a Secret); or
    /// `ca.crt` is there and the administrator's pair in `admin` below it (as `chatctl cluster init` writes them); or
    /// `ca.crt` is one directory above the pair.
    ///
    /// # Errors
    /// Returns an error that names the missing file.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let pair = pair_directory(directory)?;
        let beside = pair.join("ca.crt");
        let ca = if beside.exists() { beside } else { pair.join("..").join("ca.crt") };
        let read = |path: PathBuf| fs::read(&path).map_err(Error::file(path));
        Ok(Self { ca: read(ca)?, certificate: read(pair.join("tls.crt"))?, key: read(pair.join("tls.key"))? })
    }

    pub(super) fn client_config(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .domain_name(DOMAIN)
            .ca_certificate(Certificate::from_pem(&self.ca))
            .identity(Identity::from_pem(&self.certificate, &self.key))
    }
}

fn pair_directory(directory: &Path) -> Result<PathBuf, Error> {
    if directory.join("tls.crt").exists() {
        return Ok(directory.to_owned());
    }
    let administrator = directory.join(ADMINISTRATOR);
    if administrator.join("tls.crt").exists() {
        return Ok(administrator);
    }
    let mut beneath: Vec<PathBuf> = fs::read_dir(directory)
        .map_err(Error::file(directory))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("tls.crt").exists())
        .collect();
    // A node's certificate may still read the status. The first one by name is taken, so that it is the same each time.
    beneath.sort();
    beneath.into_iter().next().ok_or_else(|| Error::BadFile {
        path: directory.to_owned(),
        problem:
            "contains no tls.crt: pass the directory of `chatctl cluster init`, or one with ca.crt, tls.crt and tls.key"
                .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::certificates;

    #[test]
    fn files_are_found_in_the_directory_of_init_and_in_that_of_a_node() {
        let directory = tempfile::tempdir().unwrap();
        certificates::make_missing(directory.path(), "c", &["a".into(), "b".into()], false).unwrap();
        let administrator = AdminTlsFiles::load(directory.path()).unwrap();
        assert_eq!(administrator.certificate, fs::read(directory.path().join("admin/tls.crt")).unwrap());
        assert!(AdminTlsFiles::load(&directory.path().join("b")).is_ok());
    }

    #[test]
    fn a_directory_without_certificates_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = AdminTlsFiles::load(directory.path()).err().unwrap();
        assert!(error.to_string().contains("no tls.crt"), "{error}");
    }
}
