//! Limits on the devices of an account: the least recently used ones are removed for a new one, all of them can be
//! removed in parts, and expired ones are swept.
//!
//! The limits come with the commands, so that a change of the configuration, or of a constant in another version, never
//! changes the meaning of a log entry.
//!
//! A login beyond the limit is not refused: programs that log in at each start without a device id would lock out their
//! owner, who could not tell which of the devices are still wanted. The device that was not used for longest is missed
//! least.

use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device::{self, MAX_FORGOTTEN, list_devices};
use super::{one_time_keys, to_device};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::table::{self, Table, key};

/// Limits on the devices that one login examines and removes. An account with more devices, from before there was a
/// limit, gets closer to it with each login.
const MAX_LOOKED_AT: usize = 1024;
const MAX_REMOVED: usize = 16;

/// Ends the sessions of the least recently used devices, so that one more device is within the limit.
pub(super) fn make_room(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    max_devices: u32,
    forgettable: &mut usize,
) -> ApplyResult<()> {
    let max_devices = usize::try_from(max_devices).unwrap_or(usize::MAX);
    if max_devices == 0 {
        return Ok(());
    }
    let mut devices = list_devices(context, localpart, MAX_LOOKED_AT)?;
    // A dehydrated device is never used, and there is one at most: it is not the one that is missed least.
    devices.retain(|(_, device)| !device.token_hash.is_empty());
    let excess = (devices.len() + 1).saturating_sub(max_devices).min(MAX_REMOVED);
    if excess == 0 {
        return Ok(());
    }
    let mut by_use = Vec::with_capacity(devices.len());
    for (device_id, device) in devices {
        by_use.push((last_use(context, &device)?, device_id));
    }
    // Ids are unique, so devices of the same age have an order as well, which is the same on every pod.
    by_use.sort_unstable();
    for (_, device_id) in by_use.into_iter().take(excess) {
        device::remove_device(context, localpart, &device_id, forgettable)?;
    }
    Ok(())
}

/// Returns the time at which a device was last used, as far as the rows tell: use extends a session that expires, once
/// in each half of its lifetime.
fn last_use(context: &ApplyContext<'_>, device: &store::Device) -> ApplyResult<u64> {
    if device.seen_ms != 0 {
        return Ok(device.seen_ms);
    }
    // A device from before the time was kept.
    if device.expires_ms == 0 {
        return Ok(device.created_ms);
    }
    let token = table::fetch_row::<store::Token>(&context.rows, Table::Token, &device.token_hash)?;
    Ok(device.expires_ms.saturating_sub(token.unwrap_or_default().lifetime_ms))
}

/// Ends at most `at_most` of the caller's sessions; its own only if no other is left and it is not kept.
pub(super) fn close_some(context: &mut ApplyContext<'_>, at_most: u32, keep_own: bool) -> ApplyResult<CommandAnswer> {
    let more = close_others(context, at_most)?;
    if !more && !keep_own {
        let mut forgettable = MAX_FORGOTTEN;
        device::remove_device(context, context.user, context.device_id, &mut forgettable)?;
        context.ended_own_session = true;
    }
    Ok(CommandAnswer::New(outcome::Kind::SessionsClosed(log::SessionsClosed { more }), None))
}

/// Ends at most `at_most` of the caller's other sessions. Returns `true` if there are more.
pub(super) fn close_others(context: &mut ApplyContext<'_>, at_most: u32) -> ApplyResult<bool> {
    let at_most = usize::try_from(at_most).unwrap_or(usize::MAX);
    // One more than are closed, because the caller's own device may be among them.
    let others = list_devices(context, context.user, at_most.saturating_add(1))?.into_iter();
    let others: Vec<_> = others.map(|(device_id, _)| device_id).filter(|id| id != context.device_id).collect();
    let more = others.len() >= at_most;
    let mut forgettable = MAX_FORGOTTEN;
    for device_id in others.iter().take(at_most) {
        device::remove_device(context, context.user, device_id, &mut forgettable)?;
    }
    context.touched.user(context.user);
    Ok(more)
}

/// Removes a device that expired long ago, or what a removed device left behind.
pub(super) fn apply_sweep_device(
    context: &mut ApplyContext<'_>,
    command: &log::SweepDevice,
) -> ApplyResult<CommandAnswer> {
    if !context.user.is_empty() {
        return refuse(Reason::Invalid, "this command has no caller");
    }
    let log::SweepDevice { localpart, device_id, kept_ms } = command;
    let device =
        table::fetch_row::<store::Device>(&context.rows, Table::Device, &key::device_key(localpart, device_id))?;
    let mut forgettable = MAX_FORGOTTEN;
    match device {
        Some(device) if !is_swept(&device, *kept_ms, context.time_ms) => return Ok(swept_answer(false)),
        Some(_) => {
            device::remove_device(context, localpart, device_id, &mut forgettable)?;
            context.touched.user(localpart);
        }
        None => {
            device::forget_transactions(context, localpart, device_id, &mut forgettable)?;
            to_device::forget_queue(context, localpart, device_id, &mut forgettable)?;
            one_time_keys::forget_one_time_keys(context, localpart, device_id, &mut forgettable)?;
        }
    }
    Ok(swept_answer(forgettable == 0))
}

/// Returns `true` if the device's session expired so long ago that the device is to be removed.
pub(crate) fn is_swept(device: &store::Device, kept_ms: u64, time_ms: u64) -> bool {
    device.expires_ms != 0 && device.expires_ms.saturating_add(kept_ms) <= time_ms
}

fn swept_answer(more: bool) -> CommandAnswer {
    CommandAnswer::New(outcome::Kind::DeviceSwept(log::DeviceSwept { more }), None)
}

#[cfg(test)]
mod tests;
