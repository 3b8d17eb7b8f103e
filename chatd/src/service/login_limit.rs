//! Limits on password guessing. The counts are kept in memory, because a restart gives a guesser little: on this pod, which
//! refuses whoever has guessed enough here at no further cost, and on the leader, which counts for all pods (see
//! [`guesses`](super::guesses)).
//!
//! Only wrong passwords count: an attempt is charged when its password is about to be verified, and gets the charge
//! back if the password was right. So neither an outage nor an owner with many programs leads to refusals, and a
//! guesser with many connections guesses no more often than one with a single connection. A guesser must not lock out
//! the owner, so attempts are counted in different places, and the first place that has room takes the attempt:
//!
//! - A login that names a device of the account is counted for that device alone: nobody who does not know the device's
//!   id can use the count up. Users are shown the ids of devices with encryption keys, so that one of them may; the owner
//!   is then counted in the other places.
//! - A login from an address where the account was recently logged in to is counted for the pair of address and
//!   account.
//! - Any other login is counted for the pair of address and account, for the address, and for the account; the latter
//!   two more loosely, as many people may share an address, and an account's owner may be at any address.
//!
//! An owner's success gives back its own charge and nothing else.

use super::known_places::KnownPlaces;
use super::rate_sketch::{BurstRate, RateSketch};
use super::{RefusalCode, RequestRefusal};
use crate::raft::propose::limit::{GUESSES_OF_ACCOUNT, GUESSES_OF_ADDRESS, GUESSES_OF_PAIR, GuessRate};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Rates of wrong passwords on this pod: those of the leader, as one pod may take all requests.
const PER_PAIR: BurstRate = rate_of(GUESSES_OF_PAIR);
const PER_ADDRESS: BurstRate = rate_of(GUESSES_OF_ADDRESS);
const PER_ACCOUNT: BurstRate = rate_of(GUESSES_OF_ACCOUNT);

const fn rate_of(GuessRate { burst, every }: GuessRate) -> BurstRate {
    BurstRate { burst, every }
}

/// A login attempt as the limits see it.
#[derive(Clone, Debug)]
pub(super) struct LoginAttempt {
    pub(super) address: IpAddr,
    pub(super) localpart: String,
    /// Device of the account that the login would continue to use; empty for a new one.
    pub(super) known_device: String,
}

/// Place where an attempt was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountedAs {
    Device,
    KnownPlace,
    Stranger,
}

/// Too many wrong passwords were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyGuesses {
    /// Name of the count that was full, for the metrics.
    pub(super) count: &'static str,
    pub(super) wait: Duration,
}

/// Counts of wrong passwords: by device, by address, by account and by pairs of them.
#[derive(Default)]
pub(super) struct LoginLimit {
    counts: Mutex<GuessCounts>,
}

struct GuessCounts {
    devices: RateSketch,
    pairs: RateSketch,
    addresses: RateSketch,
    accounts: RateSketch,
    places: KnownPlaces,
}

impl Default for GuessCounts {
    fn default() -> Self {
        Self {
            devices: RateSketch::new(PER_PAIR),
            pairs: RateSketch::new(PER_PAIR),
            addresses: RateSketch::new(PER_ADDRESS),
            accounts: RateSketch::new(PER_ACCOUNT),
            places: KnownPlaces::default(),
        }
    }
}

impl LoginLimit {
    /// Checks that an attempt would be let in, without counting it.
    pub(super) fn check(&self, attempt: &LoginAttempt, now: Instant) -> Result<(), TooManyGuesses> {
        self.counts().place_of(attempt, now).map(drop)
    }

    /// Returns `true` if the account was recently logged in to from the address.
    pub(super) fn is_known_place(&self, localpart: &str, address: IpAddr, now: Instant) -> bool {
        self.counts().places.contains(localpart, address, now)
    }

