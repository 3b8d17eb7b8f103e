//! Keys that a device publishes for end-to-end encryption: its identity keys here, one-time and fallback keys in
//! [`one_time_keys`]. The server hands them out; it can read nothing that they encrypt.

use super::append;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::key_changes::note_key_change;
use super::one_time_keys::{self, MAX_KEYS};
use crate::json::{self, JsonObject};
use crate::key_json;
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::table::{self, Table, TableRead as _, key};
use bytes::Bytes;
use serde_json::Value;

/// Maximum size of an object with keys in bytes, the same as for an event: clients of the specification's algorithms
/// need less than 2 KiB.
const MAX_OBJECT_BYTES: usize = 65_536;

/// Maximum number of signatures that are added to a key. Devices sign their user's master key, and an account has fewer
/// devices.
const MAX_ADDED_SIGNATURES: usize = 256;

pub(super) fn apply_put_device_keys(
    context: &mut ApplyContext<'_>,
    command: &log::PutDeviceKeys,
) -> ApplyResult<CommandAnswer> {
    if command.one_time_keys.len().max(command.fallback_keys.len()) > MAX_KEYS {
        return refuse(Reason::TooLarge, format!("at most {MAX_KEYS} keys can be uploaded at once"));
    }
    if !command.device_keys.is_empty() {
        // First: other identity keys make the one-time keys of the old ones useless.
        put_identity_keys(context, &command.device_keys)?;
    }
    let mut stock = one_time_keys::own_stock(context)?;
    one_time_keys::put_one_time_keys(context, &mut stock, &command.one_time_keys)?;
    one_time_keys::put_fallback_keys(&mut stock, &command.fallback_keys)?;
    let key = key::device_key(context.user, context.device_id);
    context.rows.put(Table::KeyStock, key, table::encode_value(&stock));
    context.touched.user(context.user);
    let counts = stock.parts.into_iter();
    let counts = counts.map(|part| log::KeyCount { algorithm: part.algorithm, count: part.count }).collect();
    Ok(CommandAnswer::New(outcome::Kind::KeysPut(log::KeysPut { counts }), None))
}

/// Checks an object with keys of the caller, and returns it without `unsigned`, which is the server's to fill.
pub(super) fn checked_object(context: &ApplyContext<'_>, json: &Bytes) -> ApplyResult<JsonObject> {
    if json.len() > MAX_OBJECT_BYTES {
        return refuse(Reason::TooLarge, format!("keys must have at most {MAX_OBJECT_BYTES} bytes"));
    }
    append::check_content(json)?;
    let mut object = json::stored_object(json);
    if json::string_field(&object, "user_id") != Some(context.user_id().as_str()) {
        return refuse(Reason::Invalid, "the keys name another user: upload your own");
    }
    object.remove("unsigned");
    Ok(object)
}

fn put_identity_keys(context: &mut ApplyContext<'_>, json: &Bytes) -> ApplyResult<()> {
    let object = checked_object(context, json)?;
    if json::string_field(&object, "device_id") != Some(context.device_id) {
        return refuse(Reason::Invalid, "the keys name another device: upload those of the device that is logged in");
    }
    let complete = object.get("algorithms").is_some_and(Value::is_array)
        && ["keys", "signatures"].iter().all(|field| object.get(*field).is_some_and(Value::is_object));
    if !complete {
        return refuse(Reason::BadJson, "device keys have `algorithms`, `keys` and `signatures`");
    }
    let key = key::device_key(context.user, context.device_id);
    let old = table::fetch_row::<store::DeviceKeys>(&context.rows, Table::DeviceKeys, &key)?;
    let keys = json::canonical_json(&object);
    if old.as_ref().is_some_and(|old| old.keys == keys) {
        return Ok(());
    }
    let row = match old {
        None => store::DeviceKeys { keys, position: table::position_field(context.first), signatures: Vec::new() },
        Some(old) => {
            let old_object = json::stored_object(&old.keys);
            if old_object.get("keys") != object.get("keys") {
                // Signed by keys that are gone, they would be taken for forgeries.
                one_time_keys::forget_one_time_keys(context, context.user, context.device_id, &mut { MAX_KEYS })?;
            }
            if key_json::signed_part(&old_object) == key_json::signed_part(&object) {
                store::DeviceKeys { keys, ..old }
            } else {
                store::DeviceKeys { keys, position: table::position_field(context.first), signatures: Vec::new() }
            }
        }
    };
    context.rows.put(Table::DeviceKeys, key, table::encode_value(&row));
    note_key_change(context, context.user)
}

/// Returns `true` if two objects have the same identity keys. Bytes that are no object have none.
pub(super) fn are_of_one_device(stored: &[u8], given: &[u8]) -> bool {
    let keys_in = |bytes: &[u8]| json::stored_object(bytes).remove("keys");
    let given = keys_in(given);
    given.is_some() && given == keys_in(stored)
}

/// Adds a signature to those of a key; one of the same signing key is replaced.
pub(super) fn put_signature(all: &mut Vec<store::AddedSignature>, key_id: &str, signature: &str) {
    all.retain(|added| added.key_id != key_id);
    if all.len() >= MAX_ADDED_SIGNATURES {
        // The oldest: its device has most likely been removed.
        all.remove(0);
    }
    all.push(store::AddedSignature { key_id: key_id.to_owned(), signature: signature.to_owned() });
}

/// Removes the keys of a device that is removed. One-time keys are removed as [`one_time_keys::forget_one_time_keys`]
/// does.
pub(super) fn forget_device_keys(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    device_id: &str,
    forgettable: &mut usize,
) -> ApplyResult<()> {
    let key = key::device_key(localpart, device_id);
    if context.rows.get(Table::DeviceKeys, &key)?.is_some() {
        context.rows.delete(Table::DeviceKeys, key);
        note_key_change(context, localpart)?;
    }
    one_time_keys::forget_one_time_keys(context, localpart, device_id, forgettable)
}

#[cfg(test)]
mod tests;
