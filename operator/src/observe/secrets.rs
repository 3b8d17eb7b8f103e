use crate::{door::PeerIdentity, observed::PeerTls};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};

/// When the certificate in a Secret must be made again, RFC 3339.
pub(crate) const RENEW_AT: &str = "chat.quorate.dev/renew-at";

/// What both Secrets of the peer door are good for.
pub(super) fn view(
    authority: Option<&Secret>,
    peer: Option<&Secret>,
    now: Timestamp,
) -> (PeerTls, Option<PeerIdentity>) {
    let Some(identity) = peer.and_then(identity) else { return (PeerTls::Absent, None) };
    let renew_at =
        peer.and_then(|secret| secret.metadata.annotations.as_ref()?.get(RENEW_AT)?.parse::<Timestamp>().ok());
    let state = match (authority, renew_at) {
        (Some(_), Some(renew_at)) if now >= renew_at => PeerTls::Expiring,
        // Without the authority's key nothing can be made again; the certificate in use is good until its end.
        _ => PeerTls::Present,
    };
    (state, Some(identity))
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