    /// Counts an attempt as a wrong password; [`LoginLimit::was_right`] takes it back.
    pub(super) fn count(&self, attempt: &LoginAttempt, now: Instant) -> Result<CountedAs, TooManyGuesses> {
        let mut counts = self.counts();
        // Under the lock of the charge below: of many attempts at once, only as many pass as there is room for.
        let counted = counts.place_of(attempt, now)?;
        let LoginAttempt { address, localpart, known_device } = attempt;
        match counted {
            CountedAs::Device => counts.devices.charge(&(localpart, known_device), now),
            CountedAs::KnownPlace => counts.pairs.charge(&(address, localpart), now),
            CountedAs::Stranger => {
                counts.pairs.charge(&(address, localpart), now);
                counts.addresses.charge(address, now);
                counts.accounts.charge(localpart, now);
            }
        }
        Ok(counted)
    }

    /// Takes back a counted attempt whose password was right, and remembers its address.
    pub(super) fn was_right(&self, attempt: &LoginAttempt, counted: CountedAs, now: Instant) {
        let mut counts = self.counts();
        let LoginAttempt { address, localpart, known_device } = attempt;
        match counted {
            CountedAs::Device => counts.devices.give_back(&(localpart, known_device)),
            CountedAs::KnownPlace => counts.pairs.give_back(&(address, localpart)),
            CountedAs::Stranger => {
                counts.pairs.give_back(&(address, localpart));
                counts.addresses.give_back(address);
                counts.accounts.give_back(localpart);
            }
        }
        // Only here and at registration: a guesser cannot make an address known.
        counts.places.remember(localpart, *address, now);
    }

    /// Remembers the address from which the account was registered.
    pub(super) fn was_made(&self, localpart: &str, address: IpAddr, now: Instant) {
        self.counts().places.remember(localpart, address, now);
    }

    fn counts(&self) -> MutexGuard<'_, GuessCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GuessCounts {
    /// Finds the first place that has room for the attempt. Otherwise returns the full count with the longest wait.
    fn place_of(&self, attempt: &LoginAttempt, now: Instant) -> Result<CountedAs, TooManyGuesses> {
        let LoginAttempt { address, localpart, known_device } = attempt;
        // First: no count that others can fill stands before an owner with a device.
        if !known_device.is_empty() && self.devices.wait(&(localpart, known_device), now).is_zero() {
            return Ok(CountedAs::Device);
        }
        let pair = TooManyGuesses { count: "pair", wait: self.pairs.wait(&(address, localpart), now) };
        let known_place = self.places.contains(localpart, *address, now);
        let (counted, limits) = if known_place {
            // Neither the others behind this address nor guessers elsewhere keep the owner out.
            (CountedAs::KnownPlace, vec![pair])
        } else {
            let address = TooManyGuesses { count: "address", wait: self.addresses.wait(address, now) };
            let account = TooManyGuesses { count: "account", wait: self.accounts.wait(localpart, now) };
            (CountedAs::Stranger, vec![pair, address, account])
        };
        // After the longest wait none of the counts is full, so the caller is told the truth.
        match limits.into_iter().max_by_key(|limit| limit.wait).filter(|limit| !limit.wait.is_zero()) {
            Some(limit) => Err(limit),
            None => Ok(counted),
        }
    }
}

