//! Devices of an account: listing them, and removing one with everything that belongs to it.

use super::context::{ApplyContext, ApplyResult};
use super::{dehydrated, device_keys, device_settings, pusher, sequence, to_device};
use crate::proto::store;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};

/// Maximum number of remembered transactions, waiting messages and one-time keys that one command removes with the
/// devices that it ends. The rest stay behind unread (they carry the old device's position) until they are swept, so
/// that the command stays small however long the sessions lasted.
pub(super) const MAX_FORGOTTEN: usize = 1024;

/// Returns at most `at_most` devices of an account, by id.
pub(super) fn list_devices(
    context: &ApplyContext<'_>,
    localpart: &str,
    at_most: usize,
) -> ApplyResult<Vec<(String, store::Device)>> {
    let from = key::devices_of(localpart);
    let mut out = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(Table::Device, &from), &mut |(key, value)| {
        if out.len() >= at_most {
            return Ok(ScanControl::Stop);
        }
        let device_id = String::from_utf8_lossy(key.strip_prefix(from.as_slice()).unwrap_or_default()).into_owned();
        out.push((device_id, table::decode_value(Table::Device, value)?));
        Ok(ScanControl::More)
    })?;
    Ok(out)
}

/// Removes a device with its tokens, and as many of its transactions, messages and keys as `forgettable` allows. Returns
/// `true` if there was such a device.
pub(super) fn remove_device(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    device_id: &str,
    forgettable: &mut usize,
) -> ApplyResult<bool> {
    let device_key = key::device_key(localpart, device_id);
    let Some(device) = table::fetch_row::<store::Device>(&context.rows, Table::Device, &device_key)? else {
        return Ok(false);
    };
    context.touched.session(localpart);
    context.rows.delete(Table::Device, device_key);
    remove_tokens(context, &device);
    forget_transactions(context, localpart, device_id, forgettable)?;
    sequence::forget_sequences(context, localpart, device_id)?;
    pusher::forget_pushers(context, localpart, device_id)?;
    device_settings::forget_device_settings(context, localpart, device_id)?;
    to_device::forget_queue(context, localpart, device_id, forgettable)?;
    device_keys::forget_device_keys(context, localpart, device_id, forgettable)?;
    dehydrated::forget_dehydrated(context, localpart, device_id)?;
    Ok(true)
}

/// Removes all tokens of a device's session.
pub(super) fn remove_tokens(context: &mut ApplyContext<'_>, device: &store::Device) {
    let store::Device { token_hash, refresh_hash, old_token_hash, old_refresh_hash, login_token_hash, .. } = device;
    for hash in [token_hash, refresh_hash, old_token_hash, old_refresh_hash, login_token_hash] {
        remove_token(context, hash);
    }
}

/// Removes a token, if there is one: an empty hash stands for none.
pub(super) fn remove_token(context: &mut ApplyContext<'_>, hash: &[u8]) {
    if !hash.is_empty() {
        context.rows.delete(Table::Token, hash.to_vec());
    }
}

/// Removes as many of a device's transactions as `forgettable` allows, and subtracts them from it.
pub(super) fn forget_transactions(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    device_id: &str,
    forgettable: &mut usize,
) -> ApplyResult<()> {
    forget_rows(context, Table::Dedup, &key::dedup_of(localpart, device_id), forgettable)
}

/// Removes as many of the rows with a prefix as `forgettable` allows, in the order of their keys, and subtracts them from
/// it.
pub(super) fn forget_rows(
    context: &mut ApplyContext<'_>,
    table: Table,
    prefix: &[u8],
    forgettable: &mut usize,
) -> ApplyResult<()> {
    let mut forgotten = Vec::new();
    context.rows.scan(&ScanRange::with_prefix(table, prefix), &mut |(key, _)| {
        if forgotten.len() == *forgettable {
            return Ok(ScanControl::Stop);
        }
        forgotten.push(key.to_vec());
        Ok(ScanControl::More)
    })?;
    *forgettable -= forgotten.len();
    for key in forgotten {
        context.rows.delete(table, key);
    }
    Ok(())
}
