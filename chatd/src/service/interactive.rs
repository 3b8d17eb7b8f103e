//! Sessions of user-interactive authentication (specification, "User-Interactive Authentication API").
//!
//! Nothing is remembered between the requests: the session that the client sends back says what it is for, until when it
//! is valid and which stages are completed, signed with the cluster's key. Every pod can therefore continue it, also
//! after a restart, and strangers who begin as many sessions as they like occupy nothing.

use super::registration::MAX_TOKEN_BYTES;
use super::signing::{ClusterSigner, SIGNATURE_BYTES};
use super::{ChatService, ReadConsistency, RequestRefusal};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use quorate_core::query::StateView;
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
    /// The user gives a token of the identity provider.
    ProviderToken = 16,
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
            Self::ProviderToken => "org.matrix.login.jwt",
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

/// A dialogue in which an account is registered, as the log knows it: by a digest of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationDialogue {
    digest: [u8; 32],
    /// Time at which the session expires, in milliseconds since the Unix epoch.
    pub(super) expires_ms: u64,
}

impl RegistrationDialogue {
    fn of_session(session: &str) -> Option<Self> {
        let text = session.split(TOKEN_FOLLOWS).next().unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let expires_ms = u64::from_be_bytes(*bytes.get(2..)?.first_chunk::<8>()?);
        Some(Self { digest: Sha256::digest(session.as_bytes()).into(), expires_ms })
    }

    /// Returns the digest for the log.
    pub(super) fn name(&self) -> &[u8] {
        self.digest.first_chunk::<16>().map_or(&[][..], |name| name.as_slice())
    }

    /// Returns the id of the device for a client that names none: the same whenever the client asks again.
    #[must_use]
    pub fn device_id(&self) -> String {
        // As `token::device_id` does, from bytes that the log does not know.
        self.digest.iter().skip(16).take(10).map(|byte| char::from(b'A' + byte % 26)).collect()
    }

    /// Returns the name of the account for a client that names none: the same whenever the client asks again.
    #[must_use]
    pub fn username(&self) -> String {
        let digest = Sha256::digest(self.digest);
        let number = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        format!("user-{number:016x}")
    }
}

impl ChatService {
    /// Recognises the dialogue in which a client registers an account; `None` if its session is not valid.
    ///
    /// # Errors
    /// The refusals of reads and of the proposer.
    pub async fn registration_dialogue(
        &self,
        session: &str,
        operation: &str,
    ) -> Result<Option<RegistrationDialogue>, RequestRefusal> {
        let known = self.resume_interactive(session, operation).await?;
        let is_valid = matches!(known, InteractiveSession::Valid(_));
        Ok(RegistrationDialogue::of_session(session).filter(|_| is_valid))
    }

    /// Returns the localpart of the account that was registered in a dialogue, if there is one.
    ///
    /// # Errors
    /// The refusals of reads.
    pub async fn registered_in(
        &self,
        dialogue: RegistrationDialogue,
        consistency: ReadConsistency,
    ) -> Result<Option<String>, RequestRefusal> {
        let question = move |view: &StateView<'_>| view.registered_in(dialogue.expires_ms, dialogue.name());
        Ok(self.read(consistency, question).await?.0)
    }

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
    fn a_dialogue_has_the_same_names_whenever_it_comes_back() {
        let session = encode_session(&signer(1), "register", CompletedStages::default(), 1000);
        let dialogue = RegistrationDialogue::of_session(&session).unwrap();
        assert_eq!((dialogue.expires_ms, dialogue.name().len()), (1000, 16));
        assert_eq!(RegistrationDialogue::of_session(&session), Some(dialogue));
        let other = RegistrationDialogue::of_session(&format!("{session}{TOKEN_FOLLOWS}abc")).unwrap();
        assert_eq!((other.expires_ms, dialogue.device_id().len()), (1000, 10));
        assert_ne!((other.name(), other.username()), (dialogue.name(), dialogue.username()));
        assert!(dialogue.username().starts_with("user-") && dialogue.username().len() == 21);
        for bad in ["", "AAAA", "="] {
            assert_eq!(RegistrationDialogue::of_session(bad), None, "{bad}");
        }
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
