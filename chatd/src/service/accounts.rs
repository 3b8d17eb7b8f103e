//! Accounts and their sessions: register, log in, log out.

use super::fair_queue::QueueLane;
use super::login_limit::{LoginAttempt, TooManyGuesses};
use super::refusal::ELECTION_WAIT;
use super::session::millis;
use super::write::{Proposal, no_randomness, unexpected};
use super::{Code, Consistency, Freshness, Refusal, Service, Session, limits, password, token};
use quorate_core::id;
use quorate_core::proto::log::{
    CloseSession, Envelope, NewSession, OpenSession, Outcome, Register, command::Kind, outcome,
};
use quorate_core::query::{Account, QueryError, View};
use std::net::IpAddr;
use std::sync::Arc;
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
    /// Makes an account and opens its first session. `address` is the caller's, as limits count it.
    ///
    /// # Errors
    /// [`Code::RegistrationClosed`], [`Code::UserExists`], [`Code::InvalidUsername`], [`Code::LimitExceeded`],
    /// [`Code::Overloaded`] and what the proposer refuses.
    pub async fn register(&self, login: NewLogin, address: IpAddr) -> Result<LoggedIn, Refusal> {
        let opening = self.opening(&login)?;
        let outcome = self.make_account(login, Some(opening.session.clone()), address).await?;
        self.opened(outcome, opening)
    }

    /// Makes an account without a session, and gives its user id.
    ///
    /// # Errors
    /// As [`Service::register`].
    pub async fn register_only(&self, login: NewLogin, address: IpAddr) -> Result<String, Refusal> {
        let localpart = self.parse_new_user(&login.username)?;
        super::write::done(self.make_account(login, None, address).await?)?;
        Ok(id::user_id(&localpart, self.server_name()))
    }

    async fn make_account(
        &self,
        login: NewLogin,
        session: Option<NewSession>,
        address: IpAddr,
    ) -> Result<Outcome, Refusal> {
        self.admit_stranger(address)?;
        // Before the expensive hash; apply decides whether the name is still free.
        self.user_available(&login.username).await?;
        let localpart = self.parse_new_user(&login.username)?;
        check(&login)?;
        self.admit_registration(address)?;
        let made = self.hash_and_propose(&localpart, login.password, session, address).await;
        match &made {
            Ok(_) => self.inner.logins.was_made(&localpart, address, Instant::now()),
            Err(refusal) if matches!(refusal.code, Code::Unavailable | Code::Overloaded | Code::Internal) => {
                self.inner.strangers.not_registered(address);
            }
            Err(_) => {}
        }
        made
    }

    async fn hash_and_propose(
        &self,
        localpart: &str,
        password: String,
        session: Option<NewSession>,
        address: IpAddr,
    ) -> Result<Outcome, Refusal> {
        let lane = QueueLane { address, account: localpart.to_owned() };
        let password_hash = self.inner.passwords.hash(lane, password).await?;
        let register = Register { localpart: localpart.to_owned(), password_hash, session };
        self.propose(Proposal::envelope(Kind::Register(register))).await
    }

    /// Whether an account of this name could be made.
    ///
    /// # Errors
    /// [`Code::RegistrationClosed`], [`Code::InvalidUsername`], [`Code::UserExists`].
    pub async fn user_available(&self, username: &str) -> Result<(), Refusal> {
        if !self.registration_open() {
            return Err(Refusal::new(Code::RegistrationClosed, "this server makes no new accounts; ask its operator"));
        }
        let localpart = self.parse_new_user(username)?;
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

    fn parse_new_user(&self, username: &str) -> Result<String, Refusal> {
        self.parse_user(username).map_err(|refusal| Refusal { code: Code::InvalidUsername, ..refusal })
    }

    /// Opens a session for the owner of the password. `address` is the caller's, as limits count it.
    ///
    /// # Errors
    /// [`Code::WrongCredentials`], [`Code::LimitExceeded`], [`Code::Overloaded`] and what the proposer refuses.
    pub async fn login(&self, login: NewLogin, address: IpAddr) -> Result<LoggedIn, Refusal> {
        let localpart = self.parse_user(&login.username).map_err(|_| wrong_credentials())?;
        check(&login)?;
        let mut attempt = LoginAttempt { address, localpart: localpart.clone(), known_device: login.device_id.clone() };
        // Whoever has guessed enough costs no more than this. Whether the device is known is looked up only then.
        self.inner.logins.check(&attempt, Instant::now()).map_err(|full| self.guessed_enough(full))?;
        self.admit_stranger(address)?;
        let (account, device_is_known) = self.account_for_login(&localpart, &login.device_id).await?;
        if !device_is_known {
            attempt.known_device.clear();
            self.inner.logins.check(&attempt, Instant::now()).map_err(|full| self.guessed_enough(full))?;
        }
        let opening = self.opening(&login)?;
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let verified = self.verify(attempt, login.password, stored).await?;
        let (true, Some(account)) = (verified, account) else { return Err(wrong_credentials()) };
        let open = OpenSession {
            localpart,
            session: Some(opening.session.clone()),
            password_version: account.password_version,
        };
        let outcome = self.propose(Proposal::envelope(Kind::OpenSession(open))).await?;
        self.opened(outcome, opening)
    }

    /// Returns the account if it can be logged in to, and whether it has this device.
    async fn account_for_login(&self, localpart: &str, device_id: &str) -> Result<(Option<Account>, bool), Refusal> {
        let (name, device_id) = (localpart.to_owned(), device_id.to_owned());
        let question = move |view: &View<'_>| -> Result<_, QueryError> {
            Ok((view.account(&name)?, view.has_device(&name, &device_id)?))
        };
        let ((account, device_is_known), freshness) = self.read(Consistency::Linearizable, question).await?;
        if freshness == Freshness::Stale {
            // The account may be newer than what this pod knows, so that no password could be called wrong; and without a
            // quorum no session can be opened. To say so now costs no hash, and no count.
            let message = "without a quorum nobody can be logged in; try again, or ask another server";
            return Err(Refusal::unavailable(message, ELECTION_WAIT));
        }
        Ok((account.filter(|account| !account.deactivated), device_is_known))
    }

    /// Verifies a password in its turn. What is counted, and what is taken back, is settled with the verification, also
    /// when the caller has hung up by then.
    async fn verify(&self, attempt: LoginAttempt, password: String, stored: Option<String>) -> Result<bool, Refusal> {
        let lane = QueueLane { address: attempt.address, account: attempt.localpart.clone() };
        let logins = Arc::clone(&self.inner.logins);
        let verified = self.inner.passwords.in_turn(lane, move || -> Result<bool, TooManyGuesses> {
            let counted = logins.count(&attempt, Instant::now())?;
            let right = password::verify(&password, stored.as_deref());
            if right {
                logins.was_right(&attempt, counted, Instant::now());
            }
            Ok(right)
        });
        verified.await?.map_err(|full| self.guessed_enough(full))
    }

    fn guessed_enough(&self, full: TooManyGuesses) -> Refusal {
        self.inner.parts.metrics.login_refused(full.count);
        Refusal::from(full)
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

    fn opening(&self, login: &NewLogin) -> Result<Opening, Refusal> {
        let made = token::make().map_err(no_randomness)?;
        let device_id = match login.device_id.as_str() {
            "" => token::device_id().map_err(no_randomness)?,
            named => named.to_owned(),
        };
        let lifetime_ms = millis(self.session_lifetime());
        let display_name = login.device_display_name.clone();
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
