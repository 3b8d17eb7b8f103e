//! How the owner of an account proves to be there, besides by the session: with the password; or, where the account has
//! none because an identity provider vouches for its owner, with a token of the provider, or by having just logged in.
//!
//! A session of such an account can be opened with a token of the provider alone (or by the owner, from another session,
//! which takes a token of the provider as well). For a short time after its login, a session can therefore remove devices
//! without another proof, as in Synapse (`ui_auth.session_timeout`), also if its client does not know the stage: it asks its
//! user to log in again. Everything else asks for the token: whoever steals a session just after the login must not close
//! the account, replace its keys or open other sessions.

use super::other_logins::NO_PASSWORD;
use super::own_account::VerifiedPassword;
use super::session::saturating_millis;
use super::{CallerSession, ChatService, ReadConsistency, RequestRefusal};
use quorate_core::query::{QueryError, StateView};
use std::net::IpAddr;
use std::time::Duration;

#[cfg(doc)]
use super::RefusalCode;

/// Time after a login within which an account without a password removes devices without another proof: long enough to
/// log in again in a browser and to come back, too short for a token that is stolen from a backup or a log.
const RECENT_LOGIN: Duration = Duration::from_secs(10 * 60);

/// Proof that the owner of an account can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerProof {
    /// The password of the account.
    Password,
    /// A token of the identity provider.
    ProviderToken,
    /// A token of the identity provider, which the removal of devices does without at present: the session was opened a
    /// moment ago.
    RecentLogin(VerifiedPassword),
}

impl ChatService {
    /// Returns the proof that the owner of the caller's account can give.
    ///
    /// # Errors
    /// The refusals of reads.
    pub async fn owner_proof(&self, session: &CallerSession) -> Result<OwnerProof, RequestRefusal> {
        let CallerSession { localpart, device_id, .. } = session.clone();
        let question = move |view: &StateView<'_>| -> Result<_, QueryError> {
            Ok((view.account(&localpart)?, view.device(&localpart, &device_id)?))
        };
        // What this pod has applied is enough: it knows the session, and so what opened it.
        let ((account, device), _) = self.read(ReadConsistency::Local, question).await?;
        let Some(account) = account.filter(|account| account.password_hash.starts_with(NO_PASSWORD)) else {
            return Ok(OwnerProof::Password);
        };
        let verified = VerifiedPassword { version: account.password_version, is_absent: true };
        if device.is_some_and(|device| is_recent(device.created_ms, self.now_ms())) {
            return Ok(OwnerProof::RecentLogin(verified));
        }
        Ok(OwnerProof::ProviderToken)
    }

    /// Verifies a token of the identity provider as a proof of the caller; `None` if it is none. `address` is the caller's
    /// address as rate limits count it.
    ///
    /// # Errors
    /// [`RefusalCode::LimitExceeded`] after too many tokens; the refusals of reads.
    pub async fn verify_provider_token(
        &self,
        session: &CallerSession,
        jwt: &str,
        address: IpAddr,
    ) -> Result<Option<VerifiedPassword>, RequestRefusal> {
        let Some(policy) = &self.account_policy().jwt else { return Ok(None) };
        // Verifying a signature is work, as for a login.
        self.admit_stranger(address)?;
        let Ok(subject) = policy.subject(jwt, self.now_ms()) else { return Ok(None) };
        if self.parse_typed_user(&subject).ok().as_deref() != Some(session.localpart.as_str()) {
            // Whoever is another user at the provider may not act for this one.
            return Ok(None);
        }
        let localpart = session.localpart.clone();
        let (account, _) = self.read(ReadConsistency::Local, move |view| view.account(&localpart)).await?;
        let account = account.filter(|account| account.password_hash.starts_with(NO_PASSWORD));
        Ok(account.map(|account| VerifiedPassword { version: account.password_version, is_absent: true }))
    }
}

/// Returns `true` if a session that was opened at a time was opened recently.
fn is_recent(opened_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(opened_ms) < saturating_millis(RECENT_LOGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_recent_for_ten_minutes_whichever_clock_is_ahead() {
        assert!(is_recent(1_000_000, 1_000_000) && is_recent(1_000_000, 999_000));
        assert!(is_recent(1_000_000, 1_599_999) && !is_recent(1_000_000, 1_600_000));
    }
}
