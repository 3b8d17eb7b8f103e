//! Sending of one message at a time, with retries until it is settled.

use crate::{client::CallFailure, position::EventPosition, session::ClientSession};
use quorate_wire::chat::v1::{SendRequest, SendResponse};
use serde::Serialize;
use uuid::Uuid;

/// Type of an ordinary message (Matrix client-server API, `m.room.message`).
pub const MESSAGE: &str = "m.room.message";

/// Acknowledgement of a message: what the cluster promised about it.
#[derive(Debug, Clone, Serialize)]
pub struct AcceptedMessage {
    /// Event id of the message.
    pub event_id: String,
    /// Position of the message in the cluster-wide order.
    pub position: EventPosition,
    /// Time of the message in milliseconds since the Unix epoch, by the leader's clock.
    pub origin_server_ts: u64,
    /// Transaction id with which the message was sent.
    pub transaction_id: String,
}

/// Returns a transaction id that no other message of this device has.
#[must_use]
pub fn transaction_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Sends a message until it is accepted or permanently refused, with the same transaction id in every attempt.
///
/// The cluster applies an id only once, so an attempt whose outcome is unknown can simply be repeated.
///
/// # Errors
/// Returns the refusal, or a failure with [`CallFailure::unknown`] set if the client's time is up while an attempt is in
/// doubt.
pub async fn send_until_settled(session: &ClientSession, message: SendRequest) -> Result<AcceptedMessage, CallFailure> {
    let transaction_id = message.transaction_id.clone();
    let sent = session.call(message, |mut chat, request| async move { chat.send(request).await }).await;
    let SendResponse { event_id, position, origin_server_ts } = sent.map_err(|f| f.of_write(&transaction_id))?;
    let position = position.map(EventPosition::from).unwrap_or_default();
    Ok(AcceptedMessage { event_id, position, origin_server_ts, transaction_id })
}
