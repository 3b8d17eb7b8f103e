//! Verification of the signatures that users make with their cross-signing keys (Matrix specification,
//! "Cross-signing"). A signature is kept only if it is valid and signs a key that the server has.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use quorate_core::content;
use quorate_core::id;
use quorate_core::proto::log::SignatureInput;
use quorate_core::query::{QueryError, SigningUsage, StateView, StoredKey};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

/// Unpadded base64, as keys are written; padding is no fault.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Algorithm of keys that sign.
const SIGNING: &str = "ed25519:";

/// Signed key that a client uploads.
#[derive(Clone, Debug)]
pub struct SignatureOffer {
    /// Localpart of the user whose key is signed.
    pub localpart: String,
    /// Device id, or public master key.
    pub target: String,
    /// JSON object with the key and its signatures.
    pub json: Bytes,
}

/// Reason why a signature is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureFault {
    /// There is no such key.
    UnknownKey,
    /// The signed key is not the one that was published.
    OtherKey,
    /// No signature of the key that has to sign, or a wrong one.
    Invalid,
}

impl SignatureFault {
    /// Returns a sentence for the caller.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownKey => "There is no such device or master key.",
            Self::OtherKey => "The signed key is not the one that was published.",
            Self::Invalid => "The signature of your cross-signing key is missing or wrong.",
        }
    }
}

/// Cross-signing keys: those of an upload, or those that an account has.
#[derive(Clone, Debug, Default)]
pub struct SigningKeys {
    pub master: Option<Bytes>,
    pub self_signing: Option<Bytes>,
    pub user_signing: Option<Bytes>,
}

impl SigningKeys {
    /// Returns the keys of an account.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn of_account(view: &StateView<'_>, localpart: &str) -> Result<Self, QueryError> {
        let read = |usage| Ok::<_, QueryError>(view.cross_signing_key(localpart, usage)?.map(|key| key.json));
        Ok(Self {
            master: read(SigningUsage::Master)?,
            self_signing: read(SigningUsage::SelfSigning)?,
            user_signing: read(SigningUsage::UserSigning)?,
        })
    }

    /// Returns `true` if one of these keys is not among the others; signatures do not matter.
    #[must_use]
    pub fn differ_from(&self, others: &Self) -> bool {
        let differs = |one: &Option<Bytes>, other: &Option<Bytes>| {
            let signed = |key: &Option<Bytes>| key.as_ref().and_then(|json| content::signed_part(json).ok());
            one.is_some() && (other.is_none() || signed(one) != signed(other))
        };
        differs(&self.master, &others.master)
            || differs(&self.self_signing, &others.self_signing)
            || differs(&self.user_signing, &others.user_signing)
    }

    /// Returns `true` if the other two keys carry valid signatures of the master key.
    #[must_use]
    pub fn are_signed_by(&self, master: &Bytes, user_id: &str) -> bool {
        let Some(master_id) = signing_key_id(master) else { return false };
        let public = master_id.strip_prefix(SIGNING).unwrap_or_default();
        [&self.self_signing, &self.user_signing].into_iter().flatten().all(|key| {
            let signature = signature_of(key, user_id, &master_id).unwrap_or_default();
            content::signed_part(key).is_ok_and(|signed| verify(public, &signed, &signature))
        })
    }
}

