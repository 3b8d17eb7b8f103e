//! Registration of accounts: by anyone, by whoever knows a token, or by administrators with a shared secret.

use super::{AccountPolicy, ChatService, ReadConsistency, RefusalCode, RequestRefusal};
use crate::service::token;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;

/// Longest token that is looked up, in bytes: a file with a secret is not longer.
pub(super) const MAX_TOKEN_BYTES: usize = 4096;
/// Time for which a nonce of the shared secret is valid, as in Synapse.
const NONCE_FOR_MS: u64 = 60 * 1000;
/// Number of random bytes of a nonce.
const NONCE_BYTES: usize = 16;
/// Purpose of the signatures of nonces.
const NONCE_PURPOSE: &str = "nonce of a registration";

/// Approval with which an account is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationApproval {
    /// Nothing was asked for: enough if registration is open to anyone.
    None,
    /// The stages of user-interactive authentication were completed.
    Stages,
    /// The administrators' secret was shown.
    SharedSecret {
        /// `true` if the account may administer the server.
        administrator: bool,
    },
}

/// Token that somebody gave to register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenToken {
    /// The token is good for nothing.
    Unknown,
    /// The token is the one from the configuration.
    Configured,
    /// The token is one that administrators have created, and registering an account uses it up once.
    Counted,
}

/// Registration with the shared secret.
pub struct SecretRegistration<'r> {
    pub nonce: &'r str,
    pub username: &'r str,
    pub password: &'r str,
    pub administrator: bool,
    /// Type of the account, as the caller wrote it.
    pub user_type: Option<&'r str>,
    /// Message authentication code in hexadecimal digits.
    pub mac: &'r str,
}

impl SecretRegistration<'_> {
    /// Returns `true` if the message stands for this registration alone: its parts are told apart by zero bytes.
    fn is_unambiguous(&self) -> bool {
        [self.username, self.password, self.user_type.unwrap_or_default()].iter().all(|part| !part.contains('\0'))
    }

    /// Returns the message that is authenticated: as Synapse has it, the parts separated by zero bytes.
    fn message(&self) -> Vec<u8> {
        let administrator = if self.administrator { "admin" } else { "notadmin" };
        let mut parts = vec![self.nonce, self.username, self.password, administrator];
        parts.extend(self.user_type);
        parts.join("\0").into_bytes()
    }
}

impl ChatService {
    /// Checks that an account may be registered with this approval.
    ///
    /// # Errors
    /// [`RefusalCode::RegistrationClosed`].
    pub fn check_registration(&self, approval: RegistrationApproval) -> Result<(), RequestRefusal> {
        let needs_token = self.account_policy().registration_by_token;
        let allowed = match approval {
            RegistrationApproval::None => {
                self.registration_open() && !needs_token && self.account_policy().terms.is_none()
            }
            RegistrationApproval::Stages => self.registration_open(),
            RegistrationApproval::SharedSecret { .. } => true,
        };
        if allowed {
            return Ok(());
        }
        let message = if self.registration_open() {
            "registration asks for more than this API can: register with a Matrix client"
        } else {
            "registration is closed; ask an administrator for an account"
        };
        Err(RequestRefusal::new(RefusalCode::RegistrationClosed, message))
    }

    /// Returns what a token is good for that somebody gave to register. What this pod has applied is enough: the command
    /// that registers the account decides, and a stranger's question must not reach the leader.
    ///
    /// # Errors
    /// The refusals of reads.
    pub async fn given_token(&self, token: &str) -> Result<GivenToken, RequestRefusal> {
        let AccountPolicy { registration_by_token, registration_token, .. } = self.account_policy();
        if !self.registration_open() || !registration_by_token || token.len() > MAX_TOKEN_BYTES {
            return Ok(GivenToken::Unknown);
        }
        if registration_token.as_ref().is_some_and(|own| own.is(token)) {
            return Ok(GivenToken::Configured);
        }
        let token = token.to_owned();
        let (usable, _) = self.read(ReadConsistency::Local, move |view| view.is_registration_token(&token)).await?;
        Ok(if usable { GivenToken::Counted } else { GivenToken::Unknown })
    }

