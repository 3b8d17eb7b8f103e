//! Accounts and their sessions: registration, login and logout.

use super::fair_queue::QueueLane;
use super::login_limit::{LoginAttempt, TooManyGuesses};
use super::refusal::ELECTION_WAIT;
use super::session::saturating_millis;
use super::write::{WriteProposal, no_randomness, unexpected_outcome};
use super::{
    CallerSession, ChatService, ReadConsistency, RefusalCode, RegistrationApproval, RegistrationDialogue,
    RequestRefusal, ServedFreshness, limits, password, token,
};
use bytes::Bytes;
use quorate_core::id;
use quorate_core::proto::log::{CloseSession, NewSession, OpenSession, Outcome, Register, command::Kind, outcome};
use quorate_core::query::{QueryError, StateView, UserAccount};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Number of sessions that one command ends when all sessions of an account end: some hundred rows, so that applying
/// each command takes far less than a millisecond.
pub(super) const CLOSED_AT_ONCE: u32 = 64;

/// Sessions that are ended together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClosedSessions {
    Own,
    All,
    Others,
}

/// Credentials and device of a registration or login.
#[derive(Clone)]
pub struct NewLogin {
    /// Localpart or full user id.
    pub username: String,
    /// Password in plain text, as the user typed it.
    pub password: String,
    /// Device id; if empty, the server chooses one.
    pub device_id: String,
    /// Display name for the list of devices.
    pub device_display_name: String,
    /// `true` if the client wants a refresh token.
    pub wants_refresh: bool,
    /// Registration token that the account uses up once; empty if there is none, and for logins.
    pub registration_token: String,
    /// Dialogue in which the account is registered; `None` if there is none, and for logins.
    pub dialogue: Option<RegistrationDialogue>,
}

/// A newly opened session with its access token.
pub struct LoggedIn {
    /// Full Matrix user id, `@localpart:server`.
    pub user_id: String,
    /// Device that the session belongs to.
    pub device_id: String,
    /// Access token; only its hash is kept, so the token can be shown this once.
    pub access_token: String,
    /// Refresh token, if the client asked for one; shown this once, too.
    pub refresh_token: Option<String>,
    /// Lifetime of the access token: of one that is not refreshed, the time without use after which the session ends.
    /// `None` means that it does not end.
    pub expires_in: Option<Duration>,
}

impl ChatService {
    /// Registers an account and opens its first session. `address` is the caller's address as rate limits count it.
    ///
    /// # Errors
    /// [`RefusalCode::RegistrationClosed`], [`RefusalCode::UserExists`], [`RefusalCode::InvalidUsername`], [`RefusalCode::LimitExceeded`],
    /// [`RefusalCode::Overloaded`] and the refusals of the proposer.
    pub async fn register(
        &self,
        login: NewLogin,
        address: IpAddr,
        approval: RegistrationApproval,
    ) -> Result<LoggedIn, RequestRefusal> {
        let opening = self.opening(&login, address)?;
        let outcome = self.make_account(login, Some(opening.session.clone()), address, approval).await?;
        self.opened(outcome, opening)
    }

    /// Registers an account without a session and returns its user id.
    pub async fn register_only(
        &self,
        login: NewLogin,
        address: IpAddr,
        approval: RegistrationApproval,
    ) -> Result<String, RequestRefusal> {
        let localpart = self.parse_new_user(&login.username)?;
        super::write::expect_done(self.make_account(login, None, address, approval).await?)?;
        Ok(id::user_id(&localpart, self.server_name()))
    }