/// Judges the signatures of a caller, each on its own. Signatures of several devices under one's own master key come as
/// several inputs.
///
/// # Errors
/// Fails if the state cannot be read.
pub(crate) fn judge_signatures(
    view: &StateView<'_>,
    caller: &str,
    offer: &SignatureOffer,
) -> Result<Result<Vec<SignatureInput>, SignatureFault>, QueryError> {
    let user_id = id::user_id(caller, view.server_name());
    let own = offer.localpart == caller;
    let device = if own { view.identity_keys(caller, &offer.target)? } else { None };
    if let Some(device) = device {
        let signer = view.cross_signing_key(caller, SigningUsage::SelfSigning)?;
        return Ok(of_signing_key(offer, &device, signer, &user_id));
    }
    let master = view.cross_signing_key(&offer.localpart, SigningUsage::Master)?;
    let is_target =
        |key: &StoredKey| signing_key_id(&key.json).is_some_and(|id| id == format!("{SIGNING}{}", offer.target));
    let Some(master) = master.filter(is_target) else { return Ok(Err(SignatureFault::UnknownKey)) };
    if !own {
        let signer = view.cross_signing_key(caller, SigningUsage::UserSigning)?;
        return Ok(of_signing_key(offer, &master, signer, &user_id));
    }
    let Some(signed) = signed_if_stored(offer, &master) else { return Ok(Err(SignatureFault::OtherKey)) };
    let mut found = Vec::new();
    for (key_id, signature) in signatures_of(&offer.json, &user_id) {
        // The caller may name any number of devices.
        view.is_wanted()?;
        let Some(device_id) = key_id.strip_prefix(SIGNING) else { continue };
        let device = view.identity_keys(caller, device_id)?;
        let public = device.and_then(|device| public_key(&device.json, &key_id));
        if public.is_some_and(|public| verify(&public, &signed, &signature)) {
            found.push(to_input(offer, &master, key_id, signature));
        }
    }
    Ok(if found.is_empty() { Err(SignatureFault::Invalid) } else { Ok(found) })
}

/// Judges a signature that a cross-signing key of the caller must have made.
fn of_signing_key(
    offer: &SignatureOffer,
    stored: &StoredKey,
    signer: Option<StoredKey>,
    user_id: &str,
) -> Result<Vec<SignatureInput>, SignatureFault> {
    let signed = signed_if_stored(offer, stored).ok_or(SignatureFault::OtherKey)?;
    let key_id = signer.and_then(|signer| signing_key_id(&signer.json)).ok_or(SignatureFault::Invalid)?;
    let signature = signature_of(&offer.json, user_id, &key_id).ok_or(SignatureFault::Invalid)?;
    if verify(key_id.strip_prefix(SIGNING).unwrap_or_default(), &signed, &signature) {
        Ok(vec![to_input(offer, stored, key_id, signature)])
    } else {
        Err(SignatureFault::Invalid)
    }
}

fn to_input(offer: &SignatureOffer, stored: &StoredKey, key_id: String, signature: String) -> SignatureInput {
    SignatureInput {
        localpart: offer.localpart.clone(),
        target: offer.target.clone(),
        seen: Bytes::copy_from_slice(&stored.position.to_bytes()),
        key_id,
        signature,
    }
}

/// Returns what the signatures of the offered key sign, if it is the key that is stored. To be worked out once: an offer
/// may be large, and have many signatures.
fn signed_if_stored(offer: &SignatureOffer, stored: &StoredKey) -> Option<Bytes> {
    let offered = content::signed_part(&offer.json).ok()?;
    content::signed_part(&stored.json).is_ok_and(|known| known == offered).then_some(offered)
}

