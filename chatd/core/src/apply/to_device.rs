//! Messages to devices: they wait, in order, until the device has received them.
//!
//! The device says so with the token of its next sync, and the pod that serves that sync proposes the removal. Until
//! then readers leave out what lies before the token, so that it does not matter when the removal is applied.
//!
//! If more messages wait than are allowed, the oldest are removed. To refuse the new ones would be worse: one device
//! that nobody uses any more would keep everybody from sending keys to the members of a room, because a client sends
//! them together. A device that reads its messages misses none.

use super::append;
use super::context::{ApplyContext, ApplyResult, CommandAnswer, refuse};
use super::device::{self, list_devices};
use crate::id::{self, Position};
use crate::proto::log::{self, Reason, outcome};
use crate::proto::store;
use crate::table::{self, ScanControl, ScanRange, Table, TableRead as _, key};
use bytes::Bytes;

/// Device id that stands for all devices of a user.
const ALL_DEVICES: &str = "*";

/// Maximum size of a message's content in bytes, the same as for an event.
const MAX_CONTENT_BYTES: usize = 65_536;

/// Limits on the devices that one command reaches, and on the bytes that it writes for them: some ten milliseconds of
/// apply. Pods send fewer at a time; only a user with hundreds of devices can come near.
const MAX_DELIVERIES: usize = 4096;
const MAX_DELIVERED_BYTES: usize = 8 << 20;

/// Maximum number of devices of one user that [`ALL_DEVICES`] reaches.
const MAX_DEVICES_OF_USER: usize = 1024;

/// Maximum number of messages removed for a new one. If they are smaller than the new one, the queue grows beyond its
/// bytes, until it is the turn of larger ones.
const MAX_DROPPED: usize = 16;

/// Number of received messages that one command removes: some milliseconds of apply.
const MAX_DELETED: usize = 1024;

pub(super) fn apply_send_to_device(
    context: &mut ApplyContext<'_>,
    command: &log::SendToDevice,
) -> ApplyResult<CommandAnswer> {
    append::check_names(&command.r#type, None)?;
    let mut fan_out = FanOut { sender: context.user_id(), command, deliveries: 0, bytes: 0 };
    for message in &command.messages {
        if message.content.len() > MAX_CONTENT_BYTES {
            return refuse(Reason::TooLarge, format!("a message must have at most {MAX_CONTENT_BYTES} bytes"));
        }
        append::check_object(&message.content)?;
        fan_out.send(context, message)?;
    }
    Ok(CommandAnswer::done())
}

/// Progress of one command.
struct FanOut<'c> {
    sender: String,
    command: &'c log::SendToDevice,
    deliveries: usize,
    bytes: usize,
}

impl FanOut<'_> {
    /// Sends a message to the devices that it names, as far as they exist.
    fn send(&mut self, context: &mut ApplyContext<'_>, message: &log::DeviceMessage) -> ApplyResult<()> {
        let Some(localpart) = id::user_localpart(&message.user, context.server_name) else { return Ok(()) };
        let devices = if message.device_id == ALL_DEVICES {
            list_devices(context, localpart, MAX_DEVICES_OF_USER)?
        } else {
            let key = key::device_key(localpart, &message.device_id);
            let device = table::fetch_row::<store::Device>(&context.rows, Table::Device, &key)?;
            device.map(|device| (message.device_id.clone(), device)).into_iter().collect()
        };
        if devices.is_empty() {
            return Ok(());
        }
        let row = table::encode_value(&store::ToDevice {
            sender: self.sender.clone(),
            r#type: self.command.r#type.clone(),
            content: message.content.clone(),
        });
        for (device_id, device) in devices {
            self.deliveries += 1;
            self.bytes += row.len();
            if self.deliveries > MAX_DELIVERIES || self.bytes > MAX_DELIVERED_BYTES {
                return refuse(
                    Reason::TooLarge,
                    "the message would reach too many devices: send it to fewer at a time",
                );
            }
            let queue = DeviceQueue::load(context, localpart, &device_id, &device)?;
            queue.append(context, &row, self.command)?;
        }
        context.touched.user(localpart);
        Ok(())
    }
}

/// Queue of a device that exists.
struct DeviceQueue<'n> {
    localpart: &'n str,
    device_id: &'n str,
    /// Position of the command that created the device; messages before it are not the device's.
    opened_at: Position,
    row: store::ToDeviceQueue,
}

impl<'n> DeviceQueue<'n> {
    fn load(
        context: &ApplyContext<'_>,
        localpart: &'n str,
        device_id: &'n str,
        device: &store::Device,
    ) -> ApplyResult<Self> {
        let opened_at = table::decode_position(Table::Device, &device.opened_at)?.unwrap_or_default();
        let key = key::to_device_queue(localpart, device_id);
        let row = table::fetch_row(&context.rows, Table::ToDeviceQueue, &key)?.unwrap_or_default();
        Ok(Self { localpart, device_id, opened_at, row })
    }

