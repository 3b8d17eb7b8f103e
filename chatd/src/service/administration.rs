//! Acts of administrators about accounts. Each is a command of the log, and leaves a line in the log of the pod that
//! received it: who did what to whom.
//!
//! Administrators come in two kinds: holders of a certificate, who use the administrative API, and users of the server
//! whose accounts may administer it, who use the Matrix API.

use super::fair_queue::QueueLane;
use super::write::{WriteProposal, expect_done, unexpected_outcome};
use super::{CallerSession, ChatService, ReadConsistency, RefusalCode, RequestRefusal, accounts};
use crate::caller::CallerAddress;
use quorate_core::proto::log::administer::Action;
use quorate_core::proto::log::{Administer, CloseAccount, Outcome, ResetPassword, SetStanding, command::Kind, outcome};
use quorate_core::query::{DeviceInfo, ListedAccount, ListedAccounts, QueryError, StateView};
use std::fmt;

/// Administrator who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Administrator {
    /// Holder of a certificate for the administrative API, by the name in it.
    Certificate(String),
    /// User of the server. Other administrators' accounts are out of reach.
    Account(CallerSession),
}

impl Administrator {
    /// Returns the name under which the administrator acts: that in the certificate, or the localpart of the account.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Certificate(name) => name,
            Self::Account(session) => &session.localpart,
        }
    }
}

impl fmt::Display for Administrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(name) => write!(f, "certificate {name:?}"),
            Self::Account(session) => f.write_str(&session.user_id),
        }
    }
}

/// Account with what administrators ask about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountDetails {
    /// The account itself.
    pub account: ListedAccount,
    /// Devices of the account, by id.
    pub devices: Vec<DeviceInfo>,
    /// Number of rooms that the account is joined to.
    pub joined_rooms: usize,
}

impl ChatService {
    /// Returns the caller as an administrator.
    ///
    /// # Errors
    /// [`RefusalCode::Forbidden`] if the account may not administer the server; the refusals of reads.
    pub async fn require_administrator(&self, session: &CallerSession) -> Result<Administrator, RequestRefusal> {
        if self.is_administrator(session).await? {
            return Ok(Administrator::Account(session.clone()));
        }
        Err(RequestRefusal::new(RefusalCode::Forbidden, "only administrators of the server may do this"))
    }

    /// Locks, suspends or frees an account; what is `None` stays as it is.
    ///
    /// # Errors
    /// [`RefusalCode::UserNotFound`] also for accounts that are closed; [`RefusalCode::Forbidden`] if an administrator
    /// with an account names another administrator; the refusals of the proposer.
    pub async fn set_standing(
        &self,
        by: &Administrator,
        localpart: &str,
        locked: Option<bool>,
        suspended: Option<bool>,
    ) -> Result<ListedAccount, RequestRefusal> {
        self.check_reach(by, localpart)?;
        let set = SetStanding { localpart: localpart.to_owned(), locked, suspended };
        expect_done(self.administer(by, Action::SetStanding(set)).await?)?;
        tracing::info!(%by, user = localpart, ?locked, ?suspended, "an administrator changed the standing of an account");
        // Waits until this pod has applied the act as well: who is told that an account is locked finds it locked here.
        self.open_account(by, localpart).await
    }

    /// Returns an account that is not closed, as an administrator may see it.
    ///
    /// # Errors
    /// Those of [`ChatService::set_standing`].
    pub async fn open_account(&self, by: &Administrator, localpart: &str) -> Result<ListedAccount, RequestRefusal> {
        self.check_reach(by, localpart)?;
        let name = localpart.to_owned();
        let (found, _) = self.read(ReadConsistency::Linearizable, move |view| view.find_account(&name)).await?;
        match found.filter(|account| !account.deactivated) {
            None => Err(no_such_user()),
            Some(account) if account.administrator && matches!(by, Administrator::Account(_)) => Err(out_of_reach()),
            Some(account) => Ok(account),
        }
    }

