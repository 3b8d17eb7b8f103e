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
    let Some(peer) = peer else { return (PeerTls::Absent, None) };
    let Some(identity) = identity(peer) else { return (PeerTls::Damaged, None) };
    let renew_at = peer.metadata.annotations.as_ref().and_then(|all| all.get(RENEW_AT)?.parse::<Timestamp>().ok());
    let state = match (authority, renew_at) {
        (Some(_), Some(renew_at)) if now >= renew_at => PeerTls::Expiring,
        // Without the authority's key nothing can be made again; the certificate in use is good until its end.
        _ => PeerTls::Present,
    };
    (state, Some(identity))
}

fn identity(secret: &Secret) -> Option<PeerIdentity> {
    let field = |key| text(secret, key).filter(|text| !text.is_empty());
    Some(PeerIdentity { ca: field("ca.crt")?, certificate: field("tls.crt")?, key: field("tls.key")? })
}

/// A text in a Secret.
pub(crate) fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(keys: &[&str]) -> Secret {
        let data = keys.iter().map(|key| ((*key).to_owned(), ByteString(b"text".to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_secret_without_its_key_is_damaged_and_not_absent() {
        let now = Timestamp::UNIX_EPOCH;
        let state = |peer: Option<&Secret>| view(None, peer, now).0;
        assert_eq!(state(None), PeerTls::Absent);
        assert_eq!(state(Some(&secret(&["ca.crt", "tls.crt"]))), PeerTls::Damaged);
        assert_eq!(state(Some(&secret(&[]))), PeerTls::Damaged);
        assert_eq!(state(Some(&secret(&["ca.crt", "tls.crt", "tls.key"]))), PeerTls::Present);
    }
}
