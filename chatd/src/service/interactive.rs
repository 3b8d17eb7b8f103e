//! Sessions of user-interactive authentication (specification, "User-Interactive Authentication API").
//!
//! Nothing is remembered between the requests: the session that the client sends back says what it is for, until when it
//! is valid and which stages are completed, signed with the cluster's key. Every pod can therefore continue it, also
//! after a restart, and strangers who begin as many sessions as they like occupy nothing.

use super::registration::MAX_TOKEN_BYTES;
use super::signing::{ClusterSigner, SIGNATURE_BYTES};
use super::{ChatService, RequestRefusal};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Time for which a session is valid: people read terms, and look for the letter with their token.
const VALID_FOR_MS: u64 = 60 * 60 * 1000;
/// First byte of a session, so that another form can follow.
const VERSION: u8 = 1;
/// Number of bytes by which a session names its operation: two operations of one client do not collide.
const OPERATION_BYTES: usize = 8;
/// Number of bytes that are signed: version, stages, expiry, operation.
const SIGNED_BYTES: usize = 1 + 1 + 8 + OPERATION_BYTES;
/// Length of a session as text. Anything else is not decoded.
const TEXT_BYTES: usize = ((SIGNED_BYTES + SIGNATURE_BYTES) * 8).div_ceil(6);
/// Character between a session and the registration token that it carries: none of base64.
const TOKEN_FOLLOWS: char = '.';
/// Purpose of the signatures.
const PURPOSE: &str = "user-interactive authentication";

/// Stage of user-interactive authentication. The numbers are part of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AuthStage {
    /// The user gives the password.
    Password = 1,
    /// Nothing is asked for.
    Dummy = 2,
    /// Whoever registers gives a token of the server's administrators.
    RegistrationToken = 4,
    /// Whoever registers accepts the terms of service.
    Terms = 8,
}

impl AuthStage {
    /// Returns the name of the stage in the specification.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "m.login.password",
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
            Self::Terms => "m.login.terms",
        }
    }
}

/// Stages that a session has completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompletedStages(u8);

impl CompletedStages {
    /// Returns these stages and one more.
    #[must_use]
    pub fn with(self, stage: AuthStage) -> Self {
        Self(self.0 | stage as u8)
    }

    /// Returns `true` if the stage is completed.
    #[must_use]
    pub fn contains(self, stage: AuthStage) -> bool {
        self.0 & stage as u8 != 0
    }
}

/// Session that a client brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InteractiveSession {
    /// The session is valid, with these stages completed.
    Valid(CompletedStages),
    /// The session was begun for another operation.
    OtherOperation,
    /// The session has expired, or is none of this server.
    Unknown,
}

impl ChatService {
    /// Returns a new session for an operation, with the stages that are completed already, and the registration token by
    /// which one of them was; empty if none is to be kept.
    ///
    /// # Errors
    /// The refusals of reads and of the proposer.
    pub async fn begin_interactive(
        &self,
        operation: &str,
        completed: CompletedStages,
        token: &str,
    ) -> Result<String, RequestRefusal> {
        let signer = self.signer(PURPOSE).await?;
        let expires_ms = self.now_ms().saturating_add(VALID_FOR_MS);
        let text = encode_session(&signer, &with_token(operation, token), completed, expires_ms);
        Ok(if token.is_empty() { text } else { format!("{text}{TOKEN_FOLLOWS}{token}") })
    }

    /// Recognises a session that a client brought back for an operation.
    ///
    /// # Errors
    /// The refusals of reads and of the proposer.
    pub async fn resume_interactive(
        &self,
        session: &str,
        operation: &str,
    ) -> Result<InteractiveSession, RequestRefusal> {
        let token = token_in_session(session);
        let text = session.split(TOKEN_FOLLOWS).next().unwrap_or_default();
        if text.len() != TEXT_BYTES || token.len() > MAX_TOKEN_BYTES {
            return Ok(InteractiveSession::Unknown);
        }
        let signer = self.signer(PURPOSE).await?;
        Ok(decode_session(&signer, text, &with_token(operation, token), self.now_ms()))
    }
}

