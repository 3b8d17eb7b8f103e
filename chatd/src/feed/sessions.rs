//! Living sessions, kept in memory for the APIs: each request looks one up, on threads that must not wait for a disk.
//!
//! The sessions are kept as of the last commit. The state machine forgets a user's sessions when one of them was
//! changed, after the commit and before anybody is answered. A session that was read before that and is put here later
//! is recognised by its ticket, and counts for nothing.

use quorate_core::query::LiveSession;
use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// SHA-256 hash of an access token.
pub type TokenHash = [u8; 32];

/// Number of sessions in a generation, of which two are kept, some 300 bytes for each session: those of the ten
/// thousand people who are connected to one pod.
const GENERATION: usize = 8192;
/// Number of marks. Users share a mark by the hash of their names: a session that is forgotten with another user's is
/// read again, once.
const MARKS: usize = 4096;

/// Cache of living sessions; see the [module](self).
pub struct KnownSessions {
    /// Number of times that sessions were forgotten.
    tick: AtomicU64,
    /// Ticks at which the sessions of each mark's users were last forgotten.
    forgotten: Vec<AtomicU64>,
    known: Mutex<SessionGenerations>,
}

#[derive(Default)]
struct SessionGenerations {
    young: HashMap<TokenHash, CachedSession>,
    old: HashMap<TokenHash, CachedSession>,
}

#[derive(Clone)]
struct CachedSession {
    session: LiveSession,
    ticket: ReadTicket,
}

/// Tick at which a read began, taken before the view is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadTicket(u64);

impl Default for KnownSessions {
    fn default() -> Self {
        let forgotten = (0..MARKS).map(|_| AtomicU64::new(0)).collect();
        Self { tick: AtomicU64::new(0), forgotten, known: Mutex::default() }
    }
}

impl KnownSessions {
    /// Returns the session of a token, if it is known here and stood as of the last commit.
    #[must_use]
    pub fn get(&self, hash: &TokenHash) -> Option<LiveSession> {
        let mut known = self.known();
        let found = match known.young.get(hash) {
            Some(found) => found.clone(),
            None => {
                let found = known.old.remove(hash)?;
                known.put(*hash, found.clone());
                found
            }
        };
        drop(known);
        (found.ticket.0 >= self.forgotten_at(&found.session.localpart)).then_some(found.session)
    }

    /// Returns a ticket, to be taken before a session is read from the rows.
    #[must_use]
    pub fn ticket(&self) -> ReadTicket {
        ReadTicket(self.tick.load(Ordering::Acquire))
    }

    /// Keeps a session that was read from the rows.
    pub fn put(&self, hash: TokenHash, session: LiveSession, ticket: ReadTicket) {
        self.known().put(hash, CachedSession { session, ticket });
    }

    /// Forgets a user's sessions, because they have changed in the last commit.
    pub fn forget(&self, localpart: &str) {
        let now = self.tick.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(mark) = self.mark(localpart) {
            mark.fetch_max(now, Ordering::AcqRel);
        }
    }

    /// Forgets all sessions, because another state takes the place of this one.
    pub fn forget_all(&self) {
        let now = self.tick.fetch_add(1, Ordering::AcqRel) + 1;
        for mark in &self.forgotten {
            mark.fetch_max(now, Ordering::AcqRel);
        }
        // After the marks: what a reader of the old state puts here meanwhile is outdated in any case.
        *self.known() = SessionGenerations::default();
    }

    fn forgotten_at(&self, localpart: &str) -> u64 {
        self.mark(localpart).map_or(u64::MAX, |mark| mark.load(Ordering::Acquire))
    }

    fn mark(&self, localpart: &str) -> Option<&AtomicU64> {
        // FNV-1a; a bad spread costs a read.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = localpart.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        let place = usize::try_from(hash >> 32).ok()? % MARKS;
        self.forgotten.get(place)
    }

    fn known(&self) -> MutexGuard<'_, SessionGenerations> {
        // Each change is one insertion: a panic leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionGenerations {
    fn put(&mut self, hash: TokenHash, known: CachedSession) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&hash) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(localpart: &str) -> LiveSession {
        LiveSession {
            localpart: localpart.into(),
            user_id: format!("@{localpart}:a"),
            device_id: "D".into(),
            expires_ms: 0,
            confirms_refresh: false,
            lifetime_ms: 0,
        }
    }

    fn hash(number: u32) -> TokenHash {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        hash
    }

    #[test]
    fn a_session_is_known_until_its_user_is_forgotten() {
        let known = KnownSessions::default();
        for (number, name) in [(1, "alice"), (2, "bob")] {
            known.put(hash(number), session(name), known.ticket());
        }
        assert_eq!(known.get(&hash(1)), Some(session("alice")));
        known.forget("alice");
        assert_eq!((known.get(&hash(1)), known.get(&hash(2))), (None, Some(session("bob"))));
        known.put(hash(1), session("alice"), known.ticket());
        assert!(known.get(&hash(1)).is_some());
        known.forget_all();
        assert_eq!((known.get(&hash(1)), known.get(&hash(2))), (None, None));
    }

    #[test]
    fn what_was_read_before_it_was_forgotten_counts_for_nothing() {
        let known = KnownSessions::default();
        let ticket = known.ticket();
        known.forget("alice");
        known.put(hash(1), session("alice"), ticket);
        assert_eq!(known.get(&hash(1)), None);
    }

    #[test]
    fn those_who_come_back_stay_and_memory_is_bounded() {
        let known = KnownSessions::default();
        known.put(hash(0), session("alice"), known.ticket());
        for number in 1..50_000 {
            known.put(hash(number), session("bob"), known.ticket());
            assert!(known.get(&hash(0)).is_some());
        }
        let generations = known.known();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }
}
