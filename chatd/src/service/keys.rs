//! Keys for end-to-end encryption: uploads and claims. What may be uploaded is decided in apply, so that it is decided
//! once, whichever pods are asked at the same time.

use super::write::{WriteProposal, expect_done, unexpected_outcome};
use super::{CallerSession, ChatService, RequestRefusal};
use quorate_core::apply::{MAX_CLAIMS, MAX_SIGNATURES};
use quorate_core::proto::log::outcome::Kind;
use quorate_core::proto::log::{
    ClaimKeys, ClaimedKey, KeyClaim, KeyCount, PutDeviceKeys, PutSignatures, PutSigningKeys, SignatureInput, command,
};

/// Maximum number of keys of one request: the devices of a large room. A client that needs more asks again.
pub(crate) const MAX_CLAIMED: usize = 2048;

impl ChatService {
    /// Publishes keys of the caller's device and returns how many one-time keys it has.
    ///
    /// # Errors
    /// [`super::RefusalCode::KeyExists`], [`super::RefusalCode::BadJson`], [`super::RefusalCode::Invalid`],
    /// [`super::RefusalCode::TooLarge`] and the refusals of the proposer.
    pub async fn put_device_keys(
        &self,
        session: &CallerSession,
        put: PutDeviceKeys,
    ) -> Result<Vec<KeyCount>, RequestRefusal> {
        match self.propose(WriteProposal::of_session(session, command::Kind::PutDeviceKeys(put))).await?.kind {
            Some(Kind::KeysPut(put)) => Ok(put.counts),
            other => Err(unexpected_outcome(other.as_ref())),
        }
    }

    /// Takes one-time keys. Claims for which there are none are left out.
    ///
    /// # Errors
    /// The refusals of the proposer, if no key was taken at all. Keys that were taken are returned in any case: they are
    /// given to nobody else.
    pub async fn claim_keys(
        &self,
        session: &CallerSession,
        claims: &[KeyClaim],
    ) -> Result<Vec<ClaimedKey>, RequestRefusal> {
        let mut keys = Vec::new();
        for part in claims.chunks(MAX_CLAIMS) {
            let claim = command::Kind::ClaimKeys(ClaimKeys { claims: part.to_vec() });
            match self.propose(WriteProposal::of_session(session, claim)).await {
                Ok(outcome) => match outcome.kind {
                    Some(Kind::KeysClaimed(claimed)) => keys.extend(claimed.keys),
                    other => return Err(unexpected_outcome(other.as_ref())),
                },
                Err(refusal) if keys.is_empty() => return Err(refusal),
                Err(_) => break,
            }
        }
        Ok(keys)
    }

    /// Publishes cross-signing keys of the caller.
    ///
    /// # Errors
    /// [`super::RefusalCode::Forbidden`] if they would replace others without the password, and those of
    /// [`ChatService::put_device_keys`].
    pub async fn put_signing_keys(&self, session: &CallerSession, put: PutSigningKeys) -> Result<(), RequestRefusal> {
        expect_done(self.propose(WriteProposal::of_session(session, command::Kind::PutSigningKeys(put))).await?)
    }

    /// Adds signatures that were verified, and returns the places of those whose key was replaced meanwhile.
    ///
    /// # Errors
    /// The refusals of the proposer.
    pub async fn put_signatures(
        &self,
        session: &CallerSession,
        signatures: &[SignatureInput],
    ) -> Result<Vec<usize>, RequestRefusal> {
        let mut outdated = Vec::new();
        for (part, signatures) in signatures.chunks(MAX_SIGNATURES).enumerate() {
            let put = command::Kind::PutSignatures(PutSignatures { signatures: signatures.to_vec() });
            match self.propose(WriteProposal::of_session(session, put)).await?.kind {
                Some(Kind::SignaturesPut(put)) => {
                    let places = put.outdated.into_iter().filter_map(|place| usize::try_from(place).ok());
                    outdated.extend(places.map(|place| part * MAX_SIGNATURES + place));
                }
                other => return Err(unexpected_outcome(other.as_ref())),
            }
        }
        Ok(outdated)
    }
}
