use crate::{observed::PeerTls, pod_watch::PeerIdentity};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};

/// Annotation with the time at which the certificate in a Secret must be renewed, in RFC 3339 format.
pub(crate) const RENEW_AT: &str = "chat.quorate.dev/renew-at";

/// Returns the state of the peer listener's Secrets, and the identity that the operator presents to pods. Pods present
/// one Secret to each other, and the operator presents another to the pods.
pub(super) fn inspect_secrets(
    authority: Option<&Secret>,
    peer: Option<&Secret>,
    admin: Option<&Secret>,
    now: Timestamp,
) -> (PeerTls, Option<PeerIdentity>) {
    let administrator = admin.and_then(peer_identity);
    if peer.and_then(peer_identity).is_none() || administrator.is_none() {
        return (PeerTls::Absent, administrator);
    }
    let is_due = |secret: &Secret| renew_at(secret).is_some_and(|at| now >= at);
    // Without the CA's key nothing can be renewed; the certificates in use are good until they expire.
    let renews = authority.is_some() && [peer, admin].into_iter().flatten().any(is_due);
    (if renews { PeerTls::Expiring } else { PeerTls::Present }, administrator)
}

/// Returns the time at which the certificate must be renewed, as annotated on its Secret.
pub(crate) fn renew_at(secret: &Secret) -> Option<Timestamp> {
    secret.metadata.annotations.as_ref()?.get(RENEW_AT)?.parse().ok()
}

fn peer_identity(secret: &Secret) -> Option<PeerIdentity> {
    Some(PeerIdentity {
        ca: secret_text(secret, "ca.crt")?,
        certificate: secret_text(secret, "tls.crt")?,
        key: secret_text(secret, "tls.key")?,
    })
}

/// Returns the value of a key in a Secret, if it is text.
pub(crate) fn secret_text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}
