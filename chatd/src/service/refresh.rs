//! Refresh tokens: a client exchanges one for new tokens of its session.

use super::session::saturating_millis;
use super::write::{WriteProposal, no_randomness, unexpected_outcome};
use super::{ChatService, ReadConsistency, RefusalCode, RequestRefusal, ServedFreshness, token};
use bytes::Bytes;
use quorate_core::proto::log::{RefreshSession, command::Kind, outcome};
use quorate_core::query::StateView;
use std::net::IpAddr;
use std::time::Duration;

/// New tokens of a session.
pub struct RefreshedTokens {
    /// Access token.
    pub access_token: String,
    /// Refresh token, for the next time.
    pub refresh_token: String,
    /// Lifetime of the access token.
    pub expires_in: Duration,
}

impl ChatService {
    /// Exchanges a refresh token for new tokens. The old ones remain valid until one of the new ones is used. `address`
    /// is the caller's address as rate limits count it.
    ///
    /// # Errors
    /// [`RefusalCode::Unauthenticated`] if the token is unknown, [`RefusalCode::SessionExpired`],
    /// [`RefusalCode::LimitExceeded`] and the refusals of the proposer.
    pub async fn refresh(&self, refresh_token: &str, address: IpAddr) -> Result<RefreshedTokens, RequestRefusal> {
        let unknown = || RequestRefusal::new(RefusalCode::Unauthenticated, "the refresh token is unknown; log in");
        let hash = token::hash_refresh_token(refresh_token).ok_or_else(unknown)?;
        // A token that was made up must not cost an entry of the log for each attempt.
        self.admit_stranger(address)?;
        let question = move |view: &StateView<'_>| view.is_refresh_token(&hash);
        let (known, freshness) = self.read(ReadConsistency::Linearizable, question).await?;
        // Without a quorum this pod may not know it yet; the proposal then says what is wrong.
        if !known && freshness != ServedFreshness::Stale {
            return Err(unknown());
        }
        let access = token::new_token().map_err(no_randomness)?;
        let refresh = token::new_refresh_token().map_err(no_randomness)?;
        let lifetime = self.account_policy().access_token_lifetime;
        let command = RefreshSession {
            refresh_hash: Bytes::copy_from_slice(&hash),
            new_token_hash: access.hash,
            new_refresh_hash: refresh.hash,
            access_lifetime_ms: saturating_millis(lifetime),
            lifetime_ms: saturating_millis(self.session_lifetime()),
        };
        match self.propose(WriteProposal::envelope(Kind::RefreshSession(command))).await?.kind {
            Some(outcome::Kind::SessionOpened(_)) => {
                Ok(RefreshedTokens { access_token: access.token, refresh_token: refresh.token, expires_in: lifetime })
            }
            other => Err(unexpected_outcome(other.as_ref())),
        }
    }
}
