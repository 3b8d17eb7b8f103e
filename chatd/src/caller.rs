//! Address that a request came from, as limits count it.

use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Address of a request's caller, in the extensions of every HTTP and gRPC request to the client listeners.
///
/// The address is a key to count by, not one to answer to: see [`CallerAddress::counted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallerAddress(pub(crate) IpAddr);

/// Mask of the part of an IPv6 address that names a network: a subscriber commonly gets a /64 and may use any address
/// in it, so counting whole addresses would count nothing.
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

/// Header to which proxies append the address of their client.
const FORWARDED_FOR: &str = "x-forwarded-for";

impl CallerAddress {
    /// Address of callers whose real one is unknown; all of them are counted as one.
    pub(crate) const UNKNOWN: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// Returns what `address` is counted as: IPv4 addresses one by one (also those that a socket of both families shows
    /// as `::ffff:a.b.c.d`), IPv6 addresses by their /64.
    pub(crate) fn counted(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & IPV6_NETWORK).into(),
        })
    }

    /// Returns the caller that sent a request which `peer` delivered: `peer` itself, unless it is a trusted proxy. Then
    /// it is the right-most address of `X-Forwarded-For` that is not a trusted proxy: all to the left of it may be
    /// written by a stranger.
    pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> Self {
        let mut caller = peer;
        if trusted.hold(peer) {
            let lines = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|line| line.to_str().ok());
            for hop in lines.flat_map(|line| line.rsplit(',')) {
                // A proxy that cannot tell writes "unknown": then the last known address counts.
                let Some(address) = hop_address(hop.trim()) else { break };
                caller = address;
                if !trusted.hold(address) {
                    break;
                }
            }
        }
        Self::counted(caller)
    }
}

/// Returns the address of a hop; some proxies write the port, too.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// Proxies whose `X-Forwarded-For` is believed. None unless configured: anybody can write that header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Parses addresses and networks, separated by commas; an empty text means that no proxy is trusted.
    ///
    /// # Errors
    /// A message that says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks = parts.map(|part| {
            let network = part.parse().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from));
            network.ok_or_else(|| format!("\"{part}\" is neither an address nor a network such as 10.0.0.0/8"))
        });
        networks.collect::<Result<Vec<IpNet>, String>>().map(|all| Self(all.into()))
    }

    /// Returns `true` if the address is one of a trusted proxy.
    #[must_use]
    pub fn hold(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the proxies in the format that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(address: &str) -> String {
        CallerAddress::counted(address.parse().expect("an address")).0.to_string()
    }

    fn caller(peer: &str, forwarded: &[&str], trusted: &str) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().expect("a header"));
        }
        let trusted = TrustedProxies::parse(trusted).expect("networks");
        CallerAddress::of(peer.parse().expect("an address"), &headers, &trusted).0.to_string()
    }

    #[test]
    fn ipv6_is_counted_by_network_and_ipv4_by_address() {
        assert_eq!(counted("192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:2:ffff::1"), counted("2001:db8:1:2::"));
        assert_ne!(counted("2001:db8:1:3::1"), counted("2001:db8:1:2::1"));
    }

    #[test]
    fn a_strangers_header_is_not_believed() {
        assert_eq!(caller("192.0.2.7", &["203.0.113.9"], ""), "192.0.2.7");
        assert_eq!(caller("192.0.2.7", &["203.0.113.9"], "10.0.0.0/8"), "192.0.2.7");
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_caller() {
        let proxies = "10.0.0.0/8, 192.0.2.1";
        assert_eq!(caller("10.1.2.3", &["198.51.100.1, 203.0.113.9"], proxies), "203.0.113.9");
        assert_eq!(caller("10.1.2.3", &["198.51.100.1", "203.0.113.9, 192.0.2.1"], proxies), "203.0.113.9");
        assert_eq!(caller("::ffff:10.1.2.3", &["[2001:db8::5]:4711"], proxies), "2001:db8::");
        assert_eq!(caller("10.1.2.3", &["203.0.113.9:80"], proxies), "203.0.113.9");
    }

    #[test]
    fn a_proxy_that_does_not_tell_is_counted_itself() {
        assert_eq!(caller("10.1.2.3", &[], "10.0.0.0/8"), "10.1.2.3");
        assert_eq!(caller("10.1.2.3", &["203.0.113.9, unknown"], "10.0.0.0/8"), "10.1.2.3");
        assert_eq!(caller("10.1.2.3", &["10.9.9.9"], "10.0.0.0/8"), "10.9.9.9");
    }

    #[test]
    fn networks_are_shown_as_they_are_read() {
        let trusted = TrustedProxies::parse("10.0.0.0/8, 192.0.2.1,2001:db8::/32").expect("networks");
        assert_eq!(trusted.show(), "10.0.0.0/8,192.0.2.1/32,2001:db8::/32");
        assert_eq!(TrustedProxies::parse(&trusted.show()), Ok(trusted));
        assert!(TrustedProxies::parse("10.0.0.0/40").is_err());
        assert!(TrustedProxies::parse("proxy.example.org").is_err_and(|why| why.contains("proxy.example.org")));
    }
}
