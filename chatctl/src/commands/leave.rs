//! The `chatctl leave` command, which leaves a room.

use super::{join, room};
use crate::{context::CommandContext, error::Error, send};
use clap::Args;
use quorate_wire::chat::v1::LeaveRoomRequest;

/// Arguments of `chatctl leave`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl leave '#ops'
  chatctl leave '!AbCdEf:example.org' --reason 'moved on'")]
pub struct LeaveArgs {
    /// Room id, alias, or name of one of your rooms
    room: String,
    /// Reason, shown to the members
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

/// Leaves the room, or rejects an invitation to it.
pub async fn run_leave(command: LeaveArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let transaction_id = send::transaction_id();
    let request = LeaveRoomRequest {
        room_id: room::resolve_room_id(&session, &command.room).await?,
        reason: command.reason,
        transaction_id: transaction_id.clone(),
    };
    let left = session.call(request, |mut chat, request| async move { chat.leave_room(request).await }).await;
    let left = left.map_err(|failure| failure.of_write(&transaction_id))?;
    join::report_membership(context, &left, "left")
}
