//! Dehydrated device of an account (MSC3814): a device without a session, whose private keys its owner leaves with the
//! server, encrypted. Others send it the keys of rooms while no device of the owner is logged in; the next login takes
//! what waits for it, and usually leaves a new one.

use super::append;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device::{MAX_FORGOTTEN, remove_device};
use super::key_changes::note_key_change;
use super::{device_keys, session};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::table::{self, Table, TableRead as _, key};

/// Maximum size of a device's encrypted private keys in bytes, the same as for an event: those of a device with a hundred
/// one-time keys have some 20 KiB.
const MAX_DATA_BYTES: usize = 65_536;

/// Replaces the caller's dehydrated device. One with the same id and the same keys is the same device, as when a request
/// is repeated because its answer was lost: what waits for it stays.
pub(super) fn apply_put_dehydrated_device(
    context: &mut ApplyContext<'_>,
    command: &log::PutDehydratedDevice,
) -> ApplyResult<CommandAnswer> {
    session::check_device_names(&command.device_id, &command.display_name)?;
    if command.data.len() > MAX_DATA_BYTES {
        return refuse(Reason::TooLarge, format!("the device's data must have at most {MAX_DATA_BYTES} bytes"));
    }
    append::check_object(&command.data)?;
    if command.device_keys.is_empty() {
        return refuse(Reason::BadJson, "a dehydrated device has `device_keys`");
    }
    let localpart = context.user;
    let device = match kept_device(context, command)? {
        Some(kept) => {
            if kept.display_name != command.display_name {
                note_key_change(context, localpart)?;
            }
            // Its messages and one-time keys carry the position at which it was opened: that stays.
            store::Device { display_name: command.display_name.clone(), ..kept }
        }
        None => new_device(context, command)?,
    };
    let device_key = key::device_key(localpart, &command.device_id);
    context.rows.put(Table::Device, device_key, table::encode_value(&device));
    let row = store::DehydratedDevice { device_id: command.device_id.clone(), data: command.data.clone() };
    context.rows.put(Table::DehydratedDevice, key::account_key(localpart), table::encode_value(&row));
    let keys = log::PutDeviceKeys {
        device_keys: command.device_keys.clone(),
        one_time_keys: command.one_time_keys.clone(),
        fallback_keys: command.fallback_keys.clone(),
    };
    context.as_device(localpart, &command.device_id, |context| device_keys::apply_put_device_keys(context, &keys))?;
    Ok(CommandAnswer::done())
}

/// Returns the dehydrated device that there is if the command is about the same one.
fn kept_device(context: &ApplyContext<'_>, command: &log::PutDehydratedDevice) -> ApplyResult<Option<store::Device>> {
    let localpart = context.user;
    if dehydrated_row(context, localpart)?.is_none_or(|old| old.device_id != command.device_id) {
        return Ok(None);
    }
    let key = key::device_key(localpart, &command.device_id);
    let keys = table::fetch_row::<store::DeviceKeys>(&context.rows, Table::DeviceKeys, &key)?;
    if keys.is_none_or(|old| !device_keys::are_of_one_device(&old.keys, &command.device_keys)) {
        return Ok(None);
    }
    Ok(table::fetch_row(&context.rows, Table::Device, &key)?)
}

/// Removes the dehydrated device that there is, and returns a new one.
fn new_device(context: &mut ApplyContext<'_>, command: &log::PutDehydratedDevice) -> ApplyResult<store::Device> {
    let localpart = context.user;
    let mut forgettable = MAX_FORGOTTEN;
    if let Some(old) = dehydrated_row(context, localpart)? {
        remove_device(context, localpart, &old.device_id, &mut forgettable)?;
    }
    if context.rows.get(Table::Device, &key::device_key(localpart, &command.device_id))?.is_some() {
        return refuse(Reason::Invalid, "a device that is logged in has this id: choose another one");
    }
    Ok(store::Device {
        display_name: command.display_name.clone(),
        created_ms: context.time_ms,
        opened_at: table::position_field(context.first),
        ..store::Device::default()
    })
}

/// Removes the caller's dehydrated device.
pub(super) fn apply_delete_dehydrated_device(context: &mut ApplyContext<'_>) -> ApplyResult<CommandAnswer> {
    let localpart = context.user;
    let Some(row) = dehydrated_row(context, localpart)? else {
        return refuse(Reason::DeviceNotFound, "you have no dehydrated device");
    };
    let mut forgettable = MAX_FORGOTTEN;
    remove_device(context, localpart, &row.device_id, &mut forgettable)?;
    context.touched.user(localpart);
    let deleted = log::DehydratedDeviceDeleted { device_id: row.device_id };
    Ok(CommandAnswer::New(outcome::Kind::DehydratedDeviceDeleted(deleted), None))
}

/// Forgets what makes a device that is removed a dehydrated one.
pub(super) fn forget_dehydrated(context: &mut ApplyContext<'_>, localpart: &str, device_id: &str) -> ApplyResult<()> {
    if dehydrated_row(context, localpart)?.is_some_and(|row| row.device_id == device_id) {
        context.rows.delete(Table::DehydratedDevice, key::account_key(localpart));
    }
    Ok(())
}

fn dehydrated_row(context: &ApplyContext<'_>, localpart: &str) -> ApplyResult<Option<store::DehydratedDevice>> {
    Ok(table::fetch_row(&context.rows, Table::DehydratedDevice, &key::account_key(localpart))?)
}

#[cfg(test)]
mod tests;
