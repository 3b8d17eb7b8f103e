//! Identity of a certificate's holder: its role, in a URI among the subject alternative names.
//!
//! One CA signs for everybody who may connect to the peer listener, so its signature says *that* the holder belongs to
//! the cluster, but not *as what*. The URI says that: `quorate://cluster/ID/peer/NAME` for a member, which speaks Raft
//! and forwards writes, `quorate://cluster/ID/admin/NAME` for an administrator.

use tokio_rustls::rustls::pki_types::CertificateDer;

/// Prefix of the URI.
const PREFIX: &str = "quorate://cluster/";

/// Role of a certificate's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRole {
    /// A member of the cluster.
    Peer,
    /// An administrator of the cluster: the operator, or a person.
    Administrator,
}

/// Holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// Role in the cluster.
    pub role: PeerRole,
    /// Identifier of the cluster, as in the certificates of all its members.
    pub cluster: String,
    /// Name of the holder.
    pub name: String,
}

/// Errors of reading the holder from a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HolderError {
    /// The certificate is not valid X.509, which the handshake would have found first.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// The CA is ours, but the certificate has no role: something else made it, or it is old.
    #[error(
        "the certificate has no role: it needs a URI quorate://cluster/ID/peer/NAME or quorate://cluster/ID/admin/NAME \
         among its names; recreate it with `chatctl cluster init --certificates-only --renew`, or with the operator"
    )]
    NoRole,
    /// The certificate has several roles. That gives it none, because roles exist to be told apart.
    #[error("the certificate has more than one role; create one certificate for each")]
    SeveralRoles,
    /// The URI begins like a role but continues in another way.
    #[error("the certificate's URI {0:?} is not quorate://cluster/ID/peer/NAME or quorate://cluster/ID/admin/NAME")]
    Malformed(String),
}

impl CertificateIdentity {
    /// Reads the holder from a certificate. The handshake has to verify the certificate itself.
    ///
    /// # Errors
    /// Returns an error if there is no role, more than one, or an unknown one.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, HolderError> {
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| HolderError::Unreadable)?;
        Self::from_uris(parsed.valid_uri_names())
    }

    /// Reads the holder from the URIs of a certificate.
    pub(crate) fn from_uris<'a>(uris: impl Iterator<Item = &'a str>) -> Result<Self, HolderError> {
        let mut roles = uris.filter_map(|uri| uri.strip_prefix(PREFIX));
        let role = roles.next().ok_or(HolderError::NoRole)?;
        if roles.next().is_some() {
            return Err(HolderError::SeveralRoles);
        }
        Self::parse(role).ok_or_else(|| HolderError::Malformed(format!("{PREFIX}{role}")))
    }

    /// Parses `ID/ROLE/NAME`, the URI without its prefix.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let cluster = parts.next()?;
        let role = parts.next()?;
        let name = parts.next()?;
        let role = match role {
            "peer" => PeerRole::Peer,
            "admin" => PeerRole::Administrator,
            _ => return None,
        };
        let complete = parts.next().is_none() && !cluster.is_empty() && !name.is_empty();
        complete.then(|| Self { role, cluster: cluster.to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uris: &[&str]) -> Result<(PeerRole, String, String), HolderError> {
        CertificateIdentity::from_uris(uris.iter().copied()).map(|holder| (holder.role, holder.cluster, holder.name))
    }

    #[test]
    fn peers_and_administrators_are_told_apart() {
        let peer = check(&["https://elsewhere", "quorate://cluster/chat.team/peer/team-0"]);
        assert_eq!(peer, Ok((PeerRole::Peer, "chat.team".into(), "team-0".into())));
        let admin = check(&["quorate://cluster/chat.team/admin/operator"]);
        assert_eq!(admin, Ok((PeerRole::Administrator, "chat.team".into(), "operator".into())));
    }

    #[test]
    fn nobody_has_two_roles_or_one_that_there_is_not() {
        assert_eq!(check(&[]), Err(HolderError::NoRole));
        assert_eq!(check(&["spiffe://a/b"]), Err(HolderError::NoRole));
        let both = ["quorate://cluster/c/peer/a", "quorate://cluster/c/admin/a"];
        assert_eq!(check(&both), Err(HolderError::SeveralRoles));
        for odd in ["c/peer", "c/peer/", "/peer/a", "c/root/a", "c/peer/a/b", "", "c/Peer/a"] {
            let uri = format!("quorate://cluster/{odd}");
            assert_eq!(check(&[&uri]), Err(HolderError::Malformed(uri.clone())), "{odd}");
        }
    }
}
