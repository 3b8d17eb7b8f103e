//! Limits on the writes of one user or address, and on wrong passwords: token buckets in the leader's memory, so that
//! all pods and both APIs count together.
//!
//! Each class of commands has buckets of its own: what a client does without being asked, such as telling what was read,
//! keeps nobody from writing. A new leader starts with full buckets, which allows one extra burst. A retry of an accepted
//! transaction id is not a new write: it passes an empty bucket, and its token is returned if the log reports a
//! duplicate.

use quorate_core::proto::log::{Envelope, GuessCount, GuessPlace, command::Kind};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Class of commands that share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitClass {
    /// Messages and redactions.
    Messages,
    /// Rooms, their state and memberships.
    State,
    /// Things that a user keeps on the server: account data, tags, filters, profile, pushers, names of devices; and reports.
    Account,
    /// Receipts and read markers.
    Receipts,
    /// Keys, signatures, key backups and messages to devices.
    Keys,
    /// Sessions that are opened.
    Logins,
    /// Accounts that are registered.
    Registrations,
    /// Wrong passwords.
    Guesses,
}

impl LimitClass {
    /// All classes, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::Messages,
        Self::State,
        Self::Account,
        Self::Receipts,
        Self::Keys,
        Self::Logins,
        Self::Registrations,
        Self::Guesses,
    ];

    /// Returns the label that is used in the metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::State => "state",
            Self::Account => "account",
            Self::Receipts => "receipts",
            Self::Keys => "keys",
            Self::Logins => "logins",
            Self::Registrations => "registrations",
            Self::Guesses => "guesses",
        }
    }
}

/// Limit of `burst` commands per `per`, with up to `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Size of the bucket, in commands.
    pub burst: u32,
    /// Time in which an empty bucket fills.
    pub per: Duration,
}

/// Limits of the classes that the configuration sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    pub messages: RateLimit,
    pub state: RateLimit,
    pub account: RateLimit,
    pub receipts: RateLimit,
    pub keys: RateLimit,
    pub logins: RateLimit,
    pub registrations: RateLimit,
}

/// Number of changes to rooms for each message in the bucket of messages: with 10 messages in 10 seconds, a room gets twenty
/// invitations and settings at once.
pub const STATE_PER_MESSAGE: u32 = 2;
/// Number of changes to account data and the like for each message: a first login writes a dozen or two pieces of account
/// data, a filter, push rules and a pusher at once.
pub const ACCOUNT_PER_MESSAGE: u32 = 5;
/// Number of receipts for each message: people read more than they write, and mark many rooms as read at once.
pub const RECEIPTS_PER_MESSAGE: u32 = 10;
/// Number of requests about encryption for each message: a client can send 200 requests at once, each to dozens of devices.
/// So it claims keys for the devices of the largest rooms, shares the keys of the room with them, or fills a backup, in
/// one go.
pub const KEYS_PER_MESSAGE: u32 = 20;
/// Default number of sessions that are opened for one account in [`LONG_PERIOD`]: a script that logs in for each of its
/// steps, but not one that does so in a loop.
pub const LOGINS: u32 = 100;
/// Default number of accounts that are registered from one address in [`LONG_PERIOD`]: a school class on its first day,
/// then as many as the largest public Matrix servers allow (8,640 a day). Accounts stay for ever.
pub const REGISTRATIONS: u32 = 60;
/// Period of the limits on logins and registrations, which are rarer than writes.
pub const LONG_PERIOD: Duration = Duration::from_secs(600);

impl RateLimits {
    /// Returns the default limits for a limit on messages.
    #[must_use]
    pub fn of_messages(messages: RateLimit) -> Self {
        let times = |factor: u32| RateLimit { burst: messages.burst.saturating_mul(factor), per: messages.per };
        Self {
            messages,
            state: times(STATE_PER_MESSAGE),
            account: times(ACCOUNT_PER_MESSAGE),
            receipts: times(RECEIPTS_PER_MESSAGE),
            keys: times(KEYS_PER_MESSAGE),
            logins: RateLimit { burst: LOGINS, per: LONG_PERIOD },
            registrations: RateLimit { burst: REGISTRATIONS, per: LONG_PERIOD },
        }
    }
}

