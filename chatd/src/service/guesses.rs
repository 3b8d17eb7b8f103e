//! Wrong passwords as the leader counts them: whoever guesses at several pods guesses no faster than at one.
//!
//! An attempt is charged before its password is verified, in the first place that has room, as
//! [`login_limit`](super::login_limit) describes; the charge is given back unless the password was wrong.

use super::accounts::needs_quorum;
use super::login_limit::{LoginAttempt, TooManyGuesses};
use super::{ChatService, RequestRefusal};
use crate::raft::propose::{ProposeError, Proposer};
use quorate_core::proto::log::{GuessCount, GuessPlace};
use std::time::{Duration, Instant};
use tokio::time::timeout;

#[cfg(doc)]
use super::RefusalCode;

/// Time for which an attempt waits for a leader to charge it: longer than an election takes, and short because it keeps
/// its turn meanwhile.
const CHARGED_WITHIN: Duration = Duration::from_secs(3);

/// Charge of an attempt on the leader. It is given back when this is dropped, unless the password was wrong: also when
/// the verification does not come about.
pub(super) struct ChargedGuess {
    proposer: Proposer,
    count: Option<GuessCount>,
}

impl ChargedGuess {
    /// Leaves the charge in place.
    pub(super) fn was_wrong(mut self) {
        self.count = None;
    }
}

impl Drop for ChargedGuess {
    fn drop(&mut self) {
        let Some(count) = self.count.take() else { return };
        let proposer = self.proposer.clone();
        // As many at once as passwords are verified, and each ends with the proposer's patience. Lost with the leader, it
        // does not matter: so is the charge.
        let give_back = async move { proposer.count_guess(GuessCount { gives_back: true, ..count }).await };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(give_back));
        }
    }
}

impl ChatService {
    /// Charges an attempt on the leader.
    ///
    /// # Errors
    /// [`RefusalCode::LimitExceeded`] after too many wrong passwords at all pods together; the refusals of the proposer.
    pub(super) async fn charge_guess(&self, attempt: &LoginAttempt) -> Result<ChargedGuess, RequestRefusal> {
        let mut refused: Option<Duration> = None;
        for place in self.places_of(attempt) {
            let count = GuessCount {
                address: attempt.address.to_string(),
                localpart: attempt.localpart.clone(),
                device_id: attempt.known_device.clone(),
                place: place.into(),
                gives_back: false,
            };
            let proposer = self.inner.parts.proposer.clone();
            let answer =
                timeout(CHARGED_WITHIN, proposer.count_guess(count.clone())).await.map_err(|_| needs_quorum())?;
            match answer {
                Ok(()) => return Ok(ChargedGuess { proposer, count: Some(count) }),
                // The place that has room first will do.
                Err(ProposeError::RateLimited { retry_after }) => {
                    refused = Some(refused.map_or(retry_after, |wait| wait.min(retry_after)));
                }
                Err(error) => return Err(RequestRefusal::from(error)),
            }
        }
        // There is at least one place, so that a refusal is there.
        let wait = refused.unwrap_or_default();
        Err(self.guessed_enough(TooManyGuesses { count: "cluster", wait }))
    }

    /// Returns the places where an attempt may be counted, in their order.
    fn places_of(&self, attempt: &LoginAttempt) -> Vec<GuessPlace> {
        let known = self.inner.logins.is_known_place(&attempt.localpart, attempt.address, Instant::now());
        let device = (!attempt.known_device.is_empty()).then_some(GuessPlace::Device);
        device.into_iter().chain([if known { GuessPlace::Known } else { GuessPlace::Stranger }]).collect()
    }
}
