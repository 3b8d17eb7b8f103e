//! The `chatctl join` command, which joins a room.

use crate::{cli::Context, error::Error, position::Position, send};
use clap::Args;
use quorate_wire::chat::v1::{JoinRoomRequest, MembershipResponse};
use serde_json::json;

/// Arguments of `chatctl join`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl join '#ops:example.org'
  chatctl join '!AbCdEf:example.org'")]
pub struct Command {
    /// Room id or full alias
    room: String,
}

/// Joins the room, which also accepts an invitation to it.
pub async fn run(command: Command, context: &Context) -> Result<(), Error> {
    let session = context.session().await?;
    let transaction_id = send::transaction_id();
    let request = JoinRoomRequest { room: command.room, transaction_id: transaction_id.clone() };
    let joined = session.call(request, |mut chat, request| async move { chat.join_room(request).await }).await;
    let joined = joined.map_err(|failure| failure.of_write(&transaction_id))?;
    report(context, &joined, "joined")
}

/// Prints the outcome of a membership change.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn report(context: &Context, change: &MembershipResponse, verb: &str) -> Result<(), Error> {
    let position = change.position.map(Position::from);
    let document = json!({ "room_id": change.room_id, "event_id": change.event_id, "position": position });
    context.out.emit(&document, || format!("{verb} {}", change.room_id))
}