/// Returns the registration token in a session; empty if there is none. It counts only if the session is valid.
pub fn token_in_session(session: &str) -> &str {
    session.split_once(TOKEN_FOLLOWS).map_or("", |(_, token)| token)
}

/// Returns the operation of a session that carries a token, so that the signature covers the token as well.
fn with_token(operation: &str, token: &str) -> String {
    if token.is_empty() { operation.to_owned() } else { format!("{operation}\0{token}") }
}

fn operation_digest(operation: &str) -> [u8; OPERATION_BYTES] {
    let digest = Sha256::digest(operation.as_bytes());
    let mut out = [0; OPERATION_BYTES];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = from;
    }
    out
}

fn encode_session(signer: &ClusterSigner, operation: &str, completed: CompletedStages, expires_ms: u64) -> String {
    let mut bytes = Vec::with_capacity(SIGNED_BYTES + SIGNATURE_BYTES);
    bytes.extend_from_slice(&[VERSION, completed.0]);
    bytes.extend_from_slice(&expires_ms.to_be_bytes());
    bytes.extend_from_slice(&operation_digest(operation));
    let signature = signer.sign(&bytes);
    bytes.extend_from_slice(&signature);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode_session(signer: &ClusterSigner, session: &str, operation: &str, now_ms: u64) -> InteractiveSession {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(session) else { return InteractiveSession::Unknown };
    let Some((signed, signature)) = bytes.split_at_checked(SIGNED_BYTES) else { return InteractiveSession::Unknown };
    if !signer.verify(signed, signature) {
        return InteractiveSession::Unknown;
    }
    let Some(([VERSION, completed], rest)) = signed.split_first_chunk::<2>() else {
        return InteractiveSession::Unknown;
    };
    let Some((expires_ms, digest)) = rest.split_first_chunk::<8>() else { return InteractiveSession::Unknown };
    if u64::from_be_bytes(*expires_ms) <= now_ms {
        return InteractiveSession::Unknown;
    }
    if digest != operation_digest(operation) {
        return InteractiveSession::OtherOperation;
    }
    InteractiveSession::Valid(CompletedStages(*completed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(key: u8) -> ClusterSigner {
        ClusterSigner::for_tests(&[key; 32])
    }

    #[test]
    fn a_session_says_what_is_completed_until_it_expires_and_for_its_operation_alone() {
        let stages = CompletedStages::default().with(AuthStage::Terms);
        let session = encode_session(&signer(1), "register", stages, 1000);
        assert_eq!(session.len(), TEXT_BYTES);
        let decoded = |key, operation, now_ms| decode_session(&signer(key), &session, operation, now_ms);
        assert_eq!(decoded(1, "register", 999), InteractiveSession::Valid(stages));
        assert_eq!(decoded(1, "register", 1000), InteractiveSession::Unknown);
        assert_eq!(decoded(1, "delete", 999), InteractiveSession::OtherOperation);
        assert_eq!(decoded(2, "register", 999), InteractiveSession::Unknown);
    }

    #[test]
    fn a_session_is_bound_to_the_token_that_it_carries() {
        let bound = encode_session(&signer(1), &with_token("register", "abc"), CompletedStages::default(), 1000);
        let session = format!("{bound}{TOKEN_FOLLOWS}abc");
        assert_eq!((token_in_session(&session), token_in_session(&bound)), ("abc", ""));
        let decoded = |token| decode_session(&signer(1), &bound, &with_token("register", token), 0);
        assert_eq!(decoded("abc"), InteractiveSession::Valid(CompletedStages::default()));
        assert_eq!([decoded("abd"), decoded("")], [InteractiveSession::OtherOperation; 2]);
    }

    #[test]
    fn no_changed_session_is_accepted() {
        let session = encode_session(&signer(1), "register", CompletedStages::default(), 1000);
        let bytes = URL_SAFE_NO_PAD.decode(&session).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(decode_session(&signer(1), &changed, "register", 0), InteractiveSession::Unknown, "{place}");
        }
        for text in ["", "x", "=", &session[1..]] {
            assert_eq!(decode_session(&signer(1), text, "register", 0), InteractiveSession::Unknown, "{text}");
        }
    }
}
