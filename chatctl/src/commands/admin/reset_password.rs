//! The `chatctl admin users reset-password` command.

use super::AdminTarget;
use crate::{context::CommandContext, error::Error, password::PasswordSource};
use clap::Args;
use quorate_wire::admin::v1::ResetPasswordRequest;
use serde_json::json;

/// Arguments of `chatctl admin users reset-password`.
///
/// The account gets the new password at once, and all of its sessions end unless they are kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin users reset-password alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  printf '%s\\n' \"$SECRET\" | chatctl admin users reset-password alice --password-stdin --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub(super) struct ResetPasswordArgs {
    #[command(flatten)]
    target: AdminTarget,
    #[command(flatten)]
    password: PasswordSource,
    /// Name of the account, or full user id
    user: String,
    /// Keep the sessions of the account
    #[arg(long)]
    keep_sessions: bool,
}

/// Resets the password.
pub(super) async fn run_reset_password(command: ResetPasswordArgs, context: &CommandContext) -> Result<(), Error> {
    let ResetPasswordArgs { target, password, user, keep_sessions } = command;
    let new_password = password.read(true)?;
    let (connection, _) = target.any().await?;
    let request = ResetPasswordRequest { user: user.clone(), new_password, keep_sessions };
    connection.moderate(|mut api| async move { api.reset_password(request).await }).await?;
    let document = json!({ "user": user, "sessions_kept": keep_sessions });
    context.out.emit(&document, || {
        let sessions = if keep_sessions { "kept" } else { "ended" };
        format!("{user}: password reset, sessions {sessions}")
    })
}
