//! The `chatctl admin users lock`, `unlock`, `suspend` and `unsuspend` commands.

use super::{AdminTarget, users};
use crate::{context::CommandContext, error::Error};
use clap::Args;
use quorate_wire::admin::v1::SetUserStandingRequest;

/// Arguments of the four commands.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin users lock alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin users unlock alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin users suspend alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin users unsuspend alice --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub(super) struct StandingArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Name of the account, or full user id
    user: String,
}

/// New standing of the account; what is not named stays as it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum NewStanding {
    Locked(bool),
    Suspended(bool),
}

/// Changes the standing of an account.
pub(super) async fn run_standing(
    command: StandingArgs,
    standing: NewStanding,
    context: &CommandContext,
) -> Result<(), Error> {
    let (locked, suspended) = match standing {
        NewStanding::Locked(locked) => (Some(locked), None),
        NewStanding::Suspended(suspended) => (None, Some(suspended)),
    };
    let (connection, _) = command.target.any().await?;
    let request = SetUserStandingRequest { user: command.user, locked, suspended };
    let changed = connection.moderate(|mut api| async move { api.set_user_standing(request).await }).await?;
    let user = changed.user.unwrap_or_default();
    context.out.emit(&users::user_document(&user), || users::user_table(std::slice::from_ref(&user)))
}