    async fn make_account(
        &self,
        login: NewLogin,
        session: Option<NewSession>,
        address: IpAddr,
        approval: RegistrationApproval,
    ) -> Result<Outcome, RequestRefusal> {
        // Whether a name is free is a read, and an address without a session has a share of those.
        self.admit_stranger(address)?;
        // Checked before the expensive hash; apply decides whether the name is still free.
        self.check_name(&login.username, approval).await?;
        let localpart = self.parse_new_user(&login.username)?;
        check_login(&login)?;
        // After all other checks: a name that is taken or malformed uses up none of the registrations of an address.
        self.admit_registration(address)?;
        let administrator = matches!(approval, RegistrationApproval::SharedSecret { administrator: true });
        let register = Register {
            localpart: localpart.clone(),
            password_hash: String::new(),
            session,
            administrator,
            registration_token: login.registration_token,
            address: address.to_string(),
            dialogue_digest: login.dialogue.map(|d| Bytes::copy_from_slice(d.name())).unwrap_or_default(),
            dialogue_expires_ms: login.dialogue.map_or(0, |dialogue| dialogue.expires_ms),
        };
        let made = self.hash_and_propose(register, login.password, address).await;
        match &made {
            // Whoever registers knows the password, so this address is as good as one of a login.
            Ok(_) => self.inner.logins.was_made(&localpart, address, Instant::now()),
            Err(refusal)
                if matches!(
                    refusal.code,
                    RefusalCode::Unavailable | RefusalCode::Overloaded | RefusalCode::Internal
                ) =>
            {
                // An outage or a full queue is not the caller's doing.
                self.inner.strangers.not_registered(address);
            }
            Err(_) => {}
        }
        made
    }

    async fn hash_and_propose(
        &self,
        mut register: Register,
        password: String,
        address: IpAddr,
    ) -> Result<Outcome, RequestRefusal> {
        let lane = QueueLane { address, account: register.localpart.clone() };
        register.password_hash = self.hash_password(lane, password).await?;
        self.propose(WriteProposal::envelope(Kind::Register(register))).await
    }

    pub(super) async fn hash_password(&self, lane: QueueLane, password: String) -> Result<String, RequestRefusal> {
        self.inner.passwords.hash(lane, password).await
    }

    /// Checks that an account of this name could be registered.
    ///
    /// # Errors
    /// [`RefusalCode::RegistrationClosed`], [`RefusalCode::InvalidUsername`], [`RefusalCode::UserExists`].
    pub async fn user_available(&self, username: &str) -> Result<(), RequestRefusal> {
        self.check_name(username, RegistrationApproval::Stages).await
    }

    async fn check_name(&self, username: &str, approval: RegistrationApproval) -> Result<(), RequestRefusal> {
        self.check_registration(approval)?;
        let localpart = self.parse_new_user(username)?;
        let by_administrator = matches!(approval, RegistrationApproval::SharedSecret { .. });
        if !by_administrator && self.is_administrators_name(&localpart) {
            // Otherwise whoever registers the name first would be the administrator.
            let message =
                "this name is reserved for an administrator, whose account must exist before it is configured";
            return Err(RequestRefusal::new(RefusalCode::UserExists, message));
        }
        if localpart == self.account_policy().notices_user {
            // Otherwise whoever registers the name first would be in the way of the server's notices.
            return Err(RequestRefusal::new(
                RefusalCode::UserExists,
                "this name is reserved for notices of the server",
            ));
        }
        // Local is enough: apply decides in the end, and a stranger's question must not reach the leader.
        let (account, _) = self.read(ReadConsistency::Local, move |view| view.account(&localpart)).await?;
        match account {
            None => Ok(()),
            Some(_) => Err(RequestRefusal::new(RefusalCode::UserExists, "this name is taken; choose another")),
        }
    }

    fn parse_new_user(&self, username: &str) -> Result<String, RequestRefusal> {
        let named = self.parse_typed_user(username);
        named.map_err(|refusal| RequestRefusal { code: RefusalCode::InvalidUsername, ..refusal })
    }

    /// Opens a session for the user who knows the account's password. `address` is the caller's address as rate limits
    /// count it.
    ///
    /// # Errors
    /// [`RefusalCode::WrongCredentials`], [`RefusalCode::UserDeactivated`], [`RefusalCode::LimitExceeded`],
    /// [`RefusalCode::Overloaded`] and the refusals of the proposer.
    pub async fn login(&self, login: NewLogin, address: IpAddr) -> Result<LoggedIn, RequestRefusal> {
        // The specification knows one error for every login that fails ("Login", M_FORBIDDEN).
        let localpart = self.parse_typed_user(&login.username).map_err(|_| wrong_credentials())?;
        check_login(&login)?;
        let mut attempt = LoginAttempt { address, localpart: localpart.clone(), known_device: login.device_id.clone() };
        // A caller who has guessed enough costs no more than this check. Only after it is the device looked up.
        self.check_guesses(&attempt, Instant::now())?;
        // Looking account and device up is a read for somebody who has no session yet.
        self.admit_stranger(address)?;
        let (account, device_is_known) = self.account_for_login(&localpart, &login.device_id).await?;
        // A made-up device id must not get a count of its own: each new one would be good for ten more guesses.
        if !device_is_known {
            attempt.known_device.clear();
            self.check_guesses(&attempt, Instant::now())?;
        }
        let opening = self.opening(&login, address)?;
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let verified = self.verify(attempt, login.password, stored).await?;
        let (true, Some(account)) = (verified, account) else { return Err(wrong_credentials()) };
        if account.deactivated {
            // Only now: who does not know the password is not told.
            return Err(closed_for_good());
        }
        let open = OpenSession {
            localpart,
            session: Some(opening.session.clone()),
            // Apply refuses the session if the password was changed after it was verified here.
            password_version: account.password_version,
            login_token_hash: Bytes::new(),
        };
        let outcome = self.propose(WriteProposal::envelope(Kind::OpenSession(open))).await?;
        self.opened(outcome, opening)
    }

