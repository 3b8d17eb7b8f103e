//! Addresses from which accounts were recently logged in to.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Time for which a place is remembered: an address where somebody logs in less often than this is not a habit.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Number of shelves over which accounts are spread; with [`PLACES`] on each of them, 32,768 places take 512 KiB.
const SHELVES: usize = 4096;
const PLACES: usize = 8;

/// An address from which an account was logged in to.
#[derive(Clone, Copy, Default)]
struct KnownPlace {
    /// Hash of account and address; 0 marks an unused place.
    name: u64,
    /// Time of the last login, in milliseconds after `began`.
    used_at: u64,
}

/// Recently used pairs of account and address. Only somebody who knows an account's password can enter a pair. All
/// pairs of an account are on one shelf, so that somebody who enters many pairs for an account of their own evicts that
/// account's pairs; nobody can tell which other accounts share the shelf. An evicted pair counts as a stranger again,
/// which matters only while many addresses guess the account's password.
pub(super) struct KnownPlaces {
    shelf_seed: RandomState,
    name_seed: RandomState,
    began: Instant,
    places: Vec<KnownPlace>,
}

impl Default for KnownPlaces {
    fn default() -> Self {
        Self {
            shelf_seed: RandomState::new(),
            name_seed: RandomState::new(),
            began: Instant::now(),
            places: vec![KnownPlace::default(); SHELVES * PLACES],
        }
    }
}

impl KnownPlaces {
    pub(super) fn remember(&mut self, localpart: &str, address: IpAddr, now: Instant) {
        let name = self.name(localpart, address);
        let used_at = self.millis(now);
        let first = self.shelf(localpart);
        let Some(shelf) = self.places.get_mut(first..first + PLACES) else { return };
        // Only the pair's own place has the key 0, so that no pair gets two places.
        let oldest = shelf.iter_mut().min_by_key(|place| if place.name == name { 0 } else { place.used_at.max(1) });
        if let Some(place) = oldest {
            *place = KnownPlace { name, used_at };
        }
    }

    pub(super) fn contains(&self, localpart: &str, address: IpAddr, now: Instant) -> bool {
        let name = self.name(localpart, address);
        let now = self.millis(now);
        let first = self.shelf(localpart);
        let shelf = self.places.get(first..first + PLACES).unwrap_or_default();
        let recent = now.saturating_sub(super::session::saturating_millis(REMEMBERED));
        shelf.iter().any(|place| place.name == name && place.used_at >= recent)
    }

    fn name(&self, localpart: &str, address: IpAddr) -> u64 {
        // 0 marks an unused place.
        self.name_seed.hash_one((localpart, address)).max(1)
    }

    fn shelf(&self, localpart: &str) -> usize {
        usize::try_from(self.shelf_seed.hash_one(localpart) % SHELVES as u64).unwrap_or_default() * PLACES
    }

    fn millis(&self, now: Instant) -> u64 {
        super::session::saturating_millis(now.saturating_duration_since(self.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn a_place_is_known_for_its_account_and_for_a_month() {
        let (mut places, now) = (KnownPlaces::default(), Instant::now());
        places.remember("alice", address(1), now);
        assert!(places.contains("alice", address(1), now + REMEMBERED - Duration::from_secs(1)));
        assert!(!places.contains("alice", address(1), now + REMEMBERED + Duration::from_secs(1)));
        assert!(!places.contains("alice", address(2), now));
        assert!(!places.contains("bob", address(1), now));
    }

    #[test]
    fn one_account_pushes_out_only_its_own_oldest_places() {
        let (mut places, now) = (KnownPlaces::default(), Instant::now());
        let owner = (0..).map(|n| format!("owner{n}")).find(|name| places.shelf(name) != places.shelf("mallory"));
        let owner = owner.unwrap();
        places.remember(&owner, address(1), now);
        for n in 0..100 {
            places.remember("mallory", address(n), now + Duration::from_secs(u64::from(n) + 1));
        }
        assert!(places.contains(&owner, address(1), now));
        assert!(places.contains("mallory", address(99), now) && !places.contains("mallory", address(90), now));
    }
}