impl From<TooManyGuesses> for RequestRefusal {
    fn from(TooManyGuesses { count, wait }: TooManyGuesses) -> Self {
        let seconds = wait.as_secs().saturating_add(1);
        let what = match count {
            "address" => "from your address; log in with your device id",
            "account" => "for this account from new addresses; log in from where you did before or with your device id",
            _ => "for this account from your address; log in with your device id",
        };
        RequestRefusal::new(RefusalCode::LimitExceeded, format!("too many wrong passwords {what}, or wait {seconds} s"))
            .after(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn attempt(address: u32, localpart: &str, device: &str) -> LoginAttempt {
        let address = Ipv4Addr::from_bits(address).into();
        LoginAttempt { address, localpart: localpart.into(), known_device: device.into() }
    }

    /// Returns how many wrong passwords are let in within 30 seconds if somebody tries all the time.
    fn guesses(limit: &LoginLimit, attempt: &LoginAttempt, start: Instant) -> usize {
        (0..3000).filter(|n| limit.count(attempt, start + Duration::from_millis(n * 10)).is_ok()).count()
    }

    fn log_in(limit: &LoginLimit, attempt: &LoginAttempt, now: Instant) -> Result<CountedAs, TooManyGuesses> {
        let counted = limit.count(attempt, now)?;
        limit.was_right(attempt, counted, now);
        Ok(counted)
    }

    #[test]
    fn wrong_passwords_lock_out_who_gives_them_and_not_the_owner_elsewhere() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        let (guesser, owner) = (attempt(1, "alice", ""), attempt(2, "alice", ""));
        assert_eq!(guesses(&limit, &guesser, now), 13 - 1, "ten, and one after each 10 s before the 30th");
        let refused = limit.check(&guesser, now + Duration::from_secs(29)).unwrap_err();
        assert_eq!(refused.count, "pair");
        assert!(RequestRefusal::from(refused).retry_after.is_some());
        assert_eq!(log_in(&limit, &owner, now + Duration::from_secs(29)), Ok(CountedAs::Stranger));
        assert!(limit.check(&attempt(1, "bob", ""), now).is_ok(), "another account");
    }

    #[test]
    fn the_owners_success_gives_a_guesser_nothing() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        let (guesser, owner) = (attempt(1, "alice", ""), attempt(1, "alice", "PHONE"));
        let mut guessed = 0;
        for n in 0..3000 {
            let now = now + Duration::from_millis(n * 10);
            guessed += usize::from(limit.count(&guesser, now).is_ok());
            if n % 10 == 0 {
                assert_eq!(log_in(&limit, &owner, now), Ok(CountedAs::Device), "a known device is let in");
            }
        }
        assert_eq!(guessed, 13 - 1);
    }

    #[test]
    fn a_known_address_is_let_in_while_many_addresses_guess() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        let (home, elsewhere) = (attempt(1, "alice", ""), attempt(2, "alice", ""));
        log_in(&limit, &home, now).unwrap();
        let guessed: usize = (10..100).map(|address| guesses(&limit, &attempt(address, "alice", ""), now)).sum();
        let bound = PER_ACCOUNT.burst as usize + 15;
        assert!(guessed <= bound, "{guessed} guesses together, {bound} are meant");
        let later = now + Duration::from_secs(30) - Duration::from_millis(10);
        assert_eq!(limit.check(&elsewhere, later).unwrap_err().count, "account");
        assert_eq!(log_in(&limit, &home, later), Ok(CountedAs::KnownPlace));
    }

    #[test]
    fn one_address_cannot_try_a_password_at_all_accounts() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        let tried = (0..1000).filter(|n| limit.count(&attempt(1, &format!("user{n}"), ""), now).is_ok()).count();
        assert_eq!(tried, PER_ADDRESS.burst as usize);
        assert!(limit.check(&attempt(2, "user999", ""), now).is_ok());
    }

    #[test]
    fn ten_thousand_random_names_keep_nobody_out() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        // A hundred addresses, each of which guesses as often as it may.
        for n in 0..10_000 {
            limit.count(&attempt(n / 100, &format!("random{n}"), ""), now).unwrap();
        }
        let kept_out = (0..1000).filter(|n| limit.check(&attempt(1 << 20, &format!("user{n}"), ""), now).is_err());
        assert_eq!(kept_out.count(), 0);
    }

    #[test]
    fn right_passwords_are_never_too_many() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        for _ in 0..1000 {
            log_in(&limit, &attempt(1, "alice", ""), now).unwrap();
        }
    }
}
