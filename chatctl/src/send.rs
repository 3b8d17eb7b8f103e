//! One message until it is settled.

use crate::{client::Failure, position::Position, session::Session};
use quorate_wire::chat::v1::{SendRequest, SendResponse};
use serde::Serialize;
use uuid::Uuid;

/// Type of an ordinary message (Matrix client-server API, `m.room.message`).
pub const MESSAGE: &str = "m.room.message";

/// What the cluster promised about a message.
#[derive(Debug, Clone, Serialize)]
pub struct Accepted {
    /// Its name in the room.
    pub event_id: String,
    /// Its place in the cluster's one order.
    pub position: Position,
    /// Milliseconds since the Unix epoch, by the leader's clock.
    pub origin_server_ts: u64,
    /// With which it was sent.
    pub transaction_id: String,
}

/// A transaction id that no other message of this device has.
#[must_use]
pub fn transaction_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Sends a message, again and again with the same transaction id, until it is accepted or refused for good.
///
/// The same id is applied once by the cluster, so that an attempt whose outcome is unknown is simply repeated.
///
/// # Errors
/// The refusal, or [`Failure::unknown`] when the client's time is up with an attempt in doubt.
pub async fn send(session: &Session, message: SendRequest) -> Result<Accepted, Failure> {
    let transaction_id = message.transaction_id.clone();
    let sent = session.call(message, |mut chat, request| async move { chat.send(request).await }).await;
    let SendResponse { event_id, position, origin_server_ts } = sent.map_err(|f| f.of_write(&transaction_id))?;
    let position = position.map(Position::from).unwrap_or_default();
    Ok(Accepted { event_id, position, origin_server_ts, transaction_id })
}