/// Rate of wrong passwords: `burst` at once, and one more after each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuessRate {
    pub(crate) burst: u32,
    pub(crate) every: Duration,
}

/// Rate of wrong passwords for one account from one address, or with one device's id. People mistype, and programs with
/// a stale password retry a few times; after that a guesser has 8,640 guesses a day, nothing against a decent password.
pub(crate) const GUESSES_OF_PAIR: GuessRate = GuessRate { burst: 10, every: Duration::from_secs(10) };
/// Rate of wrong passwords from one address: an office behind one address may mistype thirty times a minute.
pub(crate) const GUESSES_OF_ADDRESS: GuessRate = GuessRate { burst: 100, every: Duration::from_secs(2) };
/// Rate of wrong passwords for one account from addresses where it was not recently logged in to: five addresses that
/// guess together, each as fast as it may. The owner at a new address, without a device, waits with them.
pub(crate) const GUESSES_OF_ACCOUNT: GuessRate = GuessRate { burst: 100, every: Duration::from_secs(2) };

impl From<GuessRate> for RateLimit {
    fn from(GuessRate { burst, every }: GuessRate) -> Self {
        Self { burst, per: every.saturating_mul(burst) }
    }
}

/// Limit on the buckets kept, those of users who wrote within `per`. Beyond it the oldest are removed, which grants
/// their users an extra burst and costs them nothing.
const BUCKETS: usize = 100_000;

/// Bucket that a command takes a token from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LimitBucket {
    pub(crate) class: LimitClass,
    /// Localpart of the user, or address, whose bucket it is; for wrong passwords what they are counted by.
    owner: String,
}

/// Buckets, each stored as the time at which it will be full again: one number, and a full bucket is an absent one
/// (GCRA).
pub(crate) struct RateLimiter {
    /// Limits from the configuration; `None` if only wrong passwords are limited.
    limits: Option<RateLimits>,
    full_at: Mutex<HashMap<LimitBucket, Instant>>,
}

impl RateLimiter {
    pub(crate) fn new(limits: Option<RateLimits>) -> Self {
        Self { limits, full_at: Mutex::new(HashMap::new()) }
    }

