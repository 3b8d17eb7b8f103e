use crate::names::{PEER_DOMAIN, PORT_PEER};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Longest wait for a connection, because the address of a lost pod may swallow packets.
const CONNECT: Duration = Duration::from_secs(1);

/// Certificate that the operator presents to peer listeners and the CA that it trusts, from the administrator's Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Certificate of the CA, PEM-encoded.
    pub ca: String,
    /// Certificate of the operator, PEM-encoded.
    pub certificate: String,
    /// Private key of the certificate, PEM-encoded.
    pub key: String,
}

// Not derived, because keys must not appear in logs.
impl std::fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerIdentity")
    }
}

/// The admin API of a pod cannot be dialled.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DialError {
    #[error("the pod's address {0:?} is not an IP address")]
    Address(String),
    #[error("the peer Secret does not hold a valid TLS configuration")]
    Tls(#[source] tonic::transport::Error),
}

/// Returns a channel to the admin API of the pod at `address`. The channel connects when it is first used, and again
/// when the connection breaks.
///
/// Pods are dialled by address and not by name: the name of a restarted pod is wrong, then absent, for up to ten
/// seconds.
///
/// # Errors
/// Fails if the address or the certificates are malformed; an unreachable pod is found at the first call.
pub fn dial_pod(address: &str, identity: &PeerIdentity) -> Result<Channel, DialError> {
    let uri = format!("https://{}", socket_address(address).ok_or_else(|| DialError::Address(address.to_owned()))?);
    let tls = ClientTlsConfig::new()
        .domain_name(PEER_DOMAIN)
        .ca_certificate(Certificate::from_pem(&identity.ca))
        .identity(Identity::from_pem(&identity.certificate, &identity.key));
    let endpoint = Endpoint::from_shared(uri)
        .map_err(|_| DialError::Address(address.to_owned()))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        // A node that vanishes closes no connection. Together these limits equal `SILENCE` in `hub.rs`.
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .tls_config(tls)
        .map_err(DialError::Tls)?;
    Ok(endpoint.connect_lazy())
}

/// Parses an address and adds the peer port, unless the address already has a port.
fn socket_address(address: &str) -> Option<SocketAddr> {
    let port = u16::try_from(PORT_PEER).ok()?;
    address.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)).or_else(|_| address.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_get_the_peer_port() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(socket_address(text).map(|socket| socket.to_string()).as_deref(), expected, "{text}");
        };
        check("10.0.0.1", Some("10.0.0.1:7401"));
        check("fd00::1", Some("[fd00::1]:7401"));
        check("127.0.0.1:5000", Some("127.0.0.1:5000"));
        check("team-0.team-peers", None);
    }
}
