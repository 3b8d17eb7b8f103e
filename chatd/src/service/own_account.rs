//! Operations of users on their own account: change the password, look after their devices, close the account.

use super::fair_queue::QueueLane;
use super::login_limit::LoginAttempt;
use super::write::{self, WriteProposal, expect_done};
use super::{CallerSession, ChatService, ReadConsistency, RefusalCode, RequestRefusal, accounts, limits};
use quorate_core::apply::MAX_DEVICES_REMOVED;
use quorate_core::proto::log::{ChangePassword, Deactivate, NameDevice, RemoveDevices, command::Kind, outcome};
use std::net::IpAddr;
use std::time::Instant;

/// Maximum number of devices that one request removes: more than any account has by default.
const MAX_REMOVED: usize = 1000;

/// Proof that the caller knows the account's password, or is its owner although it has none; see
/// [`OwnerProof`](super::OwnerProof).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedPassword {
    /// Version of the password.
    pub(super) version: u64,
    /// `true` if the account has no password.
    pub(super) is_absent: bool,
}

impl ChatService {
    /// Verifies the password of the caller's account; `None` if it is wrong. `address` is the caller's address as rate
    /// limits count it.
    ///
    /// # Errors
    /// [`RefusalCode::LimitExceeded`] after too many wrong passwords, [`RefusalCode::Overloaded`],
    /// [`RefusalCode::Unavailable`].
    pub async fn verify_own_password(
        &self,
        session: &CallerSession,
        password: String,
        address: IpAddr,
    ) -> Result<Option<VerifiedPassword>, RequestRefusal> {
        if password.len() > limits::MAX_PASSWORD {
            return Ok(None);
        }
        // Counted for the device: whoever has its token cannot guess more often than whoever knows its id.
        let attempt =
            LoginAttempt { address, localpart: session.localpart.clone(), known_device: session.device_id.clone() };
        self.check_guesses(&attempt, Instant::now())?;
        let (account, _) = self.account_for_login(&session.localpart, &session.device_id).await?;
        // As if there were no account: the password is verified against the decoy, and fails in the same time.
        let account = account.filter(|account| !account.deactivated);
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let verified = self.verify(attempt, password, stored).await?;
        let proof = |version| VerifiedPassword { version, is_absent: false };
        Ok(account.filter(|_| verified).map(|account| proof(account.password_version)))
    }

    /// Changes the password of the caller's account, and ends its other sessions if `end_others` says so.
    ///
    /// # Errors
    /// [`RefusalCode::Forbidden`] if the account has no password, [`RefusalCode::WrongCredentials`] if the password was
    /// changed meanwhile, [`RefusalCode::Overloaded`] and the refusals of the proposer.
    pub async fn change_password(
        &self,
        session: &CallerSession,
        verified: VerifiedPassword,
        new_password: String,
        end_others: bool,
        address: IpAddr,
    ) -> Result<(), RequestRefusal> {
        if verified.is_absent {
            // Otherwise the owner could log in with it after the provider has withdrawn the account.
            let message = "this account has no password: its owner logs in with an identity provider";
            return Err(RequestRefusal::new(RefusalCode::Forbidden, message));
        }
        accounts::check_password(&new_password)?;
        let lane = QueueLane { address, account: session.localpart.clone() };
        let change = ChangePassword {
            password_hash: self.hash_password(lane, new_password).await?,
            password_version: verified.version,
            end_others: if end_others { accounts::CLOSED_AT_ONCE } else { 0 },
        };
        let outcome = self.propose(WriteProposal::of_session(session, Kind::ChangePassword(change))).await?;
        let more = match outcome.kind {
            Some(outcome::Kind::SessionsClosed(closed)) => closed.more,
            other => return Err(write::unexpected_outcome(other.as_ref())),
        };
        if more {
            while self.close_sessions(session, accounts::ClosedSessions::Others).await? {}
        }
        // As for a logout: this pod must not take an ended session for alive when it has told of the change.
        let _ = self.catch_up_with_leader().await;
        Ok(())
    }

    /// Changes the name of one of the caller's devices.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`] if the account has no such device; the refusals of the proposer.
    pub async fn name_device(
        &self,
        session: &CallerSession,
        device_id: String,
        display_name: String,
    ) -> Result<(), RequestRefusal> {
        limits::check_name("device_id", &device_id)?;
        let name = NameDevice { device_id, display_name };
        expect_done(self.propose(WriteProposal::of_session(session, Kind::NameDevice(name))).await?)
    }

    /// Removes devices of the caller, whose sessions end. Devices that the account does not have are no error.
    ///
    /// # Errors
    /// [`RefusalCode::TooLarge`], and the refusals of the proposer.
    pub async fn remove_devices(
        &self,
        session: &CallerSession,
        mut device_ids: Vec<String>,
    ) -> Result<(), RequestRefusal> {
        if device_ids.len() > MAX_REMOVED {
            let message = format!("{} devices are named; remove at most {MAX_REMOVED} at once", device_ids.len());
            return Err(RequestRefusal::new(RefusalCode::TooLarge, message));
        }
        for device_id in &device_ids {
            limits::check_name("device_id", device_id)?;
        }
        // The caller's own device last: its session ends with it.
        device_ids.sort_by_key(|device_id| *device_id == session.device_id);
        for part in device_ids.chunks(MAX_DEVICES_REMOVED) {
            let remove = RemoveDevices { device_ids: part.to_vec() };
            expect_done(self.propose(WriteProposal::of_session(session, Kind::RemoveDevices(remove))).await?)?;
        }
        let _ = self.catch_up_with_leader().await;
        Ok(())
    }

    /// Closes the caller's account for good, and removes its profile and account data if `erase` says so. When this
    /// returns, its sessions have ended; it leaves its rooms within seconds, however many those are.
    ///
    /// # Errors
    /// [`RefusalCode::WrongCredentials`] if the password was changed meanwhile; the refusals of the proposer.
    pub async fn deactivate(
        &self,
        session: &CallerSession,
        verified: VerifiedPassword,
        erase: bool,
    ) -> Result<(), RequestRefusal> {
        let deactivate = Deactivate { password_version: verified.version, erase };
        match self.propose(WriteProposal::of_session(session, Kind::Deactivate(deactivate))).await {
            Ok(outcome) => expect_done(outcome)?,
            // Perhaps by an attempt of this very request, whose outcome was lost on the way.
            Err(refusal) if refusal.code == RefusalCode::Unauthenticated => {
                let localpart = session.localpart.clone();
                let (account, _) =
                    self.read(ReadConsistency::Linearizable, move |view| view.account(&localpart)).await?;
                if !account.is_some_and(|account| account.deactivated) {
                    return Err(refusal);
                }
            }
            Err(refusal) => return Err(refusal),
        }
        let _ = self.catch_up_with_leader().await;
        Ok(())
    }
}
