//! Dehydrated device of a user (MSC3814), and what waits for it.

use super::{MAX_QUEUED_MESSAGES, QueryError, QueuedMessage, StateView};
use crate::id::Position;
use crate::proto::store;
use crate::table::{self, Table, key};
use bytes::Bytes;

/// Device without a session that a user has left with the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DehydratedDevice {
    /// Id of the device.
    pub device_id: String,
    /// JSON object with the device's private keys, encrypted by the client.
    pub data: Bytes,
}

/// Messages for a dehydrated device in one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DehydratedMessages {
    /// Messages in the order in which they were sent.
    pub messages: Vec<QueuedMessage>,
    /// Position from which the next answer continues.
    pub next: Position,
    /// `true` if there are more.
    pub has_more: bool,
}

impl StateView<'_> {
    /// Returns a user's dehydrated device; `None` if there is none.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn dehydrated_device(&self, localpart: &str) -> Result<Option<DehydratedDevice>, QueryError> {
        let key = key::account_key(localpart);
        let row = table::fetch_row::<store::DehydratedDevice>(self.rows, Table::DehydratedDevice, &key)?;
        Ok(row.map(|row| DehydratedDevice { device_id: row.device_id, data: row.data }))
    }

    /// Returns the messages that wait for a user's dehydrated device after a position, at least one if there are any and as
    /// far as one answer holds them; `None` if it is not this device. They stay until the device is removed, so that they
    /// can be read again.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn dehydrated_messages(
        &self,
        localpart: &str,
        device_id: &str,
        after: Option<Position>,
        at_most: usize,
    ) -> Result<Option<DehydratedMessages>, QueryError> {
        if self.dehydrated_device(localpart)?.is_none_or(|device| device.device_id != device_id) {
            return Ok(None);
        }
        let now = self.now();
        let at_most = at_most.clamp(1, MAX_QUEUED_MESSAGES);
        let page = self.some_queued_messages(localpart, device_id, after, now, at_most)?;
        let next = page.given_to.unwrap_or(now);
        Ok(Some(DehydratedMessages { messages: page.messages, next, has_more: next < now }))
    }
}
