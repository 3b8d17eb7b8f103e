//! Keys for end-to-end encryption, for tests.

use super::SERVER;
use crate::id;
use crate::proto::log;
use bytes::Bytes;

/// Returns a one-time key of the usual algorithm.
pub(crate) fn key_input(key_id: &str, key: &str) -> log::KeyInput {
    let json = format!(r#"{{"key":"{key}","signatures":{{}}}}"#);
    log::KeyInput { algorithm: "signed_curve25519".into(), key_id: key_id.into(), key: json.into() }
}

/// Returns the identity keys of a device; others for another `key`.
pub(crate) fn device_keys(user: &str, device: &str, key: &str) -> Bytes {
    let user_id = id::user_id(user, SERVER);
    format!(
        r#"{{"user_id":"{user_id}","device_id":"{device}","algorithms":["m.olm"],"keys":{{"ed25519:{device}":"{key}"}},
        "signatures":{{"{user_id}":{{"ed25519:{device}":"by itself"}}}},"x.unknown":[1]}}"#
    )
    .into()
}

/// Returns a cross-signing key.
pub(crate) fn signing_key(user: &str, usage: &str, key: &str) -> Bytes {
    let user_id = id::user_id(user, SERVER);
    format!(r#"{{"user_id":"{user_id}","usage":["{usage}"],"keys":{{"ed25519:{key}":"{key}"}}}}"#).into()
}
