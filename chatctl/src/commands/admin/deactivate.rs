//! The `chatctl admin users deactivate` command.

use super::{AdminTarget, show_progress};
use crate::{context::CommandContext, error::Error};
use clap::Args;
use quorate_wire::admin::v1::{DeactivateUserRequest, GetUserRequest};
use serde_json::json;
use std::time::Duration;

/// Interval at which the progress is asked for: an account leaves some hundred rooms in it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `chatctl admin users deactivate`.
///
/// The account is closed for good: its sessions end at once, it leaves all of its rooms, and nobody can take its name. The
/// command waits until the rooms are left; the servers go on if it is interrupted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin users deactivate alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin users deactivate alice --erase --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub(super) struct DeactivateArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Name of the account, or full user id
    user: String,
    /// Remove profile, account data and filters as well, and hide what the user wrote from those who were not in the room
    #[arg(long)]
    erase: bool,
}

/// Closes the account, and repeats the call until nothing is left to do.
pub(super) async fn run_deactivate(command: DeactivateArgs, context: &CommandContext) -> Result<(), Error> {
    let DeactivateArgs { target, user, erase } = command;
    let (connection, _) = target.any().await?;
    loop {
        let request = DeactivateUserRequest { user: user.clone(), erase };
        let done = connection.moderate(|mut api| async move { api.deactivate_user(request).await }).await?;
        if !done.more {
            break;
        }
        let request = GetUserRequest { user: user.clone() };
        let left = connection.moderate(|mut api| async move { api.get_user(request).await }).await?;
        let rooms = left.joined_rooms;
        let words = format!("{user} is deactivated; {rooms} rooms are still to be left");
        show_progress(context, &json!({ "user": user, "rooms_left": rooms }), &words);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let document = json!({ "user": user, "deactivated": true, "erased": erase });
    context.out.emit(&document, || format!("{user}: deactivated"))
}
