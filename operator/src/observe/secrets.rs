use crate::{door::PeerIdentity, observed::PeerTls};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};

/// When the certificate in a Secret must be made again, RFC 3339.
pub(crate) const RENEW_AT: &str = "chat.quorate.dev/renew-at";

/// What the Secrets of the peer door are good for: pods show one of them to each other, the operator the other to pods.
pub(super) fn view(
    authority: Option<&Secret>,
    peer: Option<&Secret>,
    admin: Option<&Secret>,
    now: Timestamp,
) -> (PeerTls, Option<PeerIdentity>) {
    let administrator = admin.and_then(identity);
    if peer.and_then(identity).is_none() || administrator.is_none() {
        return (PeerTls::Absent, administrator);
    }
    let is_due = |secret: &Secret| renew_at(secret).is_some_and(|at| now >= at);
    // Without the authority's key nothing can be made again; the certificates in use are good until their end.
    let state = match authority.is_some() && [peer, admin].into_iter().flatten().any(is_due) {
        true => PeerTls::Expiring,
        false => PeerTls::Present,
    };
    (state, administrator)
}

/// When the certificate must be made again, as it is written beside it.
pub(crate) fn renew_at(secret: &Secret) -> Option<Timestamp> {
    secret.metadata.annotations.as_ref()?.get(RENEW_AT)?.parse().ok()
}

fn identity(secret: &Secret) -> Option<PeerIdentity> {
    Some(PeerIdentity {
        ca: text(secret, "ca.crt")?,
        certificate: text(secret, "tls.crt")?,
        key: text(secret, "tls.key")?,
    })
}

/// A text in a Secret.
pub(crate) fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}
