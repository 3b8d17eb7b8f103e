//! The `chatctl invite` command, which invites a user to a room.

use super::{join, room};
use crate::{context::CommandContext, error::Error, send};
use clap::Args;
use quorate_wire::chat::v1::InviteRequest;

/// Arguments of `chatctl invite`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl invite '#ops' @bob:example.org
  chatctl invite Operations @bob:example.org --reason 'on call this week'")]
pub struct InviteArgs {
    /// Room id, alias, or name of one of your rooms
    room: String,
    /// Full user id to invite
    user: String,
    /// Reason, shown to the invited user
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

/// Resolves the room and sends the invitation.
pub async fn run_invite(command: InviteArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let transaction_id = send::transaction_id();
    let request = InviteRequest {
        room_id: room::resolve_room_id(&session, &command.room).await?,
        user_id: command.user,
        reason: command.reason,
        transaction_id: transaction_id.clone(),
    };
    let invited = session.call(request, |mut chat, request| async move { chat.invite(request).await }).await;
    let invited = invited.map_err(|failure| failure.of_write(&transaction_id))?;
    join::report_membership(context, &invited, "invited to")
}
