//! The address that a request came from, as limits count it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of a request's caller, in the extensions of every HTTP and gRPC request at the clients' doors.
///
/// It is a key to count by, not an address to answer to: see [`CallerAddress::counted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallerAddress(pub(crate) IpAddr);

/// The part of an IPv6 address that names a network: a subscriber commonly gets a /64 and may use any address in it, so
/// counting whole addresses would count nothing.
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

impl CallerAddress {
    /// Who came in no way that tells where from; all of them are counted as one.
    pub(crate) const UNKNOWN: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// Returns what `address` is counted as: IPv4 addresses one by one (also those that a socket of both families shows
    /// as `::ffff:a.b.c.d`), IPv6 addresses by their /64.
    pub(crate) fn counted(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & IPV6_NETWORK).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(address: &str) -> String {
        CallerAddress::counted(address.parse().expect("an address")).0.to_string()
    }

    #[test]
    fn ipv6_is_counted_by_network_and_ipv4_by_address() {
        assert_eq!(counted("192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:2:ffff::1"), counted("2001:db8:1:2::"));
        assert_ne!(counted("2001:db8:1:3::1"), counted("2001:db8:1:2::1"));
    }
}
