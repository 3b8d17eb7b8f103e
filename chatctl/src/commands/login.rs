//! The `chatctl login` command, which signs in to an account.

use crate::{context::CommandContext, error::Error, password, session, session::Credentials};
use clap::Args;
use quorate_wire::chat::v1::SessionResponse;
use serde_json::json;
use std::fs;

/// Arguments of `chatctl login`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl --server a.example.org:7400,b.example.org:7400 login alice
  QUORATE_PASSWORD=$(cat secret) chatctl --profile bot login bot --device-id BOT1")]
pub struct LoginArgs {
    #[command(flatten)]
    sign_in: SignIn,
}

/// Options that say who signs in, and as which device.
#[derive(Debug, Args)]
pub struct SignIn {
    /// User name ("alice") or full user id
    user: String,
    /// Name of this device, shown to its owner
    #[arg(long, default_value = "chatctl", value_name = "TEXT")]
    device_name: String,
    /// Existing device id to reuse [default: a new one]
    #[arg(long, value_name = "ID")]
    device_id: Option<String>,
    #[command(flatten)]
    password: password::PasswordSource,
}

impl SignIn {
    /// Reads the password, prompting twice if `confirm` is set, and returns the credentials.
    ///
    /// # Errors
    /// Returns an error if there is no password.
    pub fn credentials(self, confirm: bool) -> Result<Credentials, Error> {
        let password = self.password.read(confirm)?;
        let Self { user: username, device_name, device_id, .. } = self;
        Ok(Credentials { username, password, device_name, device_id })
    }
}

/// Opens a session and stores it in the profile.
///
/// # Errors
/// Returns the server's refusal, or an error if the profile cannot be written.
pub async fn run_login(command: LoginArgs, context: &CommandContext) -> Result<(), Error> {
    let client = context.client()?;
    let credentials = command.sign_in.credentials(false)?;
    let opened = session::sign_in(&client, &credentials).await?;
    store_session(context, &opened)
}

/// Writes a new session to the profile and reports it, without the token.
///
/// # Errors
/// Returns an error if the profile cannot be written.
pub fn store_session(context: &CommandContext, opened: &SessionResponse) -> Result<(), Error> {
    let servers = context.servers()?;
    let named = &context.global;
    // The path is made absolute, because a later command may run in another directory.
    let ca_file = named.ca_file.as_ref().map(|file| fs::canonicalize(file).map_err(Error::file(file))).transpose()?;
    let tls_server_name = named.tls_server_name.clone();
    context.store()?.update(&context.global.profile, |profile| {
        // Servers of the command line come with their own authority; those of the profile keep the one that it has.
        if !named.servers.is_empty() || ca_file.is_some() {
            profile.ca_file = ca_file;
            profile.tls_server_name = tls_server_name;
        }
        profile.servers = servers;
        profile.user = Some(opened.user_id.clone());
        profile.device = Some(opened.device_id.clone());
        profile.token = Some(opened.access_token.clone());
    })?;
    let document = json!({
        "user_id": opened.user_id,
        "device_id": opened.device_id,
        "server_name": opened.server_name,
        "expires_in_ms": opened.expires_in_ms,
        "profile": context.global.profile,
    });
    context.out.emit(&document, || format!("signed in as {} (device {})", opened.user_id, opened.device_id))
}