    /// Replaces the password of an account, and ends its sessions if `end_sessions` says so.
    ///
    /// # Errors
    /// Those of [`ChatService::set_standing`]; [`RefusalCode::Overloaded`] if too many passwords wait to be hashed.
    pub async fn reset_password(
        &self,
        by: &Administrator,
        localpart: &str,
        password: String,
        end_sessions: bool,
    ) -> Result<(), RequestRefusal> {
        accounts::check_password(&password)?;
        // Before the expensive hash.
        self.open_account(by, localpart).await?;
        let lane = QueueLane { address: CallerAddress::UNKNOWN.0, account: localpart.to_owned() };
        let reset = ResetPassword {
            localpart: localpart.to_owned(),
            // Once for all parts: by the hash, the log knows that they are of one request.
            password_hash: self.hash_password(lane, password).await?,
            end_sessions: if end_sessions { accounts::CLOSED_AT_ONCE } else { 0 },
        };
        while self.reset_part(by, reset.clone()).await? {}
        tracing::info!(%by, user = localpart, end_sessions, "an administrator reset the password of an account");
        let _ = self.catch_up_with_leader().await;
        Ok(())
    }

    /// Resets the password, or ends the next of the sessions. Returns `true` if there are more.
    async fn reset_part(&self, by: &Administrator, reset: ResetPassword) -> Result<bool, RequestRefusal> {
        match self.administer(by, Action::ResetPassword(reset)).await?.kind {
            Some(outcome::Kind::SessionsClosed(closed)) => Ok(closed.more),
            other => Err(unexpected_outcome(other.as_ref())),
        }
    }

    /// Closes an account for good. When this returns, its sessions have ended; it leaves its rooms within seconds. Returns
    /// `true` while there is more to leave or to remove, which the cluster does by itself; asking again tells how it is.
    ///
    /// # Errors
    /// Those of [`ChatService::set_standing`].
    pub async fn close_account(
        &self,
        by: &Administrator,
        localpart: &str,
        erase: bool,
    ) -> Result<bool, RequestRefusal> {
        self.check_reach(by, localpart)?;
        let close = CloseAccount { localpart: localpart.to_owned(), erase };
        let more = match self.administer(by, Action::CloseAccount(close)).await?.kind {
            Some(outcome::Kind::DeactivationContinued(part)) => part.more,
            other => return Err(unexpected_outcome(other.as_ref())),
        };
        tracing::info!(%by, user = localpart, erase, more, "an administrator closed an account");
        let _ = self.catch_up_with_leader().await;
        Ok(more)
    }

    /// Returns a page of accounts, as [`StateView::list_accounts`] does.
    ///
    /// # Errors
    /// The refusals of reads.
    pub async fn list_accounts(
        &self,
        term: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<ListedAccounts, RequestRefusal> {
        let question = move |view: &StateView<'_>| view.list_accounts(&term, after.as_deref(), limit);
        Ok(self.read(ReadConsistency::Linearizable, question).await?.0)
    }

    /// Returns an account, closed or not, with its devices.
    ///
    /// # Errors
    /// [`RefusalCode::UserNotFound`], and the refusals of reads.
    pub async fn account_details(&self, localpart: String) -> Result<AccountDetails, RequestRefusal> {
        let question = move |view: &StateView<'_>| -> Result<_, QueryError> {
            let Some(account) = view.find_account(&localpart)? else { return Ok(None) };
            let devices = view.devices(&localpart)?;
            let joined_rooms = view.joined_rooms(&localpart)?.len();
            Ok(Some(AccountDetails { account, devices, joined_rooms }))
        };
        let (found, _) = self.read(ReadConsistency::Linearizable, question).await?;
        found.ok_or_else(no_such_user)
    }

    /// Puts an act of an administrator into the log.
    pub(super) async fn administer(&self, by: &Administrator, action: Action) -> Result<Outcome, RequestRefusal> {
        let envelope = match by {
            Administrator::Certificate(_) => {
                WriteProposal::envelope(Kind::Administer(Administer { configured: false, action: Some(action) }))
            }
            Administrator::Account(session) => {
                let configured = self.is_administrators_name(&session.localpart);
                let act = Administer { configured, action: Some(action) };
                WriteProposal::of_session(session, Kind::Administer(act))
            }
        };
        self.propose_repeatable(envelope).await
    }

    /// Refuses an act of a user about an administrator whom the configuration names; the log refuses one about others.
    fn check_reach(&self, by: &Administrator, localpart: &str) -> Result<(), RequestRefusal> {
        match by {
            Administrator::Account(_) if self.is_administrators_name(localpart) => Err(out_of_reach()),
            _ => Ok(()),
        }
    }
}

fn no_such_user() -> RequestRefusal {
    RequestRefusal::new(RefusalCode::UserNotFound, "there is no such user, or the account is closed")
}

fn out_of_reach() -> RequestRefusal {
    let message = "the account of an administrator is changed through the administrative API only";
    RequestRefusal::new(RefusalCode::Forbidden, message)
}