    /// Returns the account, which may be closed, and `true` if it has this device.
    pub(super) async fn account_for_login(
        &self,
        localpart: &str,
        device_id: &str,
    ) -> Result<(Option<UserAccount>, bool), RequestRefusal> {
        let name = localpart.to_owned();
        let device_id = device_id.to_owned();
        let question = move |view: &StateView<'_>| -> Result<_, QueryError> {
            Ok((view.account(&name)?, view.has_device(&name, &device_id)?))
        };
        // Linearizable: an account that another pod has just registered can be logged in to here.
        let ((account, device_is_known), freshness) = self.read(ReadConsistency::Linearizable, question).await?;
        if freshness == ServedFreshness::Stale {
            // The account may be newer than this pod's state, so no password could be called wrong; and without a
            // quorum no session can be opened. Refusing here costs no hash and counts no guess.
            return Err(needs_quorum());
        }
        Ok((account, device_is_known))
    }

    /// Verifies a password when its turn comes. The attempt is charged on the leader and on this pod, and the charges are
    /// given back, together with the verification, even if the caller has hung up by then.
    pub(super) async fn verify(
        &self,
        attempt: LoginAttempt,
        password: String,
        stored: Option<String>,
    ) -> Result<bool, RequestRefusal> {
        let lane = QueueLane { address: attempt.address, account: attempt.localpart.clone() };
        let logins = Arc::clone(&self.inner.logins);
        let turn = self.inner.passwords.turn(lane).await?;
        // Only when it is its turn: of many right passwords at once, only as many are charged as are being verified.
        let charged = self.charge_guess(&attempt).await?;
        let verified = turn.run(move || -> Result<bool, TooManyGuesses> {
            // Judged once more: any number of attempts pass the first check before one of them is counted.
            let counted = logins.count(&attempt, Instant::now())?;
            let right = password::verify_password(&password, stored.as_deref());
            if right {
                logins.was_right(&attempt, counted, Instant::now());
            } else {
                charged.was_wrong();
            }
            Ok(right)
        });
        verified.await?.map_err(|full| self.guessed_enough(full))
    }

    pub(super) fn check_guesses(&self, attempt: &LoginAttempt, now: Instant) -> Result<(), RequestRefusal> {
        self.inner.logins.check(attempt, now).map_err(|full| self.guessed_enough(full))
    }

    pub(super) fn guessed_enough(&self, full: TooManyGuesses) -> RequestRefusal {
        self.inner.parts.metrics.login_refused(full.count);
        RequestRefusal::from(full)
    }

    /// Ends the caller's session, or all sessions of the account. A session that has ended already is no error. Returns
    /// once this pod no longer accepts the token; the other pods follow as soon as they have applied the command.
    ///
    /// # Errors
    /// The refusals of the proposer.
    pub async fn logout(&self, session: &CallerSession, all_devices: bool) -> Result<(), RequestRefusal> {
        let which = if all_devices { ClosedSessions::All } else { ClosedSessions::Own };
        while self.close_sessions(session, which).await? {}
        // The leader has applied the command, this pod perhaps not yet: a caller who is told that the session ended
        // must not find it alive here. A pod that cannot catch up reports that by other means; the session has ended
        // all the same.
        let _ = self.catch_up_with_leader().await;
        Ok(())
    }

    /// Ends the caller's session, or a batch of the account's sessions, with the caller's own last if it ends, too.
    /// Returns `true` if there are more.
    pub(super) async fn close_sessions(
        &self,
        session: &CallerSession,
        which: ClosedSessions,
    ) -> Result<bool, RequestRefusal> {
        let all_devices = which != ClosedSessions::Own;
        let at_most = if all_devices { CLOSED_AT_ONCE } else { 0 };
        let keep_own = which == ClosedSessions::Others;
        let close = CloseSession { device_id: String::new(), all_devices, at_most, keep_own };
        match self.propose(WriteProposal::of_session(session, Kind::CloseSession(close))).await {
            Ok(outcome) => Ok(matches!(outcome.kind, Some(outcome::Kind::SessionsClosed(closed)) if closed.more)),
            // Ended before, for instance by an attempt of this client whose answer was lost.
            Err(refusal) if refusal.code == RefusalCode::Unauthenticated => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn opening(&self, login: &NewLogin, address: IpAddr) -> Result<PreparedSession, RequestRefusal> {
        let made = token::new_token().map_err(no_randomness)?;
        let refresh = login.wants_refresh.then(token::new_refresh_token).transpose().map_err(no_randomness)?;
        let device_id = match login.device_id.as_str() {
            "" => token::device_id().map_err(no_randomness)?,
            named => named.to_owned(),
        };
        let lifetime_ms = saturating_millis(self.session_lifetime());
        let display_name = login.device_display_name.clone();
        let session = NewSession {
            device_id,
            display_name,
            token_hash: made.hash,
            lifetime_ms,
            continues_device: true,
            max_devices: self.quotas().devices,
            address: address.to_string(),
            refresh_hash: refresh.as_ref().map(|refresh| refresh.hash.clone()).unwrap_or_default(),
            access_lifetime_ms: saturating_millis(self.account_policy().access_token_lifetime),
        };
        Ok(PreparedSession { session, token: made.token, refresh_token: refresh.map(|refresh| refresh.token) })
    }

    pub(super) fn opened(&self, outcome: Outcome, opening: PreparedSession) -> Result<LoggedIn, RequestRefusal> {
        let lifetime = match opening.refresh_token {
            Some(_) => self.account_policy().access_token_lifetime,
            None => self.session_lifetime(),
        };
        match outcome.kind {
            Some(outcome::Kind::SessionOpened(opened)) => Ok(LoggedIn {
                user_id: opened.user_id,
                device_id: opened.device_id,
                access_token: opening.token,
                refresh_token: opening.refresh_token,
                expires_in: (!lifetime.is_zero()).then_some(lifetime),
            }),
            other => Err(unexpected_outcome(other.as_ref())),
        }
    }
}

/// A session as the log records it, and the tokens that only the client learns.
pub(super) struct PreparedSession {
    pub(super) session: NewSession,
    token: String,
    refresh_token: Option<String>,
}

fn check_login(login: &NewLogin) -> Result<(), RequestRefusal> {
    check_password(&login.password)?;
    check_device(login)
}

/// Checks the device of a login.
pub(super) fn check_device(login: &NewLogin) -> Result<(), RequestRefusal> {
    limits::optional_name("device_id", &login.device_id)?;
    limits::check_text("device_display_name", &login.device_display_name)
}

/// Checks that a password can be one.
pub(super) fn check_password(password: &str) -> Result<(), RequestRefusal> {
    if password.is_empty() {
        return Err(RequestRefusal::invalid("the password is empty; give one"));
    }
    if password.len() > limits::MAX_PASSWORD {
        let message = format!("the password is longer than {} bytes", limits::MAX_PASSWORD);
        return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
    }
    Ok(())
}

/// Refuses a login while the account may be newer than this pod's state.
pub(super) fn needs_quorum() -> RequestRefusal {
    let message = "logins need a quorum, which this server cannot reach; try again, or use another server";
    RequestRefusal::unavailable(message, ELECTION_WAIT)
}

/// Refuses a login of the owner to an account that was closed.
pub(super) fn closed_for_good() -> RequestRefusal {
    RequestRefusal::new(RefusalCode::UserDeactivated, "this account was closed for good: log in to another")
}

pub(super) fn wrong_credentials() -> RequestRefusal {
    RequestRefusal::new(RefusalCode::WrongCredentials, "no account on this server has this name and password")
}
