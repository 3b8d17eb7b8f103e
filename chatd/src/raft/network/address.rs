//! Where a peer is. Its configured name is the first thing to ask, but the name of a restarted pod is stale in DNS for
//! seconds (first the old address, then none), so the address that the peer's own requests come from is tried beside it,
//! and an address where another node answered is left out for a while.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// How long an address stays left out: longer than a stale name lives, short against a member that really moved there.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Two of them are asked per second at most, whatever the number of connection attempts.
const RESOLVED_FOR: Duration = Duration::from_millis(500);
/// A name has one or two addresses; more are not dialled, so that one attempt stays a few packets.
const DIALLED: usize = 4;

/// What is known of one peer's whereabouts. Pure: time comes from the caller.
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
    /// `configured` is `host:port`; an address without a port can only be learned wrong, so its port is 0.
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

    /// True at most once at a time and per [`RESOLVED_FOR`]; the caller then asks DNS and calls [`Self::resolved`].
    pub(super) fn should_resolve(&mut self, now: Instant) -> bool {
        let literal = self.configured.parse::<SocketAddr>().is_ok();
        let fresh = self.resolved_at.is_some_and(|at| now.duration_since(at) < RESOLVED_FOR);
        if literal || fresh || self.resolving {
            return false;
        }
        self.resolving = true;
        true
    }

    /// The name's addresses; none when DNS knows none (any more): the former ones are then as good a guess as any.
    pub(super) fn resolved(&mut self, addresses: Vec<SocketAddr>, now: Instant) {
        self.resolving = false;
        self.resolved_at = Some(now);
        if !addresses.is_empty() {
            self.resolved = addresses;
        }
    }

    /// A request of this peer came from there.
    pub(super) fn learn(&mut self, ip: IpAddr) {
        self.learned = Some(ip);
    }

    /// Another node answered there.
    pub(super) fn refuse(&mut self, address: SocketAddr, now: Instant) {
        self.refused.retain(|(_, at)| now.duration_since(*at) < REFUSED_FOR);
        // Bounded by what can be dialled in REFUSED_FOR; a handful in practice.
        if self.refused.len() < 64 {
            self.refused.push((address, now));
        }
    }

    /// The addresses to dial, all at once; the best guess first.
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
