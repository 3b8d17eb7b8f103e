//! Authentication: from an access token to a session, and how sessions stay alive while they are used.

use super::refusal::ELECTION_WAIT;
use super::token::{self, TokenHash};
use super::{ChatService, RefusalCode, RequestRefusal, ServedFreshness, write::WriteProposal};
use bytes::Bytes;
use quorate_core::proto::log::{ConfirmRefresh, Envelope, ExtendSession, command::Kind};
use quorate_core::query::{SessionState, StateView};
use quorate_wire::whole_millis;
use std::sync::Arc;
use std::time::Duration;

/// A caller whose token was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerSession {
    /// Localpart of the account.
    pub localpart: String,
    /// Full Matrix user id, `@localpart:server`.
    pub user_id: String,
    /// Device that the token belongs to.
    pub device_id: String,
    /// Time at which the session ends unless it is used, in milliseconds since the Unix epoch; 0 means never.
    pub expires_ms: u64,
    /// SHA-256 hash of the session's token.
    pub token_hash: TokenHash,
}

/// Maximum number of extensions under way. Extensions are never urgent (half of a lifetime is left): when so many are
/// under way, later requests start the rest.
pub(super) const EXTENSIONS_AT_ONCE: usize = 256;

/// Maximum number of concurrent session lookups in the store. A lookup takes microseconds unless the disk has to be
/// read, and then more at a time would not make the disk faster.
pub(super) const LOOKS_AT_ONCE: usize = 16;

impl ChatService {
    /// Returns the session of an access token.
    ///
    /// # Errors
    /// [`RefusalCode::Unauthenticated`], [`RefusalCode::SessionExpired`], [`RefusalCode::UserLocked`],
    /// [`RefusalCode::Unavailable`].
    pub async fn authenticate(&self, access_token: &str) -> Result<CallerSession, RequestRefusal> {
        // What cannot be a token of this server costs neither a hash nor a lookup.
        let hash = token::hash_token(access_token).ok_or_else(unknown_token)?;
        if let Some(session) = self.recall(hash) {
            return Ok(session);
        }
        // No question to the leader: a logout elsewhere takes effect on reads here once it is applied, and on writes
        // in the log at once.
        if let SessionLookup::Alive(session) = self.look_up_apart(hash).await? {
            return Ok(session);
        }
        // The login or extension may have been acknowledged by another pod and not be applied here yet.
        let freshness = self.catch_up_with_leader().await?;
        match self.look_up_apart(hash).await? {
            // A client forgets a session that is called unknown, so a pod that may merely be behind must not say so.
            SessionLookup::Locked(_) | SessionLookup::Expired | SessionLookup::Unknown
                if freshness == ServedFreshness::Stale =>
            {
                Err(RequestRefusal::unavailable(
                    "without a quorum this server cannot check the session; try again, or use another server",
                    ELECTION_WAIT,
                ))
            }
            found => found.alive(),
        }
    }

    /// Returns the session of an access token even if the account is locked: for ending the session, which a locked
    /// account may still do.
    ///
    /// # Errors
    /// Those of [`ChatService::authenticate`], except for [`RefusalCode::UserLocked`].
    pub async fn authenticate_even_locked(&self, access_token: &str) -> Result<CallerSession, RequestRefusal> {
        match self.authenticate(access_token).await {
            Err(refusal) if refusal.code == RefusalCode::UserLocked => {
                let hash = token::hash_token(access_token).ok_or_else(unknown_token)?;
                match self.look_up_apart(hash).await? {
                    SessionLookup::Locked(session) => Ok(session),
                    found => found.alive(),
                }
            }
            other => other,
        }
    }

    /// Returns the session as it stands on this pod, for streams that outlive the request that opened them.
    ///
    /// # Errors
    /// [`RefusalCode::Unauthenticated`] or [`RefusalCode::SessionExpired`] once the session has ended.
    pub fn still_valid(&self, session: &CallerSession) -> Result<CallerSession, RequestRefusal> {
        if let Some(session) = self.recall(session.token_hash) {
            return Ok(session);
        }
        // Reads a row on the caller's thread: streams advance their cursors before they ask, and must not be dropped in
        // between.
        self.look_up(session.token_hash)?.alive()
    }

    /// Returns the same as [`ChatService::still_valid`], for callers that may wait: a row is read off the runtime's
    /// threads.
    pub async fn revalidate(&self, session: &CallerSession) -> Result<CallerSession, RequestRefusal> {
        match self.recall(session.token_hash) {
            Some(session) => Ok(session),
            None => self.look_up_apart(session.token_hash).await?.alive(),
        }
    }

