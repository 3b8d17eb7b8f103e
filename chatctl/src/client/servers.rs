//! Servers that a client knows, and the choice of the next one.

use super::{ClientOptions, PooledServer};
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicUsize, Ordering},
};
use thiserror::Error;

/// Maximum number of servers that a client keeps: a cluster has a handful of voters and some learners, and a list
/// beyond this is a fault.
const MOST: usize = 256;

/// Prefix of the address of a server that uses TLS.
pub(crate) const TLS_SCHEME: &str = "https://";

/// Error for an address that is neither `host:port` nor `https://host:port`.
#[derive(Debug, Error)]
#[error(
    "`{address}` is not a server address: use host:port, as in chat.example.org:7400, or https://host:port if the \
     server uses TLS"
)]
pub struct InvalidAddress {
    /// Address as it was given.
    pub address: String,
}

/// Servers of one cluster, in the order in which they were named.
#[derive(Debug)]
pub struct ServerPool {
    slots: RwLock<Vec<Arc<PooledServer>>>,
    /// Index of the server that answered last; calls stay with it, because its connection is warm.
    preferred: AtomicUsize,
    options: ClientOptions,
}

impl ServerPool {
    pub(super) fn new(addresses: &[String], options: &ClientOptions) -> Result<Self, InvalidAddress> {
        let slots = addresses.iter().map(|address| parse_server(address, options)).collect::<Result<Vec<_>, _>>()?;
        let options = options.clone();
        Ok(Self { slots: RwLock::new(slots), preferred: AtomicUsize::new(0), options })
    }

    /// Returns all servers, the named ones first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<PooledServer>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of servers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns `true` if there are no servers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a server that the cluster listed, and returns `true` if it was new. An invalid address is not added.
    pub fn learn(&self, address: &str) -> bool {
        let Ok(learned) = parse_server(address, &self.options) else { return false };
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = slots.len() < MOST && slots.iter().all(|slot| slot.address() != learned.address());
        if is_new {
            slots.push(learned);
        }
        is_new
    }

    /// Picks the server for the next attempt: from the preferred one on, the first that is neither held off nor
    /// `avoid`; if all are held off, the one whose hold-off ends soonest; `avoid` only if there is no other. Returns
    /// `None` if no server is known.
    #[must_use]
    pub fn pick(&self, avoid: Option<&str>) -> Option<Arc<PooledServer>> {
        let mut slots = self.all();
        let count = slots.len();
        slots.rotate_left(self.preferred.load(Ordering::Relaxed).checked_rem(count)?);
        let others: Vec<_> = slots.iter().filter(|slot| Some(slot.address()) != avoid).collect();
        let free = others.iter().find(|slot| slot.held_until().is_none());
        let soonest = || others.iter().min_by_key(|slot| slot.held_until());
        free.or_else(soonest).copied().or(slots.first()).cloned()
    }

    /// Makes the server of this index (modulo the number of servers) the preferred one.
    pub fn prefer(&self, index: usize) {
        self.preferred.store(index, Ordering::Relaxed);
    }

    pub(crate) fn succeeded(&self, slot: &PooledServer) {
        slot.succeeded();
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = slots.iter().position(|other| other.address() == slot.address()) {
            self.preferred.store(index, Ordering::Relaxed);
        }
    }
}

fn parse_server(address: &str, options: &ClientOptions) -> Result<Arc<PooledServer>, InvalidAddress> {
    let invalid = || InvalidAddress { address: address.to_owned() };
    let bare = match &options.trust {
        // All servers are addressed in one way: either every listener of a cluster has a certificate, or none has.
        Some(_) => address.strip_prefix(TLS_SCHEME).unwrap_or(address),
        None => address,
    };
    let (host, port) = bare.rsplit_once(':').ok_or_else(invalid)?;
    // The address becomes part of a URI, in which these characters would begin another part.
    let plain = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    if !plain || port.parse::<u16>().is_err() {
        return Err(invalid());
    }
    let named = if options.trust.is_some() { format!("{TLS_SCHEME}{bare}") } else { bare.to_owned() };
    PooledServer::new(&named, options).map(Arc::new).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(addresses: &[&str]) -> ServerPool {
        let addresses: Vec<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
        ServerPool::new(&addresses, &ClientOptions::default()).unwrap()
    }

    fn picked(servers: &ServerPool, avoid: Option<&str>) -> String {
        servers.pick(avoid).unwrap().address().to_owned()
    }

    #[test]
    fn a_failed_server_is_passed_over_until_all_have_failed() {
        let servers = servers(&["a:1", "b:1", "c:1"]);
        assert_eq!(picked(&servers, None), "a:1");
        servers.all()[0].hold_off();
        assert_eq!(picked(&servers, None), "b:1");
        assert_eq!(picked(&servers, Some("b:1")), "c:1");
        servers.all()[1].hold_off();
        servers.all()[2].hold_off();
        assert!(["a:1", "b:1", "c:1"].contains(&picked(&servers, None).as_str()));
    }

    #[test]
    fn calls_stay_with_the_server_that_answered() {
        let servers = servers(&["a:1", "b:1", "c:1"]);
        servers.succeeded(&servers.all()[2]);
        assert_eq!(picked(&servers, None), "c:1");
        assert_eq!(picked(&servers, Some("c:1")), "a:1");
    }

    #[test]
    fn a_lone_server_is_tried_again_although_it_failed() {
        let servers = servers(&["a:1"]);
        assert_eq!(picked(&servers, Some("a:1")), "a:1");
        assert!(ServerPool::new(&[], &ClientOptions::default()).unwrap().pick(None).is_none());
    }

    #[test]
    fn learned_servers_are_added_once_and_nonsense_is_not() {
        let servers = servers(&["a:1"]);
        assert!(servers.learn("b:7400"));
        assert!(!servers.learn("b:7400"));
        assert!(!servers.learn("no port"));
        assert_eq!(servers.len(), 2);
    }

    #[test]
    fn an_address_without_port_or_with_a_scheme_is_refused_by_name() {
        for address in ["host", "http://a:1", "a:99999", ":7400", "a:"] {
            let error = ServerPool::new(&[address.to_owned()], &ClientOptions::default()).unwrap_err();
            assert!(error.to_string().contains(address), "{address}");
        }
        assert!(ServerPool::new(&["[::1]:7400".to_owned()], &ClientOptions::default()).is_ok());
    }
}
