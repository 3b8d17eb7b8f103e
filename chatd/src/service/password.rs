//! Password hashing: argon2id, off the runtime, a few at a time.

use super::refusal::{Code, Refusal};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, TryAcquireError};

/// Each hash takes 19 MiB and a core for tens of milliseconds (OWASP's parameters, the crate's default): more at once
/// would starve heartbeats, fewer would leave a second core idle.
const AT_ONCE: usize = 2;
/// Waiting for a turn. At some 30 hashes a second the last waits two seconds; beyond that a quick refusal is kinder.
const WAITING: usize = 64;

/// A bounded place to hash passwords. Clones share it.
#[derive(Clone)]
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), queue: Arc::new(Semaphore::new(WAITING)) }
    }
}

impl Passwords {
    /// The PHC string of a password, with a fresh salt.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when too many wait.
    pub(super) async fn hash(&self, password: String) -> Result<String, Refusal> {
        let hashed = self.in_turn(move || Argon2::default().hash_password(password.as_bytes()).map(|h| h.to_string()));
        hashed.await?.map_err(|error| {
            tracing::error!(%error, "cannot hash a password");
            Refusal::internal()
        })
    }

    /// Whether the password is the one of the PHC string. Without an account (`None`) it takes as long and says no, so
    /// that the time tells nobody which accounts there are.
    ///
    /// # Errors
    /// [`Code::Overloaded`] when too many wait.
    pub(super) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Refusal> {
        self.in_turn(move || {
            let known = stored.is_some();
            let phc = stored.unwrap_or_else(|| decoy().to_owned());
            let Ok(parsed) = PasswordHash::new(&phc) else { return false };
            Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && known
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let _place = self.queue.try_acquire().map_err(|error| match error {
            TryAcquireError::NoPermits => {
                Refusal::new(Code::Overloaded, "too many logins at once; try again later").after(Duration::from_secs(2))
            }
            TryAcquireError::Closed => Refusal::stopping(),
        })?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Refusal::stopping())?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        })
        .await
        .map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            Refusal::internal()
        })
    }
}

/// A hash that no password is known for, of the parameters that real ones have.
fn decoy() -> &'static str {
    static DECOY: OnceLock<String> = OnceLock::new();
    DECOY.get_or_init(|| {
        let password: [u8; 32] = super::token::random().unwrap_or_default();
        Argon2::default().hash_password(&password).map(|hash| hash.to_string()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_recognised_and_another_is_not() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("wrong".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("any".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_crowd_is_refused_and_told_when_to_come_back() {
        let passwords = Passwords::default();
        let crowd = (0..WAITING + 8).map(|_| passwords.verify("x".into(), Some("not a hash".into())));
        let answers = futures::future::join_all(crowd).await;
        let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 8);
        assert!(refused.iter().all(|r| r.code == Code::Overloaded && r.retry_after.is_some()));
    }
}
