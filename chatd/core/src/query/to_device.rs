//! Messages that wait for a device.

use super::{PAGE_BYTES, QueryError, StateView};
use crate::id::Position;
use crate::proto::store;
use crate::rows;
use crate::table::{self, ScanControl, ScanRange, Table, key};
use bytes::Bytes;

/// Maximum number of messages in one answer, as many as other servers give: a client decrypts them before it asks again.
pub const MAX_QUEUED_MESSAGES: usize = 100;

/// Message to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Full user id of the sender.
    pub sender: String,
    /// Type of the message.
    pub event_type: String,
    /// Content of the message: a JSON object.
    pub content: Bytes,
}

/// Messages for a device in one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuedMessages {
    /// Messages in the order in which they were sent.
    pub messages: Vec<QueuedMessage>,
    /// Position up to which the device has all its messages with this answer; `None` if the answer contains none. Goes
    /// into the token, which acknowledges the messages when it comes back.
    pub given_to: Option<Position>,
    /// `true` if messages that the device has acknowledged have not been removed yet.
    pub has_received: bool,
}

impl StateView<'_> {
    /// Returns what was sent to a device after `after`, the position up to which it has everything, and up to `until`,
    /// as far as one answer holds it. A device that is not there has no messages.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn queued_messages(
        &self,
        localpart: &str,
        device_id: &str,
        after: Option<Position>,
        until: Position,
    ) -> Result<QueuedMessages, QueryError> {
        self.some_queued_messages(localpart, device_id, after, until, MAX_QUEUED_MESSAGES)
    }

    /// Returns messages like [`StateView::queued_messages`], at most `at_most` of them.
    pub(super) fn some_queued_messages(
        &self,
        localpart: &str,
        device_id: &str,
        after: Option<Position>,
        until: Position,
        at_most: usize,
    ) -> Result<QueuedMessages, QueryError> {
        let mut out = QueuedMessages::default();
        let after = after.map(|after| self.clamp(after));
        let Some(oldest) = self.oldest_queued_message(localpart, device_id)? else { return Ok(out) };
        let device_key = key::device_key(localpart, device_id);
        let Some(device) = table::fetch_row::<store::Device>(self.rows, Table::Device, &device_key)? else {
            return Ok(out);
        };
        out.has_received = after.is_some_and(|after| oldest <= after);
        // Messages before the device's beginning were for another device with the same id.
        let opened_at = table::decode_position(Table::Device, &device.opened_at)?;
        let mut from = key::to_device_key(localpart, device_id, after.max(opened_at).unwrap_or_default());
        let mut end = key::to_device_key(localpart, device_id, until);
        // Just after these positions: no key is longer.
        from.push(0);
        end.push(0);
        let mut bytes = 0;
        let mut last = until;
        self.rows.scan(&ScanRange::between(Table::ToDevice, &from, &end), &mut |(key, value)| {
            if out.messages.len() >= at_most || bytes >= PAGE_BYTES {
                out.given_to = Some(last);
                return Ok(ScanControl::Stop);
            }
            bytes += value.len();
            last = rows::position_in(Table::ToDevice, key)?;
            let row: store::ToDevice = table::decode_value(Table::ToDevice, value)?;
            out.messages.push(QueuedMessage { sender: row.sender, event_type: row.r#type, content: row.content });
            Ok(ScanControl::More)
        })?;
        if !out.messages.is_empty() {
            out.given_to.get_or_insert(until);
        }
        Ok(out)
    }

    /// Returns `true` if there are messages to a device at or before a position, up to which it has received all.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn has_received_messages(&self, localpart: &str, device_id: &str, up_to: Position) -> Result<bool, QueryError> {
        let oldest = self.oldest_queued_message(localpart, device_id)?;
        Ok(oldest.is_some_and(|oldest| oldest <= self.clamp(up_to)))
    }

    fn oldest_queued_message(&self, localpart: &str, device_id: &str) -> Result<Option<Position>, QueryError> {
        let prefix = key::to_device_of(localpart, device_id);
        let mut oldest = None;
        self.rows.scan(&ScanRange::with_prefix(Table::ToDevice, &prefix), &mut |(key, _)| {
            oldest = Some(rows::position_in(Table::ToDevice, key)?);
            Ok(ScanControl::Stop)
        })?;
        Ok(oldest)
    }
}