    /// Returns the time by which sessions are judged, in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.inner.parts.cluster.time().now_ms()
    }

    /// Returns `true` if this pod knows the token as that of a living session. Unlike [`ChatService::authenticate`] it asks
    /// no other pod, so that a made-up token costs one lookup.
    pub async fn recognises(&self, access_token: &str) -> bool {
        let Some(hash) = token::hash_token(access_token) else { return false };
        self.recall(hash).is_some() || matches!(self.look_up_apart(hash).await, Ok(SessionLookup::Alive(_)))
    }

    /// Looks the session up in memory, without waiting. `None` for a session that has ended, or is due for an
    /// extension or confirmation, so that it is looked up in the rows.
    fn recall(&self, hash: TokenHash) -> Option<CallerSession> {
        let parts = &self.inner.parts;
        let found = parts.feed.sessions().get(&hash)?;
        let now_ms = self.now_ms();
        let lasts = found.expires_ms == 0 || (found.expires_ms > now_ms && !found.wants_extension(now_ms));
        let stands = lasts && !found.confirms_refresh;
        stands.then(|| to_caller_session(hash, found))
    }

    /// Looks the session up in the rows, where the disk may have to be waited for: off the runtime's threads and few at
    /// a time, so that somebody who tries tokens occupies only these few.
    async fn look_up_apart(&self, hash: TokenHash) -> Result<SessionLookup, RequestRefusal> {
        if !self.inner.parts.rows.may_block() {
            return self.look_up(hash);
        }
        let turn =
            Arc::clone(&self.inner.session_looks).acquire_owned().await.map_err(|_| RequestRefusal::stopping())?;
        let service = self.clone();
        let found = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            service.look_up(hash)
        });
        found.await.map_err(|error| {
            tracing::error!(%error, "failed to look up a session");
            RequestRefusal::internal()
        })?
    }

    fn look_up(&self, hash: TokenHash) -> Result<SessionLookup, RequestRefusal> {
        let parts = &self.inner.parts;
        let known = parts.feed.sessions();
        let time = parts.cluster.time();
        // Before the view is opened: if the session changes afterwards, what is put here later counts for nothing.
        let ticket = known.ticket();
        let rows = parts.rows.rows();
        let view = StateView::open(&*rows)?;
        let now_ms = time.now_after(view.time_ms());
        Ok(match view.session(&hash, now_ms)? {
            SessionState::Unknown => SessionLookup::Unknown,
            SessionState::Expired => SessionLookup::Expired,
            SessionState::Locked(found) => SessionLookup::Locked(to_caller_session(hash, found)),
            SessionState::Alive(found) => {
                if found.wants_extension(now_ms) {
                    self.extend(hash, &found.localpart, &found.device_id);
                }
                if found.confirms_refresh {
                    self.confirm_refresh(hash, &found.localpart, &found.device_id);
                }
                known.put(hash, found.clone(), ticket);
                SessionLookup::Alive(to_caller_session(hash, found))
            }
        })
    }

    /// Starts an extension.
    fn extend(&self, hash: TokenHash, localpart: &str, device_id: &str) {
        let extension = Kind::ExtendSession(ExtendSession {
            token_hash: Bytes::copy_from_slice(&hash),
            lifetime_ms: saturating_millis(self.session_lifetime()),
        });
        self.propose_about_session(hash, localpart, device_id, extension);
    }

    /// Starts the removal of the tokens that this one replaced, as extensions are started.
    fn confirm_refresh(&self, hash: TokenHash, localpart: &str, device_id: &str) {
        let confirm = Kind::ConfirmRefresh(ConfirmRefresh { token_hash: Bytes::copy_from_slice(&hash) });
        self.propose_about_session(hash, localpart, device_id, confirm);
    }

    /// Proposes a command about a session in the background, unless one is under way. A failure costs nothing: the next
    /// request starts another one.
    fn propose_about_session(&self, hash: TokenHash, localpart: &str, device_id: &str, kind: Kind) {
        if !self.inner.extensions.begin(hash) {
            return;
        }
        let service = self.clone();
        let envelope =
            Envelope { user: localpart.to_owned(), device_id: device_id.to_owned(), ..WriteProposal::envelope(kind) };
        // The request does not wait for it: the session is alive either way.
        tokio::spawn(async move {
            if let Err(refusal) = service.propose(envelope).await {
                tracing::debug!(%refusal, "failed to extend or confirm a session");
            }
            service.inner.extensions.end(&hash);
        });
    }
}

enum SessionLookup {
    Alive(CallerSession),
    /// The account is locked.
    Locked(CallerSession),
    Expired,
    Unknown,
}

impl SessionLookup {
    fn alive(self) -> Result<CallerSession, RequestRefusal> {
        match self {
            Self::Alive(session) => Ok(session),
            Self::Locked(_) => Err(RequestRefusal::new(
                RefusalCode::UserLocked,
                "an administrator has locked this account; ask one to unlock it",
            )),
            Self::Expired => Err(RequestRefusal::new(
                RefusalCode::SessionExpired,
                "the session expired after too long without use; log in again",
            )),
            Self::Unknown => Err(unknown_token()),
        }
    }
}

fn to_caller_session(hash: TokenHash, found: quorate_core::query::LiveSession) -> CallerSession {
    let quorate_core::query::LiveSession { localpart, user_id, device_id, expires_ms, .. } = found;
    CallerSession { localpart, user_id, device_id, expires_ms, token_hash: hash }
}

fn unknown_token() -> RequestRefusal {
    RequestRefusal::new(RefusalCode::Unauthenticated, "the access token is unknown; log in")
}

pub(super) fn saturating_millis(duration: Duration) -> u64 {
    whole_millis(duration)
}
