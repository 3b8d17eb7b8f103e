//! Access tokens: shown once, kept only as their SHA-256 hash. A token carries 256 random bits, so a slow hash would
//! add nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use quorate_core::apply::MADE_BY_POD;
use rand::{TryRngCore as _, rngs::OsRng};
use sha2::{Digest as _, Sha256};

/// Prefix by which secret scanners and people recognise a leaked token ("quorate access token").
const PREFIX: &str = "qat_";
/// Prefix of a refresh token ("quorate refresh token").
const REFRESH_PREFIX: &str = "qrt_";
/// Prefix of a login token ("quorate login token").
const LOGIN_PREFIX: &str = "qlt_";
/// Maximum length of a token, in bytes. Longer strings are not tokens of this server and are not hashed at all.
const MAX_LEN: usize = 128;

/// SHA-256 hash of a token: all that the log and the state know of it.
pub(super) type TokenHash = [u8; 32];

/// A new token and its hash.
pub(super) struct NewToken {
    /// Token for the client, shown once.
    pub(super) token: String,
    /// Hash for the log.
    pub(super) hash: Bytes,
}

/// The operating system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system provides no random bytes")]
pub(super) struct NoRandomness(#[source] rand::rand_core::OsError);

/// Returns random bytes of the operating system.
///
/// # Errors
/// If the operating system gives none.
pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// Makes a new access token.
///
/// # Errors
/// If there is no randomness.
pub(super) fn new_token() -> Result<NewToken, NoRandomness> {
    token_with(PREFIX)
}

/// Makes a new refresh token.
///
/// # Errors
/// If there is no randomness.
pub(super) fn new_refresh_token() -> Result<NewToken, NoRandomness> {
    token_with(REFRESH_PREFIX)
}

/// Makes a new login token.
///
/// # Errors
/// If there is no randomness.
pub(super) fn new_login_token() -> Result<NewToken, NoRandomness> {
    token_with(LOGIN_PREFIX)
}

fn token_with(prefix: &str) -> Result<NewToken, NoRandomness> {
    let token = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()?));
    let hash = Sha256::digest(token.as_bytes()).to_vec().into();
    Ok(NewToken { token, hash })
}

/// Returns the hash of a token that a client presented; `None` if the string cannot be a token.
#[must_use]
pub(super) fn hash_token(token: &str) -> Option<TokenHash> {
    hash_with(PREFIX, token)
}

/// Returns the hash of a refresh token that a client presented; `None` if the string cannot be one.
#[must_use]
pub(super) fn hash_refresh_token(token: &str) -> Option<TokenHash> {
    hash_with(REFRESH_PREFIX, token)
}

/// Returns the hash of a login token that a client presented; `None` if the string cannot be one.
#[must_use]
pub(super) fn hash_login_token(token: &str) -> Option<TokenHash> {
    hash_with(LOGIN_PREFIX, token)
}

fn hash_with(prefix: &str, token: &str) -> Option<TokenHash> {
    let plausible = token.starts_with(prefix) && token.len() <= MAX_LEN;
    plausible.then(|| Sha256::digest(token.as_bytes()).into())
}

/// Makes a device id for a client that named none: ten letters, as clients are used to.
///
/// # Errors
/// If there is no randomness.
pub(super) fn device_id() -> Result<String, NoRandomness> {
    Ok(random_bytes::<10>()?.iter().map(|byte| char::from(b'A' + byte % 26)).collect())
}

/// Makes a transaction id for a write whose client gave none, so that the server's own retries are applied once. The id
/// begins with the time, so that ids sort by age, the oldest first.
///
/// # Errors
/// If there is no randomness.
pub(super) fn transaction_id(now_ms: u64) -> Result<String, NoRandomness> {
    Ok(format!("{MADE_BY_POD}{now_ms:011x}{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_the_hash_it_was_made_with() {
        let made = new_token().unwrap();
        assert_eq!(hash_token(&made.token).unwrap().as_slice(), &made.hash[..]);
        assert_ne!(new_token().unwrap().token, made.token);
    }

    #[test]
    fn strings_that_cannot_be_tokens_are_not_hashed() {
        assert_eq!(hash_token("syt_abc"), None);
        assert_eq!(hash_token(&format!("qat_{}", "x".repeat(1 << 20))), None);
    }
}
