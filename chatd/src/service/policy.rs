//! Rules for accounts from the configuration.

use super::jwt::JwtPolicy;
use std::fmt;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// Text that must not be shown, such as a token that lets people register. It is compared by [`SecretText::is`] alone, for
/// whose time see there.
#[derive(Clone)]
pub struct SecretText(String);

impl SecretText {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the bytes of the secret.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns `true` if the other text is the secret. The time it takes says nothing about the secret but its length.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// Terms of service that people accept when they register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsOfService {
    /// Address of the text.
    pub url: String,
    /// Version of the text.
    pub version: String,
}

/// Rules for accounts, and what clients are told before they log in.
#[derive(Clone, Debug, Default)]
pub struct AccountPolicy {
    /// `true` if whoever registers must know a token: the one from the configuration, or one that administrators have
    /// created.
    pub registration_by_token: bool,
    /// Token from the configuration; `None` if there is none.
    pub registration_token: Option<SecretText>,
    /// Secret with which administrators register accounts; `None` if they cannot.
    pub shared_secret: Option<SecretText>,
    /// Localpart of the account that sends notices of the server.
    pub notices_user: String,
    /// Terms that people accept when they register.
    pub terms: Option<TermsOfService>,
    /// Address under which clients reach this server.
    pub base_url: Option<String>,
    /// Lifetime of access tokens that are refreshed.
    pub access_token_lifetime: Duration,
    /// Rules for tokens of an identity provider; `None` if none are accepted.
    pub jwt: Option<JwtPolicy>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_and_not_shown() {
        let secret = SecretText::new("Eisvogel".into());
        assert!(secret.is("Eisvogel") && !secret.is("Eisvoge") && !secret.is(""));
        assert!(!format!("{secret:?}").contains("Eisvogel"));
    }
}
