//! The `chatctl register` command, which creates an account.

use super::login::{self, SignIn};
use crate::{context::CommandContext, error::Error, session};
use clap::Args;

/// Arguments of `chatctl register`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl --server chat.example.org:7400 register alice
  printf '%s\\n' \"$SECRET\" | chatctl register alice --password-stdin")]
pub struct RegisterArgs {
    #[command(flatten)]
    sign_in: SignIn,
}

/// Creates the account, opens its first session and stores it in the profile.
///
/// # Errors
/// Returns the server's refusal (name taken, registration disabled), or an error if the profile cannot be written.
pub async fn run_register(command: RegisterArgs, context: &CommandContext) -> Result<(), Error> {
    let client = context.client()?;
    let credentials = command.sign_in.credentials(true)?;
    let opened = session::register_user(&client, &credentials).await?;
    login::store_session(context, &opened)
}
