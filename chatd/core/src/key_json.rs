//! JSON of keys for end-to-end encryption, as far as the server reads it.
//!
//! Keys are signed over their canonical JSON without `signatures` and `unsigned` (Matrix specification, "Signing JSON").
//! They are kept in canonical form with every field that the client sent, so that their signatures stay valid.

use crate::json::{self, JsonObject};
use bytes::Bytes;
use serde_json::Value;

/// Algorithm of keys that sign.
const SIGNING: &str = "ed25519:";

/// Returns the bytes that signatures of an object sign. Two uploads of the same key have the same, however often the key
/// was signed in between.
pub(crate) fn signed_part(object: &JsonObject) -> Bytes {
    let signed = object.iter().filter(|(field, _)| !matches!(field.as_str(), "signatures" | "unsigned"));
    json::canonical_json(&signed.map(|(field, value)| (field.clone(), value.clone())).collect())
}

/// Returns the id of the cross-signing key that an object describes, with its algorithm.
pub(crate) fn signing_key_id(object: &JsonObject) -> Option<&str> {
    let mut keys = object.get("keys")?.as_object()?.iter();
    let (id, public) = keys.next()?;
    // The id of a cross-signing key is the public key itself, and there is one (specification, "Cross-signing").
    (keys.next().is_none() && id.strip_prefix(SIGNING) == public.as_str()).then_some(id.as_str())
}

/// Returns the public part of a cross-signing key's id.
pub(crate) fn public_part(key_id: &str) -> &str {
    key_id.strip_prefix(SIGNING).unwrap_or(key_id)
}

/// Adds a signature to the object.
pub(crate) fn add_signature(object: &mut JsonObject, user_id: &str, key_id: &str, signature: &str) {
    let all = object.entry("signatures").or_insert_with(|| Value::Object(JsonObject::new()));
    let Some(all) = all.as_object_mut() else { return };
    let of_user = all.entry(user_id).or_insert_with(|| Value::Object(JsonObject::new()));
    if let Some(of_user) = of_user.as_object_mut() {
        of_user.insert(key_id.to_owned(), signature.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_and_unsigned_fields_are_not_signed_and_others_are() {
        let object = json::parse_object(br#"{"b":{"d":1,"c":2},"signatures":{"x":1},"unsigned":{},"a":"z"}"#).unwrap();
        assert_eq!(signed_part(&object), r#"{"a":"z","b":{"c":2,"d":1}}"#);
    }

    #[test]
    fn a_cross_signing_key_is_named_by_itself() {
        let id = |json: &str| signing_key_id(&json::parse_object(json.as_bytes()).unwrap()).map(str::to_owned);
        assert_eq!(id(r#"{"keys":{"ed25519:abc":"abc"}}"#).as_deref(), Some("ed25519:abc"));
        for bad in
            ["{}", r#"{"keys":{}}"#, r#"{"keys":{"ed25519:a":"b"}}"#, r#"{"keys":{"ed25519:a":"a","ed25519:b":"b"}}"#]
        {
            assert_eq!(id(bad), None, "{bad}");
        }
    }
}