    /// Returns the limit of a class that the configuration sets; `None` if there is none.
    fn limit_of(&self, class: LimitClass) -> Option<RateLimit> {
        let limits = self.limits.as_ref()?;
        match class {
            LimitClass::Messages => Some(limits.messages),
            LimitClass::State => Some(limits.state),
            LimitClass::Account => Some(limits.account),
            LimitClass::Receipts => Some(limits.receipts),
            LimitClass::Keys => Some(limits.keys),
            LimitClass::Logins => Some(limits.logins),
            LimitClass::Registrations => Some(limits.registrations),
            // Each place has a rate of its own, see `guess_buckets`.
            LimitClass::Guesses => None,
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time until there is one.
    pub(crate) fn take(&self, bucket: &LimitBucket, now: Instant) -> Result<(), Duration> {
        match self.limit_of(bucket.class) {
            Some(limit) => self.take_all(&[(bucket.clone(), limit)], now),
            None => Ok(()),
        }
    }

    /// Counts a wrong password in all buckets of its place, or in none.
    ///
    /// # Errors
    /// The time until all of them have room.
    pub(crate) fn guess(&self, count: &GuessCount, now: Instant) -> Result<(), Duration> {
        self.take_all(&guess_buckets(count), now)
    }

    /// Takes back a wrong password that was none.
    pub(crate) fn give_guess_back(&self, count: &GuessCount) {
        let mut buckets = self.buckets();
        for (bucket, limit) in guess_buckets(count) {
            put_back(&mut buckets, &bucket, limit);
        }
    }

    fn take_all(&self, wanted: &[(LimitBucket, RateLimit)], now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets();
        let mut after = Vec::with_capacity(wanted.len());
        let mut longest = Duration::ZERO;
        for (bucket, limit) in wanted {
            let full_at = buckets.get(bucket).copied().unwrap_or(now).max(now) + step(*limit);
            longest = longest.max((full_at - now).saturating_sub(limit.per));
            after.push((bucket, full_at));
        }
        if !longest.is_zero() {
            return Err(longest);
        }
        for (bucket, full_at) in after {
            if buckets.len() >= BUCKETS && !buckets.contains_key(bucket) {
                evict_buckets(&mut buckets, now);
            }
            buckets.insert(bucket.clone(), full_at);
        }
        Ok(())
    }

    /// Returns a token to its bucket: the write turned out not to be one.
    pub(crate) fn give_back(&self, bucket: &LimitBucket) {
        if let Some(limit) = self.limit_of(bucket.class) {
            put_back(&mut self.buckets(), bucket, limit);
        }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<LimitBucket, Instant>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the time in which one token is refilled.
fn step(limit: RateLimit) -> Duration {
    limit.per / limit.burst.max(1)
}

fn put_back(buckets: &mut HashMap<LimitBucket, Instant>, bucket: &LimitBucket, limit: RateLimit) {
    if let Some(full_at) = buckets.get_mut(bucket) {
        *full_at = full_at.checked_sub(step(limit)).unwrap_or(*full_at);
    }
}

/// Removes full buckets first; if all are in use, the half that is nearest to full.
fn evict_buckets(buckets: &mut HashMap<LimitBucket, Instant>, now: Instant) {
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() >= BUCKETS {
        let mut times: Vec<_> = buckets.values().copied().collect();
        let (_, median, _) = times.select_nth_unstable(BUCKETS / 2);
        let median = *median;
        buckets.retain(|_, full_at| *full_at > median);
    }
}

/// Returns the buckets in which a wrong password is counted. No localpart and no address contains a space, so that what
/// a caller chose cannot name another bucket; the id of a device comes last.
fn guess_buckets(count: &GuessCount) -> Vec<(LimitBucket, RateLimit)> {
    let GuessCount { address, localpart, device_id, .. } = count;
    let bucket = |owner: String, rate: GuessRate| {
        let limit = RateLimit::from(rate);
        (LimitBucket { class: LimitClass::Guesses, owner }, limit)
    };
    let pair = || bucket(format!("pair {address} {localpart}"), GUESSES_OF_PAIR);
    match count.place() {
        GuessPlace::Device => vec![bucket(format!("device {localpart} {device_id}"), GUESSES_OF_PAIR)],
        GuessPlace::Known => vec![pair()],
        // A place of a newer version is none that makes an exception.
        GuessPlace::Stranger | GuessPlace::Unspecified => vec![
            pair(),
            bucket(format!("address {address}"), GUESSES_OF_ADDRESS),
            bucket(format!("account {localpart}"), GUESSES_OF_ACCOUNT),
        ],
    }
}

/// Returns the bucket that a command takes a token from; `None` for commands that are not limited: those of the cluster
/// itself, and those that end something.
pub(crate) fn bucket_of(envelope: &Envelope) -> Option<LimitBucket> {
    let kind = envelope.command.as_ref()?.kind.as_ref()?;
    let owner = match kind {
        Kind::OpenSession(open) => open.localpart.as_str(),
        Kind::Register(register) => match &register.session {
            Some(session) => session.address.as_str(),
            None => register.address.as_str(),
        },
        _ => envelope.user.as_str(),
    };
    if owner.is_empty() {
        return None;
    }
    Some(LimitBucket { class: class_of(kind)?, owner: owner.to_owned() })
}

/// Returns the class of a command; `None` if it is not limited.
fn class_of(kind: &Kind) -> Option<LimitClass> {
    match kind {
        Kind::SendEvent(event) if event.state_key.is_none() => Some(LimitClass::Messages),
        Kind::Redact(_) => Some(LimitClass::Messages),
        Kind::SendEvent(_)
        | Kind::CreateRoom(_)
        | Kind::SetMembership(_)
        | Kind::SetAlias(_)
        | Kind::SetListed(_)
        | Kind::UpgradeRoom(_) => Some(LimitClass::State),
        Kind::SetProfile(_)
        | Kind::SetProfileField(_)
        | Kind::PutFilter(_)
        | Kind::PutAccountData(_)
        | Kind::ChangeTag(_)
        | Kind::SetPusher(_)
        | Kind::NameDevice(_)
        | Kind::FileReport(_) => Some(LimitClass::Account),
        Kind::SetReceipts(_) => Some(LimitClass::Receipts),
        Kind::PutDeviceKeys(_)
        | Kind::PutSigningKeys(_)
        | Kind::PutSignatures(_)
        | Kind::CreateBackup(_)
        | Kind::UpdateBackup(_)
        | Kind::PutBackupKeys(_)
        | Kind::SendToDevice(_)
        | Kind::ClaimKeys(_)
        | Kind::PutDehydratedDevice(_)
        | Kind::DeleteDehydratedDevice(_) => Some(LimitClass::Keys),
        // What follows on the first part of a removal is not counted.
        Kind::DeleteBackup(removal) => (!removal.continues).then_some(LimitClass::Keys),
        Kind::DeleteBackupKeys(removal) => (!removal.continues).then_some(LimitClass::Keys),
        Kind::OpenSession(_) | Kind::IssueLoginToken(_) => Some(LimitClass::Logins),
        Kind::Register(_) => Some(LimitClass::Registrations),
        Kind::Bootstrap(_)
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
        | Kind::Administer(_)
        | Kind::DeleteToDevice(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::proto::log::{
        ClaimKeys, Command, CreateRoom, NameDevice, NewSession, OpenSession, PutAccountData, Register, SendEvent,
        SetReceipts,
    };

    const TEN_PER_TEN: RateLimit = RateLimit { burst: 10, per: Duration::from_secs(10) };

    fn limiter(messages: RateLimit) -> RateLimiter {
        RateLimiter::new(Some(RateLimits::of_messages(messages)))
    }

    fn bucket(class: LimitClass, owner: &str) -> LimitBucket {
        LimitBucket { class, owner: owner.into() }
    }

    fn messages(owner: &str) -> LimitBucket {
        bucket(LimitClass::Messages, owner)
    }

    fn by(user: &str, kind: Kind) -> Envelope {
        Envelope { user: user.into(), command: Some(Command { kind: Some(kind) }), ..Envelope::default() }
    }

    #[test]
    fn a_burst_passes_then_one_per_step_and_the_wait_is_told() {
        let limiter = limiter(TEN_PER_TEN);
        let start = Instant::now();
        for _ in 0..10 {
            limiter.take(&messages("a"), start).expect("within the burst");
        }
        assert_eq!(limiter.take(&messages("a"), start), Err(Duration::from_secs(1)));
        limiter.take(&messages("b"), start).expect("another user has another bucket");
        let later = start + Duration::from_millis(400);
        assert_eq!(limiter.take(&messages("a"), later), Err(Duration::from_millis(600)));
        limiter.take(&messages("a"), start + Duration::from_secs(1)).expect("one came back");
        assert!(limiter.take(&messages("a"), start + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn each_class_has_a_bucket_of_its_own_size() {
        let limiter = limiter(TEN_PER_TEN);
        let start = Instant::now();
        let passed = LimitClass::ALL
            .map(|class| (0..1000).take_while(|_| limiter.take(&bucket(class, "a"), start).is_ok()).count());
        assert_eq!(passed, [10, 20, 50, 100, 200, 100, 60, 1000]);
    }

    #[test]
    fn commands_are_counted_by_class_and_by_whom_they_concern() {
        let class = |kind| bucket_of(&by("alice", kind)).map(|bucket| bucket.class.label());
        assert_eq!(class(Kind::SendEvent(SendEvent::default())), Some("messages"));
        let state = SendEvent { state_key: Some(String::new()), ..SendEvent::default() };
        assert_eq!(class(Kind::SendEvent(state)), Some("state"));
        assert_eq!(class(Kind::CreateRoom(CreateRoom::default())), Some("state"));
        assert_eq!(class(Kind::NameDevice(NameDevice::default())), Some("account"));
        assert_eq!(class(Kind::PutAccountData(PutAccountData::default())), Some("account"));
        assert_eq!(class(Kind::SetReceipts(SetReceipts::default())), Some("receipts"));
        assert_eq!(class(Kind::ClaimKeys(ClaimKeys::default())), Some("keys"));
        assert_eq!(bucket_of(&by("", Kind::NameDevice(NameDevice::default()))), None, "of the cluster itself");

        let login = Kind::OpenSession(OpenSession { localpart: "bob".into(), ..OpenSession::default() });
        assert_eq!(bucket_of(&by("", login)), Some(bucket(LimitClass::Logins, "bob")));
        let session = Some(NewSession { address: "10.0.0.1".into(), ..NewSession::default() });
        let register = Register { localpart: "eve".into(), session, ..Register::default() };
        let expected = Some(bucket(LimitClass::Registrations, "10.0.0.1"));
        assert_eq!(bucket_of(&by("", Kind::Register(register.clone()))), expected);
        let alone = Register { session: None, address: "10.0.0.1".into(), ..register.clone() };
        assert_eq!(bucket_of(&by("", Kind::Register(alone))), expected);
        assert_eq!(bucket_of(&by("", Kind::Register(Register { session: None, ..register }))), None);
    }

    #[test]
    fn a_token_given_back_can_be_taken_again() {
        let limiter = limiter(RateLimit { burst: 1, per: Duration::from_secs(1) });
        let now = Instant::now();
        limiter.take(&messages("a"), now).expect("the first");
        limiter.give_back(&messages("a"));
        limiter.take(&messages("a"), now).expect("again");
    }

    #[test]
    fn without_limits_only_wrong_passwords_are_counted() {
        let limiter = RateLimiter::new(None);
        let now = Instant::now();
        assert!((0..1000).all(|_| limiter.take(&messages("a"), now).is_ok()));
        let guesses = (0..1000).take_while(|_| limiter.guess(&guess("10.0.0.1", GuessPlace::Stranger), now).is_ok());
        assert_eq!(guesses.count(), 10);
    }

    fn guess(address: &str, place: GuessPlace) -> GuessCount {
        GuessCount {
            address: address.into(),
            localpart: "alice".into(),
            device_id: "D".into(),
            place: place.into(),
            gives_back: false,
        }
    }

    #[test]
    fn many_addresses_together_guess_an_account_no_faster_and_keep_its_owner_out_nowhere() {
        let limiter = RateLimiter::new(None);
        let now = Instant::now();
        let address = |number: u32| format!("10.0.0.{}", number / 10);
        let passed =
            (0..500).filter(|number| limiter.guess(&guess(&address(*number), GuessPlace::Stranger), now).is_ok());
        assert_eq!(passed.count(), 100, "the account's count");
        limiter.guess(&guess("10.1.0.1", GuessPlace::Known), now).expect("where the owner was before");
        limiter.guess(&guess("10.1.0.2", GuessPlace::Device), now).expect("with the owner's device");
        assert!(limiter.guess(&guess("10.1.0.2", GuessPlace::Stranger), now).is_err());
        limiter.give_guess_back(&guess("10.0.0.0", GuessPlace::Stranger));
        limiter.guess(&guess("10.1.0.2", GuessPlace::Stranger), now).expect("one was right");
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let limiter = limiter(TEN_PER_TEN);
        let start = Instant::now();
        for user in 0..BUCKETS + 10 {
            let now = start + Duration::from_micros(user as u64);
            limiter.take(&messages(&user.to_string()), now).expect("the first");
        }
        assert!(limiter.buckets().len() <= BUCKETS);
    }
}
