//! Password hashing with argon2id: off the async runtime, a few passwords at a time.

use super::fair_queue::{FairQueue, QueueLane, QueueTurn};
use super::refusal::{RefusalCode, RequestRefusal};
use crate::metrics::ChatMetrics;
use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use std::sync::OnceLock;
use std::time::Duration;

/// Number of passwords hashed at once. Each hash takes 19 MiB and a core for tens of milliseconds (OWASP's parameters,
/// the crate's default): more at once would starve heartbeats, fewer would leave a second core idle.
const AT_ONCE: usize = 2;
/// Number of requests that may wait for a turn. At some 30 hashes a second the last of them waits two seconds; beyond
/// that a quick refusal is kinder.
const WAITING: usize = 64;
/// Time after which a refused caller may try again: by then other requests are in the queue.
const FULL_FOR: Duration = Duration::from_secs(2);

/// A bounded and fair queue for password hashing. Clones share it.
#[derive(Clone)]
pub(super) struct PasswordQueue {
    queue: FairQueue,
    metrics: ChatMetrics,
}

impl PasswordQueue {
    pub(super) fn new(metrics: ChatMetrics) -> Self {
        Self { queue: FairQueue::new(AT_ONCE, WAITING), metrics }
    }

    /// Returns the PHC string of a password, with a fresh salt.
    ///
    /// # Errors
    /// [`RefusalCode::Overloaded`] if too many requests wait.
    pub(super) async fn hash(&self, lane: QueueLane, password: String) -> Result<String, RequestRefusal> {
        let hash = move || Argon2::default().hash_password(password.as_bytes()).map(|h| h.to_string());
        self.in_turn(lane, hash).await?.map_err(|error| {
            tracing::error!(%error, "cannot hash a password");
            RequestRefusal::internal()
        })
    }

    /// Runs `work`, which hashes a password, when it is this lane's turn; see [`PasswordTurn::run`].
    ///
    /// # Errors
    /// [`RefusalCode::Overloaded`] if too many requests wait.
    pub(super) async fn in_turn<T: Send + 'static>(
        &self,
        lane: QueueLane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RequestRefusal> {
        self.turn(lane).await?.run(work).await
    }

    /// Waits for this lane's turn to hash a password.
    ///
    /// # Errors
    /// [`RefusalCode::Overloaded`] if too many requests wait.
    pub(super) async fn turn(&self, lane: QueueLane) -> Result<PasswordTurn, RequestRefusal> {
        let waiting = self.metrics.waiting_login();
        let turn = self.queue.turn(lane).await.map_err(|_| {
            self.metrics.login_refused("queue");
            RequestRefusal::new(RefusalCode::Overloaded, "too many logins at once; try again later").after(FULL_FOR)
        })?;
        drop(waiting);
        Ok(PasswordTurn { turn })
    }
}

/// Turn to hash one password; the next request gets it when this is dropped.
pub(super) struct PasswordTurn {
    turn: QueueTurn,
}

impl PasswordTurn {
    /// Runs `work`, which hashes a password, on a blocking thread. Work that has begun is finished even if its caller has
    /// gone.
    ///
    /// # Errors
    /// [`RefusalCode::Internal`] if the work fails.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RequestRefusal> {
        let Self { turn } = self;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        worked.await.map_err(|error| {
            tracing::error!(%error, "failed to hash a password");
            RequestRefusal::internal()
        })
    }
}

/// Returns `true` if the password is the one of the PHC string. Without an account (`None`), or for one that has no
/// password, verification takes as long and fails, so that its duration does not reveal which accounts exist. Takes tens
/// of milliseconds: see [`PasswordQueue::in_turn`].
pub(super) fn verify_password(password: &str, stored: Option<&str>) -> bool {
    let known = stored.and_then(|text| PasswordHash::new(text).ok());
    let has_password = known.is_some();
    let Some(parsed) = known.or_else(|| PasswordHash::new(decoy_hash()).ok()) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && has_password
}

/// Returns a hash of no known password, with the same parameters as real ones.
fn decoy_hash() -> &'static str {
    static DECOY: OnceLock<String> = OnceLock::new();
    DECOY.get_or_init(|| {
        let password: [u8; 32] = super::token::random_bytes().unwrap_or_default();
        Argon2::default().hash_password(&password).map(|hash| hash.to_string()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn lane(address: u32) -> QueueLane {
        QueueLane { address: IpAddr::from(Ipv4Addr::from_bits(address)), account: "alice".into() }
    }

    fn passwords() -> PasswordQueue {
        PasswordQueue::new(ChatMetrics::new().unwrap())
    }

    #[tokio::test]
    async fn a_password_is_recognised_and_another_is_not() {
        let hash = passwords().hash(lane(1), "correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(verify_password("correct horse", Some(&hash)));
        assert!(!verify_password("wrong", Some(&hash)));
        assert!(!verify_password("any", None));
    }

    #[tokio::test]
    async fn a_crowd_is_refused_and_told_when_to_come_back_and_others_are_served() {
        let passwords = passwords();
        // No turn ends before the whole crowd has arrived.
        let (gate, opened) = std::sync::mpsc::channel::<()>();
        let opened = std::sync::Arc::new(std::sync::Mutex::new(opened));
        let turn = |address: u32| {
            let (passwords, opened) = (passwords.clone(), opened.clone());
            tokio::spawn(async move {
                passwords.in_turn(lane(address), move || drop(opened.lock().map(|gate| gate.recv()))).await
            })
        };
        let crowd: Vec<_> = (0..AT_ONCE + WAITING + 8).map(|_| turn(1)).collect();
        let refused = || crowd.iter().filter(|call| call.is_finished()).count();
        while refused() < 8 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.queue.waiting(), WAITING);
        let other = turn(2);
        while refused() < 9 {
            tokio::task::yield_now().await;
        }
        drop(gate);
        let answers = futures::future::join_all(crowd).await;
        let refused: Vec<_> = answers.into_iter().filter_map(|answer| answer.unwrap().err()).collect();
        assert_eq!(refused.len(), 9, "eight, and one in whose place the other came");
        assert!(refused.iter().all(|r| r.code == RefusalCode::Overloaded && r.retry_after.is_some()));
        assert_eq!(other.await.unwrap(), Ok(()));
    }
}
