//! Messages to devices: sending them, and removing those that a device has received.

use super::{CallerSession, ChatService, RequestRefusal, WriteProposal, decide, limits, write};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use quorate_core::id::Position;
use quorate_core::proto::log::{self, DeleteToDevice, DeviceMessage, SendToDevice, command::Kind, outcome};

/// Maximum number of messages that wait for one device, and of their bytes. A device that is used empties its queue
/// within seconds; one that is off for a week in a busy encrypted room is sent some thousands of small messages.
const MAX_QUEUED: u64 = 10_000;
const MAX_QUEUED_BYTES: u64 = 32 << 20;

/// Limits on the messages of one command, and on their bytes, so that a request to ten thousand devices does not hold up
/// the commands of others: they come between its parts.
const PART_MESSAGES: usize = 64;
const PART_BYTES: usize = 128 << 10;

/// Number of devices that a message to all devices of a user is taken for.
const DEVICES_OF_USER: usize = 16;

/// Number of parts of one request that are on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// Maximum number of removals under way. They are never urgent: what was received is not given again, and the next sync
/// of the device proposes the removal once more.
pub(super) const REMOVALS_AT_ONCE: usize = 256;

/// Number of commands for one removal: those of a full queue.
const REMOVAL_ROUNDS: usize = 16;

impl ChatService {
    /// Sends messages to devices. Repeated with the same transaction id, it sends none twice; what an earlier attempt
    /// did not send is sent.
    ///
    /// # Errors
    /// [`RefusalCode::Invalid`](super::RefusalCode::Invalid), [`RefusalCode::TooLarge`](super::RefusalCode::TooLarge),
    /// [`RefusalCode::BadJson`](super::RefusalCode::BadJson), the refusals of the proposer or of the log.
    pub async fn send_to_device(
        &self,
        s: &CallerSession,
        event_type: &str,
        messages: Vec<DeviceMessage>,
        txn: &str,
    ) -> Result<(), RequestRefusal> {
        limits::check_name("type", event_type)?;
        for message in &messages {
            limits::check_name("device_id", &message.device_id)?;
            limits::check_json_object("content", &message.content)?;
        }
        let mut envelopes = Vec::new();
        for (number, messages) in into_parts(messages).into_iter().enumerate() {
            let part = SendToDevice {
                r#type: event_type.to_owned(),
                messages,
                part: number.to_string(),
                max_messages: MAX_QUEUED,
                max_bytes: MAX_QUEUED_BYTES,
            };
            envelopes.push(decide::session_envelope(s, txn, Kind::SendToDevice(part))?);
        }
        let parts = stream::iter(envelopes).map(|envelope| {
            let service = self.clone();
            async move { write::expect_done(service.propose(envelope).await?) }
        });
        parts.buffered(PARTS_AT_ONCE).try_collect::<()>().await
    }

    /// Notes that a device has received its messages up to a position, and removes them in the background.
    pub fn received_messages(&self, session: &CallerSession, up_to: Position) {
        if !self.inner.removals.begin(session.token_hash) {
            return;
        }
        let service = self.clone();
        let session = session.clone();
        // The sync does not wait for it: what was received is left out by its token.
        tokio::spawn(async move {
            if let Err(refusal) = service.remove_received(&session, up_to).await {
                tracing::debug!(%refusal, "failed to remove received messages of a device");
            }
            service.inner.removals.end(&session.token_hash);
        });
    }

    async fn remove_received(&self, session: &CallerSession, up_to: Position) -> Result<(), RequestRefusal> {
        let localpart = session.localpart.clone();
        let device_id = session.device_id.clone();
        // A client that presents the same token again costs a lookup, and no entry of the log.
        let question =
            move |view: &quorate_core::query::StateView<'_>| view.has_received_messages(&localpart, &device_id, up_to);
        // The token may come from a pod that is ahead of this one.
        if !self.read_from(up_to, question).await? {
            return Ok(());
        }
        let Position { incarnation, index, ordinal } = up_to;
        let up_to = Some(log::Position { incarnation, index, ordinal });
        for _ in 0..REMOVAL_ROUNDS {
            // No transaction id: it can be applied any number of times, and nothing need remember it.
            let envelope = WriteProposal::of_session(session, Kind::DeleteToDevice(DeleteToDevice { up_to }));
            match self.propose_repeatable(envelope).await?.kind {
                Some(outcome::Kind::ToDeviceDeleted(deleted)) if deleted.more => {}
                Some(outcome::Kind::ToDeviceDeleted(_)) => return Ok(()),
                other => return Err(write::unexpected_outcome(other.as_ref())),
            }
        }
        Ok(())
    }
}

/// Divides the messages of a request into those of its commands, in the same way each time.
fn into_parts(messages: Vec<DeviceMessage>) -> Vec<Vec<DeviceMessage>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut count = 0;
    let mut bytes = 0;
    for message in messages {
        let devices = if message.device_id == "*" { DEVICES_OF_USER } else { 1 };
        let more = devices * row_bytes(&message.content);
        if !part.is_empty() && (count + devices > PART_MESSAGES || bytes + more > PART_BYTES) {
            parts.push(std::mem::take(&mut part));
            count = 0;
            bytes = 0;
        }
        count += devices;
        bytes += more;
        part.push(message);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Returns roughly the bytes that a message takes in a command and in a row.
fn row_bytes(content: &Bytes) -> usize {
    /// Bytes of the names of users, device and type.
    const NAMES: usize = 256;
    NAMES + content.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(device: &str, bytes: usize) -> DeviceMessage {
        DeviceMessage { user: "@bob:a.org".into(), device_id: device.into(), content: vec![b' '; bytes].into() }
    }

    fn sizes(messages: Vec<DeviceMessage>) -> Vec<usize> {
        into_parts(messages).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_request_to_thousands_of_devices_becomes_many_commands() {
        assert_eq!(sizes(Vec::new()), Vec::<usize>::new());
        assert_eq!(sizes((0..130).map(|n| message(&n.to_string(), 10)).collect()), [64, 64, 2]);
        assert_eq!(sizes((0..6).map(|_| message("*", 10)).collect()), [4, 2]);
    }

    #[test]
    fn a_large_message_gets_a_command_of_its_own() {
        assert_eq!(sizes(vec![message("A", 65_000), message("B", 65_000), message("C", 65_000)]), [2, 1]);
        assert_eq!(sizes(vec![message("A", 10), message("*", 65_000), message("C", 10)]), [1, 1, 1]);
    }
}
