//! Logins without a password: with a token that another session handed out, or with one of an identity provider.

use super::accounts::{self, PreparedSession, check_device, needs_quorum};
use super::session::saturating_millis;
use super::write::{WriteProposal, expect_done, no_randomness};
use super::{
    CallerSession, ChatService, LoggedIn, NewLogin, ReadConsistency, RefusalCode, RequestRefusal, ServedFreshness,
    token,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use quorate_core::proto::log::{IssueLoginToken, OpenSession, Outcome, Register, command::Kind};
use quorate_core::query::{StateView, UserAccount};
use std::net::IpAddr;
use std::time::Duration;

/// Lifetime of a login token: a few minutes, as the specification advises, for people to point a camera at it.
pub const LOGIN_TOKEN_LIFETIME: Duration = Duration::from_secs(120);
/// First character of the password hash of an account without a password, which no password fits.
pub(super) const NO_PASSWORD: char = '!';

impl ChatService {
    /// Returns a token with which a client can log in to the caller's account once.
    ///
    /// # Errors
    /// The refusals of the proposer.
    pub async fn issue_login_token(&self, session: &CallerSession) -> Result<String, RequestRefusal> {
        let made = token::new_login_token().map_err(no_randomness)?;
        let issue = IssueLoginToken { token_hash: made.hash, lifetime_ms: saturating_millis(LOGIN_TOKEN_LIFETIME) };
        expect_done(self.propose(WriteProposal::of_session(session, Kind::IssueLoginToken(issue))).await?)?;
        Ok(made.token)
    }

    /// Opens a session with a login token. `login` names the device alone.
    ///
    /// # Errors
    /// [`RefusalCode::WrongCredentials`], [`RefusalCode::LimitExceeded`] and the refusals of the proposer.
    pub async fn login_with_token(
        &self,
        login_token: &str,
        login: NewLogin,
        address: IpAddr,
    ) -> Result<LoggedIn, RequestRefusal> {
        let unknown = || {
            let message = "the login token was used already or has expired: ask for another one";
            RequestRefusal::new(RefusalCode::WrongCredentials, message)
        };
        check_device(&login)?;
        let hash = token::hash_login_token(login_token).ok_or_else(unknown)?;
        // A token that was made up must not cost an entry of the log for each attempt.
        self.admit_stranger(address)?;
        let question = move |view: &StateView<'_>| view.login_token_owner(&hash);
        let (owner, freshness) = self.read(ReadConsistency::Linearizable, question).await?;
        if owner.is_none() && freshness == ServedFreshness::Stale {
            return Err(needs_quorum());
        }
        let localpart = owner.ok_or_else(unknown)?;
        let opening = self.opening(&login, address)?;
        let open = OpenSession {
            localpart,
            session: Some(opening.session.clone()),
            password_version: 0,
            login_token_hash: Bytes::copy_from_slice(&hash),
        };
        let outcome = self.propose(WriteProposal::envelope(Kind::OpenSession(open))).await?;
        self.opened(outcome, opening)
    }

    /// Opens a session with a JSON Web Token of the identity provider. The first one of a subject registers its account.
    /// `login` names the device alone.
    ///
    /// # Errors
    /// [`RefusalCode::WrongCredentials`], [`RefusalCode::UserDeactivated`], [`RefusalCode::InvalidUsername`],
    /// [`RefusalCode::LimitExceeded`] and the refusals of the proposer.
    pub async fn login_with_jwt(
        &self,
        jwt: &str,
        login: NewLogin,
        address: IpAddr,
    ) -> Result<LoggedIn, RequestRefusal> {
        let Some(policy) = &self.account_policy().jwt else { return Err(accounts::wrong_credentials()) };
        check_device(&login)?;
        // Before the signature, whose verification is work.
        self.admit_stranger(address)?;
        let subject = policy.subject(jwt, self.now_ms())?;
        let named = self.parse_typed_user(&subject);
        let localpart = named.map_err(|refusal| RequestRefusal { code: RefusalCode::InvalidUsername, ..refusal })?;
        if localpart == self.account_policy().notices_user {
            // The account of the server's notices is nobody's, whatever the identity provider says.
            return Err(accounts::wrong_credentials());
        }
        let opening = self.opening(&login, address)?;
        let outcome = match self.open_for_subject(&localpart, &opening, address).await {
            // Another first login of the same subject has registered the account meanwhile.
            Err(refusal) if refusal.code == RefusalCode::UserExists => {
                self.open_for_subject(&localpart, &opening, address).await?
            }
            outcome => outcome?,
        };
        self.opened(outcome, opening)
    }

    /// Opens a session of the account that the identity provider names, and registers it if there is none.
    async fn open_for_subject(
        &self,
        localpart: &str,
        opening: &PreparedSession,
        address: IpAddr,
    ) -> Result<Outcome, RequestRefusal> {
        let localpart = localpart.to_owned();
        let name = localpart.clone();
        let question = move |view: &StateView<'_>| view.account(&name);
        let (account, freshness) = self.read(ReadConsistency::Linearizable, question).await?;
        if freshness == ServedFreshness::Stale {
            return Err(needs_quorum());
        }
        let session = Some(opening.session.clone());
        let kind = match account {
            Some(UserAccount { deactivated: true, .. }) => return Err(accounts::closed_for_good()),
            Some(account) => Kind::OpenSession(OpenSession {
                localpart,
                session,
                password_version: account.password_version,
                login_token_hash: Bytes::new(),
            }),
            None => {
                self.admit_registration(address)?;
                Kind::Register(Register { localpart, password_hash: no_password()?, session, ..Register::default() })
            }
        };
        self.propose(WriteProposal::envelope(kind)).await
    }
}

/// Returns a hash that no password fits. It is random, as the log recognises a repeated registration by its hash.
fn no_password() -> Result<String, RequestRefusal> {
    let random = token::random_bytes::<16>().map_err(no_randomness)?;
    Ok(format!("{NO_PASSWORD}{}", URL_SAFE_NO_PAD.encode(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_fits_an_account_without_one() {
        let hash = no_password().unwrap();
        assert_ne!(hash, no_password().unwrap());
        for password in ["", "!", &hash] {
            assert!(!super::super::password::verify_password(password, Some(&hash)));
        }
    }
}
