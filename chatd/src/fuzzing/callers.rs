//! Identification of callers: `X-Forwarded-For` headers of proxies, and URIs of certificates.

use crate::caller::{CallerAddress, TrustedProxies};
use crate::tls::{CertificateIdentity, PeerRole};
use http::{HeaderMap, HeaderValue};
use std::net::{IpAddr, Ipv4Addr};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Parses trusted proxies and the headers that they send. The first line of the input is a list of trusted proxies,
/// each further one a line of the header. Returns `true` if the header named a caller.
pub(super) fn check_forwarded(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Some(Ok(trusted)) = lines.next().and_then(|line| std::str::from_utf8(line).ok()).map(TrustedProxies::parse)
    else {
        return false;
    };
    assert_eq!(TrustedProxies::parse(&trusted.show()).as_ref(), Ok(&trusted));
    let mut headers = HeaderMap::new();
    for line in lines.filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append("x-forwarded-for", line);
    }
    for peer in [PROXY, STRANGER] {
        let believed = CallerAddress::of(peer, &headers, &trusted);
        assert!(trusted.hold(peer) || believed == CallerAddress::counted(peer), "a stranger's header was believed");
        assert_eq!(believed, CallerAddress::counted(believed.0), "a key is counted as itself");
    }
    CallerAddress::of(PROXY, &headers, &trusted) != CallerAddress::counted(PROXY)
}

/// Parses the URIs of one certificate, one per line. Returns `true` if they give it a role.
pub(super) fn check_certificate_role(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(CertificateIdentity { role, cluster, name }) = CertificateIdentity::from_uris(text.lines()) else {
        return false;
    };
    let role = match role {
        PeerRole::Peer => "peer",
        PeerRole::Administrator => "admin",
    };
    let uri = format!("quorate://cluster/{cluster}/{role}/{name}");
    assert_eq!(text.lines().filter(|line| line.starts_with("quorate://cluster/")).collect::<Vec<_>>(), [uri]);
    true
}
