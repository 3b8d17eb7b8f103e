//! Signatures on what clients bring back, with a key that all pods share: any pod recognises what another one, or itself
//! before a restart, has given out, and nothing has to be remembered for strangers.

use super::write::{WriteProposal, no_randomness};
use super::{ChatService, ReadConsistency, RequestRefusal, token};
use bytes::Bytes;
use quorate_core::apply::SIGNING_KEY_BYTES;
use quorate_core::proto::log::{KeepSigningKey, command::Kind};
use ring::hmac;

/// Number of bytes of a signature: 128 bits, which nobody guesses.
pub(super) const SIGNATURE_BYTES: usize = 16;

/// Key of the whole cluster for signatures of one purpose.
pub(super) struct ClusterSigner {
    key: hmac::Key,
    purpose: &'static str,
}

impl ClusterSigner {
    fn new(key: &[u8], purpose: &'static str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), purpose }
    }

    #[cfg(test)]
    pub(super) fn for_tests(key: &[u8]) -> Self {
        Self::new(key, "tests")
    }

    /// Returns the signature of a message. The purpose is part of it, so that nothing signed for one purpose counts for
    /// another.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(self.purpose.as_bytes());
        context.update(&[0]);
        context.update(message);
        let tag = context.sign();
        let mut out = [0; SIGNATURE_BYTES];
        for (to, from) in out.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        out
    }

    /// Returns `true` if the signature is that of the message.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.sign(message).as_slice(), signature).into()
    }
}

impl ChatService {
    /// Returns the signer for a purpose. The first call in the life of the cluster makes the key.
    ///
    /// # Errors
    /// The refusals of reads and of the proposer.
    pub(super) async fn signer(&self, purpose: &'static str) -> Result<ClusterSigner, RequestRefusal> {
        // The key never changes, so that one which is here needs no question to the leader.
        if let Some(key) = self.kept_key(ReadConsistency::Local).await? {
            return Ok(ClusterSigner::new(&key, purpose));
        }
        if let Some(key) = self.kept_key(ReadConsistency::Linearizable).await? {
            return Ok(ClusterSigner::new(&key, purpose));
        }
        let key = token::random_bytes::<SIGNING_KEY_BYTES>().map_err(no_randomness)?;
        let keep = KeepSigningKey { key: Bytes::copy_from_slice(&key) };
        self.propose(WriteProposal::envelope(Kind::KeepSigningKey(keep))).await?;
        // Perhaps another pod's: the first one counts.
        let key = self.kept_key(ReadConsistency::Linearizable).await?.ok_or_else(|| {
            tracing::error!("the signing key was kept, and is not there");
            RequestRefusal::internal()
        })?;
        Ok(ClusterSigner::new(&key, purpose))
    }

    async fn kept_key(&self, consistency: ReadConsistency) -> Result<Option<Bytes>, RequestRefusal> {
        let (key, _) = self.read(consistency, |view| view.signing_key()).await?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_for_its_message_key_and_purpose() {
        let signer = ClusterSigner::new(&[1; 32], "a");
        let signature = signer.sign(b"message");
        assert!(signer.verify(b"message", &signature));
        assert!(!signer.verify(b"other", &signature) && !signer.verify(b"message", &signature[1..]));
        assert!(!ClusterSigner::new(&[2; 32], "a").verify(b"message", &signature));
        assert!(!ClusterSigner::new(&[1; 32], "b").verify(b"message", &signature));
    }
}
