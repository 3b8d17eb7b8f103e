//! Cross-signing: keys with which users sign their own devices and each other, and the signatures that they make.
//!
//! Signatures are verified by the pod that receives them. Here it is decided whether the keys that were signed are still
//! the ones that the pod saw, and whether an account's keys may be replaced.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device_keys::{checked_object, put_signature};
use super::key_changes::{note_key_change, note_own_signature};
use crate::json;
use crate::key_json;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::rows::{self, key_usage};
use crate::table::{self, Table, key};
use bytes::Bytes;
use serde_json::Value;

/// Maximum number of signatures of one command: a client signs its devices, or a few users.
pub const MAX_SIGNATURES: usize = 128;

/// Maximum size of a signature or the id of a signing key, in bytes: an ed25519 signature has 86.
const MAX_SIGNATURE_BYTES: usize = 512;

pub(super) fn apply_put_signing_keys(
    context: &mut ApplyContext<'_>,
    command: &log::PutSigningKeys,
) -> ApplyResult<CommandAnswer> {
    let has_master = rows::signing_key_row(&context.rows, context.user, key_usage::MASTER)?.is_some();
    if !has_master && command.master.is_empty() {
        return refuse(Reason::Invalid, "there is no master key: upload one first");
    }
    let mut replaced = false;
    for (usage, json) in [
        (key_usage::MASTER, &command.master),
        (key_usage::SELF_SIGNING, &command.self_signing),
        (key_usage::USER_SIGNING, &command.user_signing),
    ] {
        if !json.is_empty() {
            replaced |= put_signing_key(context, usage, json)?;
        }
    }
    // Whoever has stolen a token must not be able to make new devices look trusted.
    if has_master && replaced && !command.authenticated {
        return refuse(Reason::Forbidden, "the account has keys already; confirm with your password to replace them");
    }
    Ok(CommandAnswer::done())
}

/// Writes a key, and returns `true` if it is another one than before.
fn put_signing_key(context: &mut ApplyContext<'_>, usage: &str, json: &Bytes) -> ApplyResult<bool> {
    let object = checked_object(context, json)?;
    let usages = object.get("usage").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !usages.iter().any(|known| known == usage) || key_json::signing_key_id(&object).is_none() {
        return refuse(Reason::Invalid, format!("this is not a key with the usage {usage}"));
    }
    let old = rows::signing_key_row(&context.rows, context.user, usage)?;
    let key = json::canonical_json(&object);
    if old.as_ref().is_some_and(|old| old.key == key) {
        return Ok(false);
    }
    let same = |old: &store::CrossSigningKey| {
        key_json::signed_part(&json::stored_object(&old.key)) == key_json::signed_part(&object)
    };
    let (replaced, row) = match old.filter(same) {
        Some(old) => (false, store::CrossSigningKey { key, ..old }),
        None => {
            let position = table::position_field(context.first);
            (true, store::CrossSigningKey { key, position, signatures: Vec::new() })
        }
    };
    context.rows.put(Table::CrossSigningKey, key::signing_key(context.user, usage), table::encode_value(&row));
    note_key_change(context, context.user)?;
    Ok(replaced)
}

pub(super) fn apply_put_signatures(
    context: &mut ApplyContext<'_>,
    command: &log::PutSignatures,
) -> ApplyResult<CommandAnswer> {
    if command.signatures.len() > MAX_SIGNATURES {
        return refuse(Reason::TooLarge, format!("at most {MAX_SIGNATURES} signatures can be uploaded at once"));
    }
    let mut outdated = Vec::new();
    for (place, input) in (0..).zip(&command.signatures) {
        if input.key_id.len().max(input.signature.len()) > MAX_SIGNATURE_BYTES {
            return refuse(Reason::TooLarge, format!("a signature must have at most {MAX_SIGNATURE_BYTES} bytes"));
        }
        let added = if input.localpart == context.user {
            sign_own_device(context, input)? || sign_own_master(context, input)?
        } else {
            sign_user(context, input)?
        };
        if !added {
            outdated.push(place);
        }
    }
    Ok(CommandAnswer::New(outcome::Kind::SignaturesPut(log::SignaturesPut { outdated }), None))
}

fn sign_own_device(context: &mut ApplyContext<'_>, input: &log::SignatureInput) -> ApplyResult<bool> {
    let key = key::device_key(context.user, &input.target);
    let row = table::fetch_row::<store::DeviceKeys>(&context.rows, Table::DeviceKeys, &key)?;
    let Some(mut row) = row.filter(|row| row.position == input.seen) else { return Ok(false) };
    put_signature(&mut row.signatures, &input.key_id, &input.signature);
    context.rows.put(Table::DeviceKeys, key, table::encode_value(&row));
    note_key_change(context, context.user)?;
    Ok(true)
}

/// Returns the master key of the user whose key is signed, if it is the one that the pod saw.
fn seen_master(context: &ApplyContext<'_>, input: &log::SignatureInput) -> ApplyResult<Option<store::CrossSigningKey>> {
    let row = rows::signing_key_row(&context.rows, &input.localpart, key_usage::MASTER)?;
    let is_target = |row: &store::CrossSigningKey| {
        key_json::signing_key_id(&json::stored_object(&row.key)).map(key_json::public_part) == Some(&input.target)
    };
    Ok(row.filter(|row| row.position == input.seen && is_target(row)))
}

fn sign_own_master(context: &mut ApplyContext<'_>, input: &log::SignatureInput) -> ApplyResult<bool> {
    let Some(mut row) = seen_master(context, input)? else { return Ok(false) };
    put_signature(&mut row.signatures, &input.key_id, &input.signature);
    let key = key::signing_key(context.user, key_usage::MASTER);
    context.rows.put(Table::CrossSigningKey, key, table::encode_value(&row));
    note_key_change(context, context.user)?;
    Ok(true)
}

fn sign_user(context: &mut ApplyContext<'_>, input: &log::SignatureInput) -> ApplyResult<bool> {
    if seen_master(context, input)?.is_none() {
        return Ok(false);
    }
    let key = key::user_signature(context.user, &input.localpart);
    let old = table::fetch_row::<store::UserSignature>(&context.rows, Table::UserSignature, &key)?;
    let before = old.map(|old| table::decode_position(Table::UserSignature, &old.position)).transpose()?.flatten();
    let row = store::UserSignature {
        target: input.target.clone(),
        key_id: input.key_id.clone(),
        signature: input.signature.clone(),
        position: table::position_field(context.first),
    };
    context.rows.put(Table::UserSignature, key, table::encode_value(&row));
    note_own_signature(context, &input.localpart, before);
    Ok(true)
}

#[cfg(test)]
mod tests;
