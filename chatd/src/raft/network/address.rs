//! Addresses of a peer. The configured name is resolved first, but the name of a restarted pod is stale in DNS for
//! seconds (first the old address, then none). Therefore the address from which the peer's own requests come is tried
//! as well, and an address at which another node answered is skipped for a while.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Time for which an address is skipped: longer than a stale name lives, short compared with a member that really moves
/// there.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Time for which a DNS answer is used: at most two lookups per second, whatever the number of connection attempts.
const RESOLVED_FOR: Duration = Duration::from_millis(500);
/// Limit on the addresses dialled. A name has one or two; the limit keeps an attempt to a few packets.
const DIALLED: usize = 4;

/// Known addresses of one peer. Pure: the caller supplies the time.
#[derive(Debug)]
pub(super) struct AddressBook {
    configured: String,
    port: u16,
    resolved: Vec<SocketAddr>,
    resolved_at: Option<Instant>,
    resolving: bool,
    learned: Option<IpAddr>,
    refused: Vec<(SocketAddr, Instant)>,
}

impl AddressBook {
    /// Creates the address book. `configured` is `host:port`; without a port, the port is 0, and no learned address
    /// works.
    pub(super) fn new(configured: &str) -> Self {
        let port = configured.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
        Self {
            configured: configured.to_owned(),
            port,
            resolved: configured.parse().into_iter().collect(),
            resolved_at: None,
            resolving: false,
            learned: None,
            refused: Vec::new(),
        }
    }

    pub(super) fn configured(&self) -> &str {
        &self.configured
    }

    /// Returns `true` if the caller must resolve the name and call [`Self::resolved`]; at most once at a time, and once
    /// per [`RESOLVED_FOR`].
    pub(super) fn should_resolve(&mut self, now: Instant) -> bool {
        let literal = self.configured.parse::<SocketAddr>().is_ok();
        let fresh = self.resolved_at.is_some_and(|at| now.duration_since(at) < RESOLVED_FOR);
        if literal || fresh || self.resolving {
            return false;
        }
        self.resolving = true;
        true
    }

    /// Records the addresses of the name. If DNS knows none (any more), the former ones are kept, as they are as good a
    /// guess as any.
    pub(super) fn resolved(&mut self, addresses: Vec<SocketAddr>, now: Instant) {
        self.resolving = false;
        self.resolved_at = Some(now);
        if !addresses.is_empty() {
            self.resolved = addresses;
        }
    }

    /// Records the address from which a request of this peer came.
    pub(super) fn learn(&mut self, ip: IpAddr) {
        self.learned = Some(ip);
    }

    /// Records that another node answered at this address.
    pub(super) fn refuse(&mut self, address: SocketAddr, now: Instant) {
        self.refused.retain(|(_, at)| now.duration_since(*at) < REFUSED_FOR);
        // Bounded by what can be dialled in `REFUSED_FOR`; a handful in practice.
        if self.refused.len() < 64 {
            self.refused.push((address, now));
        }
    }

    /// Returns the addresses to dial, all at once; the best guess first.
    pub(super) fn candidates(&self, now: Instant) -> Vec<SocketAddr> {
        let learned = self.learned.map(|ip| SocketAddr::new(ip, self.port));
        let mut out: Vec<SocketAddr> = Vec::new();
        for address in learned.into_iter().chain(self.resolved.iter().copied()) {
            let refused = self.refused.iter().any(|(a, at)| *a == address && now.duration_since(*at) < REFUSED_FOR);
            if !refused && !out.contains(&address) {
                out.push(address);
            }
        }
        out.truncate(DIALLED);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_address_a_peer_was_seen_at_is_dialled_beside_its_stale_name() {
        let now = Instant::now();
        let mut book = AddressBook::new("team-0.team-peers:7401");
        assert!(book.candidates(now).is_empty());
        assert!(book.should_resolve(now));
        assert!(!book.should_resolve(now), "one lookup at a time");
        book.resolved(vec![at("10.0.0.1:7401")], now);
        assert!(!book.should_resolve(now), "it is fresh");
        book.learn(at("10.0.0.9:1").ip());
        assert_eq!(book.candidates(now), [at("10.0.0.9:7401"), at("10.0.0.1:7401")]);
    }

    #[test]
    fn an_address_where_another_node_answered_is_left_out_for_a_while() {
        let now = Instant::now();
        let mut book = AddressBook::new("10.0.0.1:7401");
        book.learn(at("10.0.0.9:1").ip());
        book.refuse(at("10.0.0.1:7401"), now);
        assert_eq!(book.candidates(now), [at("10.0.0.9:7401")]);
        let later = now + REFUSED_FOR;
        assert_eq!(book.candidates(later).len(), 2);
    }

    #[test]
    fn a_name_that_vanished_keeps_its_former_addresses() {
        let now = Instant::now();
        let mut book = AddressBook::new("team-0:7401");
        book.resolved(vec![at("10.0.0.1:7401")], now);
        book.resolved(Vec::new(), now);
        assert_eq!(book.candidates(now), [at("10.0.0.1:7401")]);
        assert!(!AddressBook::new("10.0.0.1:7401").should_resolve(now), "an address needs no lookup");
    }
}
