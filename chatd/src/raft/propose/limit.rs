//! Limit on the writes of one user: a token bucket per user, in the leader's memory.
//!
//! A new leader starts with full buckets, which allows one extra burst. A retry of an accepted transaction id is not a
//! new write: it passes an empty bucket, and its token is returned if the log reports a duplicate.

use quorate_core::proto::log::{Envelope, command::Kind};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Limit of `burst` writes per `per`, with up to `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Size of the bucket, in writes.
    pub burst: u32,
    /// Time in which an empty bucket fills.
    pub per: Duration,
}

/// Limit on the buckets kept, those of users who wrote within `per`. Beyond it the oldest are removed, which grants
/// their users an extra burst and costs them nothing.
const BUCKETS: usize = 100_000;

/// Size of the bucket of frequent writes, in buckets of other writes. With the default of 10 writes in 10 seconds, a
/// client can send 200 requests at once, each to dozens of devices: it shares the keys of the largest rooms in one go.
const FREQUENT: u32 = 20;

/// Number of receipts that a user may set for each write: people read more than they write, and mark many rooms as read
/// at once.
const RECEIPTS_PER_WRITE: u32 = 10;

/// Buckets, each stored as the time at which it will be full again: one number, and a full bucket is an absent one
/// (GCRA).
pub(crate) struct RateLimiter {
    limit: RateLimit,
    full_at: Mutex<HashMap<String, Instant>>,
}

impl RateLimiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { limit, full_at: Mutex::new(HashMap::new()) }
    }

    /// Returns the time in which one token is refilled.
    fn step(&self) -> Duration {
        self.limit.per / self.limit.burst.max(1)
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time until there is one.
    pub(crate) fn take(&self, user: &str, now: Instant) -> Result<(), Duration> {
        self.take_from(user, self.step(), now)
    }

    /// Takes a token from the user's bucket of frequent writes, which is [`FREQUENT`] times as large.
    ///
    /// # Errors
    /// The time until there is one.
    pub(crate) fn take_frequent(&self, user: &str, now: Instant) -> Result<(), Duration> {
        // No localpart contains a zero byte.
        self.take_from(&format!("{user}\0"), self.step() / FREQUENT, now)
    }

    /// Takes a token for a receipt.
    ///
    /// # Errors
    /// The time until there is one.
    pub(crate) fn take_for_receipt(&self, user: &str, now: Instant) -> Result<(), Duration> {
        // No localpart contains a space.
        self.take_from(&format!("{user} reads"), self.step() / RECEIPTS_PER_WRITE, now)
    }

    fn take_from(&self, bucket: &str, step: Duration, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets();
        let full_at = buckets.get(bucket).copied().unwrap_or(now).max(now);
        let after = full_at + step;
        let wait = (after - now).saturating_sub(self.limit.per);
        if !wait.is_zero() {
            return Err(wait);
        }
        if buckets.len() >= BUCKETS && !buckets.contains_key(bucket) {
            evict_buckets(&mut buckets, now);
        }
        buckets.insert(bucket.to_owned(), after);
        Ok(())
    }

    /// Returns a token to the bucket: the write turned out not to be one.
    pub(crate) fn give_back(&self, user: &str) {
        let step = self.step();
        if let Some(full_at) = self.buckets().get_mut(user) {
            *full_at = full_at.checked_sub(step).unwrap_or(*full_at);
        }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes full buckets first; if all are in use, the half that is nearest to full.
fn evict_buckets(buckets: &mut HashMap<String, Instant>, now: Instant) {
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() >= BUCKETS {
        let mut times: Vec<_> = buckets.values().copied().collect();
        let (_, median, _) = times.select_nth_unstable(BUCKETS / 2);
        let median = *median;
        buckets.retain(|_, full_at| *full_at > median);
    }
}

/// Returns `true` for writes of a user that count. Sessions do not: logins are limited by the API, logouts never.
pub(crate) fn is_limited(envelope: &Envelope) -> bool {
    let kind = envelope.command.as_ref().and_then(|command| command.kind.as_ref());
    let limited = match kind {
        Some(
            Kind::CreateRoom(_)
            | Kind::SetMembership(_)
            | Kind::SendEvent(_)
            | Kind::SetProfile(_)
            | Kind::PutFilter(_)
            | Kind::PutAccountData(_)
            | Kind::Redact(_)
            | Kind::CreateBackup(_)
            | Kind::UpdateBackup(_)
            | Kind::ChangeTag(_)
            | Kind::SetProfileField(_)
            | Kind::PutDeviceKeys(_)
            | Kind::PutSigningKeys(_)
            | Kind::PutSignatures(_)
            | Kind::SetAlias(_)
            | Kind::SetListed(_)
            | Kind::UpgradeRoom(_)
            | Kind::FileReport(_)
            | Kind::SetPusher(_)
            | Kind::NameDevice(_),
        ) => true,
        Some(
            Kind::Bootstrap(_)
            | Kind::Register(_)
            | Kind::OpenSession(_)
            | Kind::CloseSession(_)
            | Kind::ExtendSession(_)
            | Kind::PurgeHistory(_)
            | Kind::RepairTime(_)
            | Kind::SweepDevice(_)
            | Kind::RenewMembers(_)
            | Kind::RaiseLevel(_)
            | Kind::ChangePassword(_)
            | Kind::RemoveDevices(_)
            | Kind::Deactivate(_)
            | Kind::ContinueDeactivation(_)
            | Kind::KeepSigningKey(_)
            | Kind::AdvancePush(_)
            | Kind::RefreshSession(_)
            | Kind::ConfirmRefresh(_)
            | Kind::IssueLoginToken(_)
            | Kind::Administer(_)
            // Counted apart, see `is_frequent` and `is_receipt`.
            | Kind::SendToDevice(_)
            | Kind::ClaimKeys(_)
            | Kind::DeleteToDevice(_)
            | Kind::DeleteBackup(_)
            | Kind::PutBackupKeys(_)
            | Kind::DeleteBackupKeys(_)
            | Kind::SetReceipts(_),
        )
        | None => false,
    };
    limited && !envelope.user.is_empty()
}

/// Returns `true` for writes that take from the user's bucket of frequent writes: a client that claims keys for the
/// devices of a room, shares the keys of the room with them, or fills a backup makes dozens of them in a row. What follows
/// on the first part of a removal is not counted.
pub(crate) fn is_frequent(envelope: &Envelope) -> bool {
    let kind = envelope.command.as_ref().and_then(|command| command.kind.as_ref());
    match kind {
        Some(Kind::SendToDevice(_) | Kind::ClaimKeys(_) | Kind::PutBackupKeys(_)) => true,
        Some(Kind::DeleteBackup(removal)) => !removal.continues,
        Some(Kind::DeleteBackupKeys(removal)) => !removal.continues,
        _ => false,
    }
}

/// Returns `true` for commands that say what a user has read. They have a bucket of their own: clients send them without
/// being asked, and whoever reads must still be able to write.
pub(crate) fn is_receipt(envelope: &Envelope) -> bool {
    let kind = envelope.command.as_ref().and_then(|command| command.kind.as_ref());
    matches!(kind, Some(Kind::SetReceipts(_))) && !envelope.user.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::proto::log::{ClaimKeys, Command, NameDevice};

    const TEN_PER_TEN: RateLimit = RateLimit { burst: 10, per: Duration::from_secs(10) };

    #[test]
    fn a_burst_passes_then_one_per_step_and_the_wait_is_told() {
        let limiter = RateLimiter::new(TEN_PER_TEN);
        let start = Instant::now();
        for _ in 0..10 {
            limiter.take("a", start).expect("within the burst");
        }
        assert_eq!(limiter.take("a", start), Err(Duration::from_secs(1)));
        limiter.take("b", start).expect("another user has another bucket");
        let later = start + Duration::from_millis(400);
        assert_eq!(limiter.take("a", later), Err(Duration::from_millis(600)));
        limiter.take("a", start + Duration::from_secs(1)).expect("one came back");
        assert!(limiter.take("a", start + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn frequent_writes_have_a_larger_bucket_of_their_own() {
        let limiter = RateLimiter::new(TEN_PER_TEN);
        let start = Instant::now();
        for _ in 0..10 * FREQUENT {
            limiter.take_frequent("a", start).expect("within the burst");
        }
        assert_eq!(limiter.take_frequent("a", start), Err(Duration::from_secs(1) / FREQUENT));
        limiter.take("a", start).expect("other writes have another bucket");
    }

    #[test]
    fn names_of_devices_count_as_writes_and_claims_of_keys_as_frequent_ones() {
        let by_alice = |kind| {
            let command = Some(Command { kind: Some(kind) });
            Envelope { user: "alice".into(), command, ..Envelope::default() }
        };
        let name = by_alice(Kind::NameDevice(NameDevice::default()));
        let claim = by_alice(Kind::ClaimKeys(ClaimKeys::default()));
        assert!(is_limited(&name) && !is_frequent(&name));
        assert!(is_frequent(&claim) && !is_limited(&claim));
    }

    #[test]
    fn a_token_given_back_can_be_taken_again() {
        let limiter = RateLimiter::new(RateLimit { burst: 1, per: Duration::from_secs(1) });
        let now = Instant::now();
        limiter.take("a", now).expect("the first");
        limiter.give_back("a");
        limiter.take("a", now).expect("again");
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let limiter = RateLimiter::new(TEN_PER_TEN);
        let start = Instant::now();
        for user in 0..BUCKETS + 10 {
            limiter.take(&user.to_string(), start + Duration::from_micros(user as u64)).expect("the first");
        }
        assert!(limiter.buckets().len() <= BUCKETS);
    }
}
