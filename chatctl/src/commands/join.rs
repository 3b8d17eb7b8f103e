//! The `chatctl join` command, which joins a room.

use crate::{context::CommandContext, error::Error, position::EventPosition, send};
use clap::Args;
use quorate_wire::chat::v1::{JoinRoomRequest, MembershipResponse};
use serde_json::json;

/// Arguments of `chatctl join`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl join '#ops:example.org'
  chatctl join '!AbCdEf:example.org'")]
pub struct JoinArgs {
    /// Room id or full alias
    room: String,
}

/// Joins the room, which also accepts an invitation to it.
pub async fn run_join(command: JoinArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let transaction_id = send::transaction_id();
    let request = JoinRoomRequest { room: command.room, transaction_id: transaction_id.clone() };
    let joined = session.call(request, |mut chat, request| async move { chat.join_room(request).await }).await;
    let joined = joined.map_err(|failure| failure.of_write(&transaction_id))?;
    report_membership(context, &joined, "joined")
}

/// Prints the outcome of a membership change.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn report_membership(context: &CommandContext, change: &MembershipResponse, verb: &str) -> Result<(), Error> {
    let position = change.position.map(EventPosition::from);
    let document = json!({ "room_id": change.room_id, "event_id": change.event_id, "position": position });
    context.out.emit(&document, || format!("{verb} {}", change.room_id))
}
