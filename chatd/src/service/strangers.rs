//! Limits on what one address may do without a session on this pod, besides logging in: register accounts, and read what
//! is open to all. The leader counts the accounts of all pods; what is counted here keeps a pod from hashing passwords
//! for accounts that the leader would refuse.

use super::rate_sketch::{BurstRate, RateSketch};
use super::{ChatService, RefusalCode, RequestRefusal};
use crate::raft::propose::limit::LONG_PERIOD;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rate of reads from one address: a login page looks up a name with each key that is pressed, for each person behind
/// the address.
const READS: BurstRate = BurstRate { burst: 200, every: Duration::from_millis(50) };

/// Counts of what callers without a session do, by address.
pub(super) struct StrangerLimit {
    /// Counts; `None` if the configuration wants no limit.
    counts: Option<Mutex<StrangerCounts>>,
}

struct StrangerCounts {
    registrations: RateSketch,
    reads: RateSketch,
}

impl StrangerLimit {
    /// Creates the limits; `registrations` is the number of accounts for one address in [`LONG_PERIOD`].
    pub(super) fn new(limited: bool, registrations: u32) -> Self {
        let rate = BurstRate { burst: registrations, every: LONG_PERIOD / registrations.max(1) };
        let counts = || StrangerCounts { registrations: RateSketch::new(rate), reads: RateSketch::new(READS) };
        Self { counts: limited.then(|| Mutex::new(counts())) }
    }

    fn with<T>(&self, ask: impl FnOnce(&mut StrangerCounts) -> T) -> Option<T> {
        let counts = self.counts.as_ref()?;
        Some(ask(&mut counts.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Counts an account that is about to be registered.
    ///
    /// # Errors
    /// The time that the address has to wait.
    pub(super) fn register(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.with(|counts| counts.registrations.take(&address, now)).unwrap_or(Ok(()))
    }

    /// Takes back the count of an account that was not registered through no fault of the caller.
    pub(super) fn not_registered(&self, address: IpAddr) {
        let _ = self.with(|counts| counts.registrations.give_back(&address));
    }

    fn read(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.with(|counts| counts.reads.take(&address, now)).unwrap_or(Ok(()))
    }
}

impl ChatService {
    /// Admits a caller without a session to read something that is open to all, within its address's share.
    ///
    /// # Errors
    /// [`RefusalCode::LimitExceeded`] if the address has used up its share.
    pub fn admit_stranger(&self, address: IpAddr) -> Result<(), RequestRefusal> {
        self.inner.strangers.read(address, Instant::now()).map_err(|wait| {
            self.inner.parts.metrics.login_refused("read");
            let message = "too many requests without a session from your address; wait a moment";
            RequestRefusal::new(RefusalCode::LimitExceeded, message).after(wait)
        })
    }

    pub(super) fn admit_registration(&self, address: IpAddr) -> Result<(), RequestRefusal> {
        self.inner.strangers.register(address, Instant::now()).map_err(|wait| {
            self.inner.parts.metrics.login_refused("registration");
            let seconds = wait.as_secs().saturating_add(1);
            let message = format!("too many accounts were created from your address; wait {seconds} s");
            RequestRefusal::new(RefusalCode::LimitExceeded, message).after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn accounts_and_reads_of_one_address_are_limited_and_others_are_not() {
        let (limit, now) = (StrangerLimit::new(true, 60), Instant::now());
        let (one, other) = (Ipv4Addr::from_bits(1).into(), Ipv4Addr::from_bits(2).into());
        let made = (0..100).filter(|_| limit.register(one, now).is_ok()).count();
        let read = (0..1000).filter(|_| limit.read(one, now).is_ok()).count();
        assert_eq!((made, read), (60, READS.burst as usize));
        assert!(limit.register(one, now).unwrap_err() <= Duration::from_secs(10));
        assert!(limit.register(other, now).is_ok() && limit.read(other, now).is_ok());
        limit.not_registered(one);
        assert!(limit.register(one, now).is_ok());
    }

    #[test]
    fn without_limits_nobody_waits() {
        let (limit, now) = (StrangerLimit::new(false, 60), Instant::now());
        assert!((0..1000).all(|_| limit.register(Ipv4Addr::LOCALHOST.into(), now).is_ok()));
    }
}