/// Returns `true` if the signature of `signed` was made with this public key.
fn verify(public: &str, signed: &[u8], signature: &str) -> bool {
    let (Ok(public), Ok(signature)) = (BASE64.decode(public), BASE64.decode(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, public).verify(signed, &signature).is_ok()
}

/// Returns the id of the one key in a cross-signing key.
fn signing_key_id(json: &[u8]) -> Option<String> {
    let object: Value = serde_json::from_slice(json).ok()?;
    let mut keys = object.get("keys")?.as_object()?.keys();
    keys.next().filter(|id| id.starts_with(SIGNING)).cloned()
}

/// Returns a public key of a device.
fn public_key(json: &[u8], key_id: &str) -> Option<String> {
    let object: Value = serde_json::from_slice(json).ok()?;
    object.get("keys")?.get(key_id)?.as_str().map(str::to_owned)
}

fn signature_of(json: &[u8], user_id: &str, key_id: &str) -> Option<String> {
    signatures_of(json, user_id).into_iter().find(|(id, _)| id == key_id).map(|(_, signature)| signature)
}

/// Returns the signatures of a user, each with the id of its key.
fn signatures_of(json: &[u8], user_id: &str) -> Vec<(String, String)> {
    let object: Value = serde_json::from_slice(json).unwrap_or_default();
    let all = object.get("signatures").and_then(|all| all.get(user_id)).and_then(Value::as_object);
    let all = all.into_iter().flatten();
    all.filter_map(|(id, signature)| Some((id.clone(), signature.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    struct Signer(Ed25519KeyPair);

    impl Signer {
        fn new(seed: u8) -> Self {
            Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
        }

        fn public(&self) -> String {
            BASE64.encode(self.0.public_key())
        }

        fn sign(&self, json: &str) -> String {
            BASE64.encode(self.0.sign(&content::signed_part(json.as_bytes()).unwrap()))
        }
    }

    fn key(usage: &str, public: &str, signatures: &str) -> Bytes {
        let id = format!("{SIGNING}{public}");
        format!(
            r#"{{"user_id":"@a:x","usage":["{usage}"],"keys":{{"{id}":"{public}"}},"signatures":{{{signatures}}}}}"#
        )
        .into()
    }

    fn signed_key(usage: &str, public: &str, by: &Signer) -> Bytes {
        let signature = by.sign(std::str::from_utf8(&key(usage, public, "")).unwrap());
        key(usage, public, &format!(r#""@a:x":{{"{SIGNING}{}":"{signature}"}}"#, by.public()))
    }

    #[test]
    fn keys_must_be_signed_by_their_master_key() {
        let (master, other) = (Signer::new(1), Signer::new(2));
        let master_key = key("master", &master.public(), "");
        let keys = |by: &Signer| SigningKeys {
            self_signing: Some(signed_key("self_signing", &Signer::new(3).public(), by)),
            ..SigningKeys::default()
        };
        assert!(keys(&master).are_signed_by(&master_key, "@a:x"));
        assert!(!keys(&other).are_signed_by(&master_key, "@a:x"));
        assert!(!keys(&master).are_signed_by(&master_key, "@b:x"), "signed in another's name");
        let unsigned = SigningKeys { user_signing: Some(key("user_signing", "x", "")), ..SigningKeys::default() };
        assert!(!unsigned.are_signed_by(&master_key, "@a:x"));
        assert!(SigningKeys::default().are_signed_by(&master_key, "@a:x"));
    }

    #[test]
    fn a_signature_is_of_the_whole_key() {
        let signer = Signer::new(1);
        let json = key("master", "abc", "");
        let signature = signer.sign(std::str::from_utf8(&json).unwrap());
        let verify = |public: &str, json: &Bytes, signature: &str| {
            super::verify(public, &content::signed_part(json).unwrap(), signature)
        };
        assert!(verify(&signer.public(), &json, &signature));
        assert!(!verify(&signer.public(), &key("master", "abd", ""), &signature));
        for bad in ["", "!", "AAAA"] {
            assert!(!verify(&signer.public(), &json, bad) && !verify(bad, &json, &signature), "{bad}");
        }
    }

    #[test]
    fn keys_are_the_same_whatever_their_signatures() {
        let one = SigningKeys { master: Some(key("master", "a", "")), ..SigningKeys::default() };
        let signed = SigningKeys { master: Some(signed_key("master", "a", &Signer::new(1))), ..SigningKeys::default() };
        let other = SigningKeys { master: Some(key("master", "b", "")), ..SigningKeys::default() };
        assert!(!signed.differ_from(&one) && !SigningKeys::default().differ_from(&one));
        assert!(other.differ_from(&one) && one.differ_from(&SigningKeys::default()));
    }
}
