//! Logins with JSON Web Tokens (RFC 7519) of an identity provider, as Synapse accepts them (`org.matrix.login.jwt`).
//!
//! A token is an object of claims, signed by the provider. The algorithm comes from the configuration, never from the
//! token, which could otherwise choose one that anybody can sign with.

use super::policy::SecretText;
use super::{RefusalCode, RequestRefusal};
use crate::config::JwtAlgorithm;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use webpki::RawPublicKeyEntity;

/// Longest token in bytes; tokens of providers with many claims have some 2 KiB.
const MAX_BYTES: usize = 8192;

/// Key that verifies tokens.
#[derive(Clone, Debug)]
pub enum JwtKey {
    /// Shared secret, for [`JwtAlgorithm::Hs256`].
    Secret(SecretText),
    /// Public key of the provider, for the other algorithms.
    Public(JwtAlgorithm, SubjectPublicKeyInfoDer<'static>),
}

impl JwtKey {
    /// Reads the key of an algorithm: the secret as text, a public key as PEM.
    ///
    /// # Errors
    /// A description of what the file should hold.
    pub fn read(algorithm: JwtAlgorithm, text: &str) -> Result<Self, String> {
        if algorithm == JwtAlgorithm::Hs256 {
            return Ok(Self::Secret(SecretText::new(text.to_owned())));
        }
        let wrong = |_| "it holds no public key in PEM form (BEGIN PUBLIC KEY)".to_owned();
        let key = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(wrong)?;
        let fits = RawPublicKeyEntity::try_from(&key).is_ok();
        fits.then_some(Self::Public(algorithm, key)).ok_or_else(|| "its public key cannot be read".into())
    }

    fn algorithm(&self) -> JwtAlgorithm {
        match self {
            Self::Secret(_) => JwtAlgorithm::Hs256,
            Self::Public(algorithm, _) => *algorithm,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, key) = match self {
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                return hmac::verify(&key, message, signature).is_ok();
            }
            Self::Public(algorithm, key) => (*algorithm, key),
        };
        let Ok(key) = RawPublicKeyEntity::try_from(key) else { return false };
        let verify = |by: &dyn SignatureVerificationAlgorithm, signature: &[u8]| {
            key.verify_signature(by, message, signature).is_ok()
        };
        match algorithm {
            JwtAlgorithm::Rs256 => verify(webpki::ring::RSA_PKCS1_2048_8192_SHA256, signature),
            JwtAlgorithm::EdDsa => verify(webpki::ring::ED25519, signature),
            JwtAlgorithm::Es256 => {
                fixed_to_der(signature).is_some_and(|der| verify(webpki::ring::ECDSA_P256_SHA256, &der))
            }
            JwtAlgorithm::Hs256 => false,
        }
    }
}

/// Converts a signature of ECDSA from the two numbers of RFC 7518 to the ASN.1 sequence of certificates.
fn fixed_to_der(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(32).filter(|(_, s)| s.len() == 32)?;
    let mut body = Vec::with_capacity(70);
    for number in [r, s] {
        let first = number.iter().position(|byte| *byte != 0)?;
        let number = number.get(first..)?;
        // A leading bit would make the number negative.
        let sign: &[u8] = if number.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
        body.extend_from_slice(&[0x02, u8::try_from(sign.len() + number.len()).ok()?]);
        body.extend_from_slice(sign);
        body.extend_from_slice(number);
    }
    let mut out = vec![0x30, u8::try_from(body.len()).ok()?];
    out.append(&mut body);
    Some(out)
}

/// Rules for tokens of the identity provider.
#[derive(Clone, Debug)]
pub struct JwtPolicy {
    /// Key of the provider.
    pub key: JwtKey,
    /// Issuer that tokens must name; `None` if it does not matter.
    pub issuer: Option<String>,
    /// Audiences of which tokens must name one; empty if they do not matter.
    pub audiences: Vec<String>,
    /// Difference between the clocks of the provider and of this server that is tolerated.
    pub leeway: Duration,
}

#[derive(Deserialize)]
struct JwtHeader {
    alg: String,
    /// Extensions that a reader must understand; this one knows none.
    #[serde(default)]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct JwtClaims {
    sub: Option<String>,
    iss: Option<Value>,
    aud: Option<Value>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

impl JwtPolicy {
    /// Returns the subject of a token that is valid at `now_ms`.
    ///
    /// # Errors
    /// [`RefusalCode::WrongCredentials`] with what is wrong.
    pub fn subject(&self, token: &str, now_ms: u64) -> Result<String, RequestRefusal> {
        self.checked_subject(token, now_ms)
            .map_err(|why| RequestRefusal::new(RefusalCode::WrongCredentials, format!("the token is not valid: {why}")))
    }

    fn checked_subject(&self, token: &str, now_ms: u64) -> Result<String, &'static str> {
        if token.len() > MAX_BYTES {
            return Err("it is too long");
        }
        let malformed = "it is not a JSON Web Token";
        let (message, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = message.split_once('.').ok_or(malformed)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        let header: JwtHeader = serde_json::from_slice(&decoded(header)?).map_err(|_| malformed)?;
        if header.alg != self.key.algorithm().name() {
            return Err("it is signed with another algorithm");
        }
        if header.crit.is_some() {
            return Err("it has extensions that this server does not know");
        }
        if !self.key.verify(message.as_bytes(), &decoded(signature)?) {
            return Err("its signature is wrong");
        }
        // Only now: nothing that anybody could write is looked into.
        let claims: JwtClaims = serde_json::from_slice(&decoded(claims)?).map_err(|_| "its claims cannot be read")?;
        self.check_times(&claims, now_ms)?;
        self.check_parties(&claims)?;
        claims.sub.filter(|subject| !subject.is_empty()).ok_or("it names no subject")
    }

    fn check_times(&self, claims: &JwtClaims, now_ms: u64) -> Result<(), &'static str> {
        let now = Duration::from_millis(now_ms).as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        if claims.exp.is_some_and(|expires| now >= expires + leeway) {
            return Err("it has expired");
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|from| now + leeway < from) {
            return Err("it is not valid yet");
        }
        Ok(())
    }

    fn check_parties(&self, claims: &JwtClaims) -> Result<(), &'static str> {
        if let Some(issuer) = &self.issuer
            && claims.iss.as_ref().and_then(Value::as_str) != Some(issuer.as_str())
        {
            return Err("it has another issuer");
        }
        let is_meant = |audience: &Value| self.audiences.iter().any(|own| audience.as_str() == Some(own.as_str()));
        let meant = match &claims.aud {
            _ if self.audiences.is_empty() => true,
            Some(Value::Array(all)) => all.iter().any(is_meant),
            Some(one) => is_meant(one),
            None => false,
        };
        if meant { Ok(()) } else { Err("it is meant for another audience") }
    }
}

#[cfg(test)]
mod tests;
