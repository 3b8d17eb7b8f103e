//! Keys that sign, for cross-signing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use quorate_core::content;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// Key that signs.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    pub fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key"))
    }

    pub fn public(&self) -> String {
        STANDARD_NO_PAD.encode(self.0.public_key())
    }

    pub fn id(&self) -> String {
        format!("ed25519:{}", self.public())
    }

    /// Adds a signature of this key, under an id, to an object.
    pub fn sign_as(&self, mut object: Value, user: &str, key_id: &str) -> Value {
        let signed = content::signed_part(object.to_string().as_bytes()).expect("JSON");
        object["signatures"][user][key_id] = STANDARD_NO_PAD.encode(self.0.sign(&signed)).into();
        object
    }

    pub fn sign(&self, object: Value, user: &str) -> Value {
        self.sign_as(object, user, &self.id())
    }

    pub fn to_json(&self, user: &str, usage: &str) -> Value {
        json!({"user_id": user, "usage": [usage], "keys": {self.id(): self.public()}})
    }
}

/// Master, self-signing and user-signing key of a user.
pub struct Identity(pub [SigningKey; 3]);

impl Identity {
    pub fn new(seed: u8) -> Self {
        Self([0, 1, 2].map(|n| SigningKey::new(seed + n)))
    }

    pub fn upload(&self, user: &str) -> Value {
        let [master, own, users] = &self.0;
        json!({
            "master_key": master.to_json(user, "master"),
            "self_signing_key": master.sign(own.to_json(user, "self_signing"), user),
            "user_signing_key": master.sign(users.to_json(user, "user_signing"), user),
        })
    }
}
