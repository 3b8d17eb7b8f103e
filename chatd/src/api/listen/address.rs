//! Connections and bytes in flight that each address holds.

use super::places::StrangerQueue;
use crate::caller::CallerAddress;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Addresses that hold anything. Looked into when a connection is accepted, and for each request of a trusted proxy.
#[derive(Default)]
pub(super) struct AddressBook {
    shares: Mutex<HashMap<CallerAddress, Weak<AddressShare>>>,
}

/// Share of one address, which leaves the book with the last connection and request of the address.
pub(super) struct AddressShare {
    address: CallerAddress,
    book: Arc<AddressBook>,
    pub(super) connections: AtomicUsize,
    pub(super) strangers: AtomicUsize,
    pub(super) queue: Mutex<StrangerQueue>,
    pub(super) request_bytes: AtomicUsize,
    pub(super) answer_bytes: AtomicUsize,
}

impl AddressBook {
    /// Returns the share of an address.
    pub(super) fn share(self: &Arc<Self>, address: CallerAddress) -> Arc<AddressShare> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&address).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(AddressShare {
            address,
            book: Arc::clone(self),
            connections: AtomicUsize::new(0),
            strangers: AtomicUsize::new(0),
            queue: Mutex::default(),
            request_bytes: AtomicUsize::new(0),
            answer_bytes: AtomicUsize::new(0),
        });
        shares.insert(address, Arc::downgrade(&share));
        share
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for AddressShare {
    fn drop(&mut self) {
        let mut shares = self.book.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Another share may have taken this one's place in the book since its count dropped to zero.
        if shares.get(&self.address).is_some_and(|share| share.strong_count() == 0) {
            shares.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn an_address_is_forgotten_with_the_last_that_it_holds() {
        let book = Arc::new(AddressBook::default());
        let address = |last| CallerAddress::counted(IpAddr::from([192, 0, 2, last]));
        let (one, same, other) = (book.share(address(1)), book.share(address(1)), book.share(address(2)));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        drop((one, other));
        assert_eq!(book.len(), 1);
        drop(same);
        assert_eq!(book.len(), 0);
    }
}