    /// Returns a nonce for a registration with the shared secret. Any pod recognises it.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`] if there is no shared secret; the refusals of reads and of the proposer.
    pub async fn registration_nonce(&self) -> Result<String, RequestRefusal> {
        self.shared_secret()?;
        let signer = self.signer(NONCE_PURPOSE).await?;
        let random = token::random_bytes::<NONCE_BYTES>().map_err(super::write::no_randomness)?;
        let mut bytes = self.now_ms().saturating_add(NONCE_FOR_MS).to_be_bytes().to_vec();
        bytes.extend_from_slice(&random);
        let signature = signer.sign(&bytes);
        bytes.extend_from_slice(&signature);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Checks a registration with the shared secret.
    ///
    /// # Errors
    /// [`RefusalCode::NotFound`] if there is no shared secret, [`RefusalCode::Invalid`] if the nonce is unknown or has
    /// expired, [`RefusalCode::Forbidden`] if the code is wrong.
    pub async fn check_secret_registration(
        &self,
        registration: &SecretRegistration<'_>,
    ) -> Result<RegistrationApproval, RequestRefusal> {
        let secret = self.shared_secret()?;
        let signer = self.signer(NONCE_PURPOSE).await?;
        let nonce = URL_SAFE_NO_PAD.decode(registration.nonce).unwrap_or_default();
        let signed = nonce.split_at_checked(8 + NONCE_BYTES).filter(|(signed, sig)| signer.verify(signed, sig));
        let expires = signed.and_then(|(signed, _)| signed.first_chunk::<8>()).map(|bytes| u64::from_be_bytes(*bytes));
        if expires.is_none_or(|expires| expires <= self.now_ms()) {
            return Err(RequestRefusal::invalid("the nonce is unknown or has expired: ask for another one"));
        }
        if !registration.is_unambiguous() {
            return Err(RequestRefusal::invalid("name, password and type must not contain a zero byte"));
        }
        let mac = decode_hex(registration.mac);
        // The name and password are part of the message: whoever repeats it gains nothing, as the name is taken by then.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        if hmac::verify(&key, &registration.message(), &mac).is_err() {
            return Err(RequestRefusal::new(RefusalCode::Forbidden, "the code was not made with the shared secret"));
        }
        Ok(RegistrationApproval::SharedSecret { administrator: registration.administrator })
    }

    fn shared_secret(&self) -> Result<&super::policy::SecretText, RequestRefusal> {
        self.account_policy().shared_secret.as_ref().ok_or_else(|| {
            let message = "this server has no secret for registrations; set accounts.sharedSecretFile";
            RequestRefusal::new(RefusalCode::NotFound, message)
        })
    }
}

/// Decodes hexadecimal digits; empty if they are none.
fn decode_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_decoded_and_others_are_nothing() {
        assert_eq!(decode_hex("00fF7a"), [0, 255, 122]);
        for bad in ["0", "0g", "é", "+1"] {
            assert_eq!(decode_hex(bad), Vec::<u8>::new(), "{bad}");
        }
    }

    #[test]
    fn the_message_is_that_of_synapse() {
        let registration = SecretRegistration {
            nonce: "n",
            username: "u",
            password: "p",
            administrator: true,
            user_type: None,
            mac: "",
        };
        assert_eq!(registration.message(), b"n\0u\0p\0admin");
        let bot = SecretRegistration { user_type: Some("bot"), administrator: false, ..registration };
        assert_eq!(bot.message(), b"n\0u\0p\0notadmin\0bot");
        // The code for a user with the type `admin` must not make an administrator.
        let typed = SecretRegistration { user_type: Some("admin"), ..bot };
        let forged = SecretRegistration { password: "p\0notadmin", administrator: true, user_type: None, ..typed };
        assert_eq!(typed.message(), forged.message());
        assert!(typed.is_unambiguous() && !forged.is_unambiguous());
    }
}