    fn append(
        mut self,
        context: &mut ApplyContext<'_>,
        message: &Bytes,
        limits: &log::SendToDevice,
    ) -> ApplyResult<()> {
        let at = context.next_position()?;
        self.row.messages += 1;
        self.row.bytes += byte_count(message);
        self.drop_oldest(context, limits)?;
        let key = key::to_device_key(self.localpart, self.device_id, at);
        context.rows.put(Table::ToDevice, key, message.clone());
        self.save(context);
        Ok(())
    }

    /// Removes the oldest messages if there are more than allowed, the new one included.
    fn drop_oldest(&mut self, context: &mut ApplyContext<'_>, limits: &log::SendToDevice) -> ApplyResult<()> {
        let limit = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        let too_many = |row: &store::ToDeviceQueue| {
            row.messages > limit(limits.max_messages) || row.bytes > limit(limits.max_bytes)
        };
        if !too_many(&self.row) {
            return Ok(());
        }
        let mut from = key::to_device_key(self.localpart, self.device_id, self.opened_at);
        // Just after: no key is longer than its position.
        from.push(0);
        let end = key::after_prefix(&key::to_device_of(self.localpart, self.device_id));
        let mut dropped = Vec::new();
        let row = &mut self.row;
        context.rows.scan(&ScanRange::between(Table::ToDevice, &from, &end), &mut |(key, value)| {
            if dropped.len() == MAX_DROPPED || !too_many(row) {
                return Ok(ScanControl::Stop);
            }
            row.messages = row.messages.saturating_sub(1);
            row.bytes = row.bytes.saturating_sub(byte_count(value));
            dropped.push(key.to_vec());
            Ok(ScanControl::More)
        })?;
        for key in dropped {
            context.rows.delete(Table::ToDevice, key);
        }
        Ok(())
    }

    fn save(&self, context: &mut ApplyContext<'_>) {
        let key = key::to_device_queue(self.localpart, self.device_id);
        if self.row.messages == 0 {
            context.rows.delete(Table::ToDeviceQueue, key);
        } else {
            context.rows.put(Table::ToDeviceQueue, key, table::encode_value(&self.row));
        }
    }
}

fn byte_count(value: &[u8]) -> u64 {
    u64::try_from(value.len()).unwrap_or(u64::MAX)
}

/// Removes what the caller's device has received, oldest first.
pub(super) fn apply_delete_to_device(
    context: &mut ApplyContext<'_>,
    command: &log::DeleteToDevice,
) -> ApplyResult<CommandAnswer> {
    let log::Position { incarnation, index, ordinal } = command.up_to.unwrap_or_default();
    // Nothing was received before it was sent.
    let up_to = Position { incarnation, index, ordinal }.min(context.first.before());
    let device = context.session()?;
    let mut queue = DeviceQueue::load(context, context.user, context.device_id, &device)?;
    let opened_at = queue.opened_at;
    let from = key::to_device_of(context.user, context.device_id);
    let mut end = key::to_device_key(context.user, context.device_id, up_to);
    // The upper bound of a scan is exclusive.
    end.push(0);
    let mut received = Vec::new();
    let mut more = false;
    let row = &mut queue.row;
    context.rows.scan(&ScanRange::between(Table::ToDevice, &from, &end), &mut |(key, value)| {
        if received.len() == MAX_DELETED {
            more = true;
            return Ok(ScanControl::Stop);
        }
        if key::trailing_position(key).is_some_and(|at| at > opened_at) {
            row.messages = row.messages.saturating_sub(1);
            row.bytes = row.bytes.saturating_sub(byte_count(value));
        }
        received.push(key.to_vec());
        Ok(ScanControl::More)
    })?;
    if !received.is_empty() {
        queue.save(context);
    }
    for key in received {
        context.rows.delete(Table::ToDevice, key);
    }
    Ok(CommandAnswer::New(outcome::Kind::ToDeviceDeleted(log::ToDeviceDeleted { more }), None))
}

/// Removes as many of the messages of a device that is gone as `forgettable` allows, and subtracts them from it. A new
/// device with the same id is not given the rest, which lie before its beginning.
pub(super) fn forget_queue(
    context: &mut ApplyContext<'_>,
    localpart: &str,
    device_id: &str,
    forgettable: &mut usize,
) -> ApplyResult<()> {
    context.rows.delete(Table::ToDeviceQueue, key::to_device_queue(localpart, device_id));
    device::forget_rows(context, Table::ToDevice, &key::to_device_of(localpart, device_id), forgettable)
}

#[cfg(test)]
mod tests;
