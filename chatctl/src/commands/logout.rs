//! The `chatctl logout` command, which ends the session.

use crate::{client::FailureKind, context::CommandContext, error::Error};
use clap::Args;
use quorate_wire::chat::v1::LogoutRequest;
use serde_json::json;

/// Arguments of `chatctl logout`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl logout
  chatctl logout --all-devices")]
pub struct LogoutArgs {
    /// End all sessions of the account, not only this one
    #[arg(long)]
    all_devices: bool,
}

/// Ends the session on the cluster, then removes it from the profile.
///
/// # Errors
/// Returns an error if the cluster cannot be reached. The session then stays in the profile, so that it can still be
/// ended.
pub async fn run_logout(command: LogoutArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let request = LogoutRequest { all_devices: command.all_devices };
    match session.call(request, |mut chat, request| async move { chat.logout(request).await }).await {
        Ok(_) => {}
        // The session has ended already, which is what was asked for.
        Err(failure) if failure.kind == FailureKind::Unauthenticated => {}
        Err(failure) => return Err(failure.into()),
    }
    context.store()?.update(&context.global.profile, |profile| {
        profile.token = None;
        profile.device = None;
        profile.user = None;
    })?;
    context.out.emit(&json!({ "profile": context.global.profile }), || "signed out".to_owned())
}
