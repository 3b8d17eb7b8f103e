//! Accounts and their sessions: register, log in, log out.

use super::session::millis;
use super::write::{Proposal, no_randomness, unexpected};
use super::{Code, Consistency, Refusal, Service, Session, limits, token};
use quorate_core::proto::log::{
    CloseSession, Envelope, NewSession, OpenSession, Outcome, Register, command::Kind, outcome,
};
use std::time::{Duration, Instant};

/// Sessions that one command ends when all shall end: some hundred rows, far less than a millisecond of apply for each.
const CLOSED_AT_ONCE: u32 = 64;

/// Who wants in.
#[derive(Clone)]
pub struct NewLogin {
    /// Localpart or full user id.
    pub username: String,
    /// As typed.
    pub password: String,
    /// Empty: chosen here.
    pub device_id: String,
    /// For the list of devices.
    pub device_display_name: String,
}

/// An open session.
pub struct LoggedIn {
    /// Full user id.
    pub user_id: String,
    /// Its device.
    pub device_id: String,
    /// Shown this once.
    pub access_token: String,
    /// Disuse after which it ends; `None`: never.
    pub expires_in: Option<Duration>,
}

impl Service {
    /// Makes an account and opens its first session.
    ///
    /// # Errors
    /// [`Code::RegistrationClosed`], [`Code::UserExists`], [`Code::Invalid`], [`Code::Overloaded`] and what the
    /// proposer refuses.
    pub async fn register(&self, login: NewLogin) -> Result<LoggedIn, Refusal> {
        let localpart = self.parse_user(&login.username)?;
        check(&login)?;
        // Before the expensive hash; apply decides whether the name is still free.
        self.user_available(&localpart).await?;
        let password_hash = self.inner.passwords.hash(login.password).await?;
        let opening = self.opening(login.device_id, login.device_display_name)?;
        let register = Register { localpart, password_hash, session: Some(opening.session.clone()) };
        let outcome = self.propose(Proposal::envelope(Kind::Register(register))).await?;
        self.opened(outcome, opening)
    }

    /// Whether an account of this name could be made.
    ///
    /// # Errors
    /// [`Code::RegistrationClosed`], [`Code::Invalid`], [`Code::UserExists`].
    pub async fn user_available(&self, username: &str) -> Result<(), Refusal> {
        if !self.registration_open() {
            return Err(Refusal::new(Code::RegistrationClosed, "this server makes no new accounts; ask its operator"));
        }
        let localpart = self.parse_user(username)?;
        if self.is_administrators_name(&localpart) {
            // Else whoever came first would be the administrator.
            let message = "this name is an administrator's: its account must be made before the configuration names it";
            return Err(Refusal::new(Code::UserExists, message));
        }
        let (account, _) = self.read(Consistency::Local, move |view| view.account(&localpart)).await?;
        match account {
            None => Ok(()),
            Some(_) => Err(Refusal::new(Code::UserExists, "this name is taken; choose another")),
        }
    }

    /// Opens a session for the owner of the password.
    ///
    /// # Errors
    /// [`Code::WrongCredentials`], [`Code::LimitExceeded`], [`Code::Overloaded`] and what the proposer refuses.
    pub async fn login(&self, login: NewLogin) -> Result<LoggedIn, Refusal> {
        let localpart = self.parse_user(&login.username).map_err(|_| wrong_credentials())?;
        check(&login)?;
        self.inner.logins.attempt(&localpart, Instant::now())?;
        let name = localpart.clone();
        let (account, _) = self.read(Consistency::Linearizable, move |view| view.account(&name)).await?;
        let account = account.filter(|account| !account.deactivated);
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let verified = self.inner.passwords.verify(login.password, stored).await?;
        let (true, Some(account)) = (verified, account) else { return Err(wrong_credentials()) };
        self.inner.logins.succeeded(&localpart);
        let opening = self.opening(login.device_id, login.device_display_name)?;
        let open = OpenSession {
            localpart,
            session: Some(opening.session.clone()),
            password_version: account.password_version,
        };
        let outcome = self.propose(Proposal::envelope(Kind::OpenSession(open))).await?;
        self.opened(outcome, opening)
    }

    /// Ends the caller's session, or all of the account. A session that has ended already is ended. Answered when this
    /// pod takes the token no more; the others follow as soon as they have applied it.
    ///
    /// # Errors
    /// What the proposer refuses.
    pub async fn logout(&self, session: &Session, all_devices: bool) -> Result<(), Refusal> {
        while self.close_sessions(session, all_devices).await? {}
        // The leader has applied it, this pod perhaps not yet: whoever is told that the session ended must not find it
        // alive here. A pod that cannot catch up says so by other means; the session has ended all the same.
        let _ = self.catch_up_with_leader().await;
        Ok(())
    }

    /// Ends the caller's session, or a part of all, the caller's own last; are there more?
    async fn close_sessions(&self, session: &Session, all_devices: bool) -> Result<bool, Refusal> {
        let at_most = if all_devices { CLOSED_AT_ONCE } else { 0 };
        let close = CloseSession { device_id: String::new(), all_devices, at_most };
        let envelope = Envelope {
            user: session.localpart.clone(),
            device_id: session.device_id.clone(),
            ..Proposal::envelope(Kind::CloseSession(close))
        };
        match self.propose(envelope).await {
            Ok(outcome) => Ok(matches!(outcome.kind, Some(outcome::Kind::SessionsClosed(closed)) if closed.more)),
            Err(refusal) if refusal.code == Code::Unauthenticated => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    fn opening(&self, device_id: String, display_name: String) -> Result<Opening, Refusal> {
        let made = token::make().map_err(no_randomness)?;
        let device_id = match device_id.as_str() {
            "" => token::device_id().map_err(no_randomness)?,
            _ => device_id,
        };
        let lifetime_ms = millis(self.session_lifetime());
        let session = NewSession {
            device_id,
            display_name,
            token_hash: made.hash,
            lifetime_ms,
            continues_device: true,
            max_devices: self.quotas().devices,
        };
        Ok(Opening { session, token: made.token })
    }

    fn opened(&self, outcome: Outcome, opening: Opening) -> Result<LoggedIn, Refusal> {
        let lifetime = self.session_lifetime();
        match outcome.kind {
            Some(outcome::Kind::SessionOpened(opened)) => Ok(LoggedIn {
                user_id: opened.user_id,
                device_id: opened.device_id,
                access_token: opening.token,
                expires_in: (!lifetime.is_zero()).then_some(lifetime),
            }),
            other => Err(unexpected(other.as_ref())),
        }
    }
}

/// A session as the log will know it, and the token that only the client will.
struct Opening {
    session: NewSession,
    token: String,
}

fn check(login: &NewLogin) -> Result<(), Refusal> {
    if login.password.is_empty() {
        return Err(Refusal::invalid("the password is empty; give one"));
    }
    if login.password.len() > limits::MAX_PASSWORD {
        let message = format!("the password is longer than {} bytes", limits::MAX_PASSWORD);
        return Err(Refusal::new(Code::TooLarge, message));
    }
    limits::optional_name("device_id", &login.device_id)?;
    limits::text("device_display_name", &login.device_display_name)
}

fn wrong_credentials() -> Refusal {
    Refusal::new(Code::WrongCredentials, "no account of this server has this name and password")
}
