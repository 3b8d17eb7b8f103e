//! The `chatctl admin tokens` commands, about registration tokens.

use super::AdminTarget;
use crate::{
    commands::time::{format_utc, now_ms},
    context::CommandContext,
    error::Error,
    output::format_table,
};
use clap::{Args, Subcommand};
use quorate_duration::parse_duration;
use quorate_wire::admin::v1::{
    DeleteRegistrationTokenRequest, ListRegistrationTokensRequest, PutRegistrationTokenRequest, RegistrationToken,
};
use quorate_wire::whole_millis;
use serde_json::{Value, json};
use std::time::Duration;

/// Arguments of `chatctl admin tokens`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin tokens create --uses 10 --expires-in 168h --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin tokens list --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub(super) struct TokensArgs {
    #[command(subcommand)]
    action: TokenAction,
}

#[derive(Debug, Subcommand)]
enum TokenAction {
    /// List the registration tokens
    List(ListTokensArgs),
    /// Create a registration token, or change its limits, and print it
    Create(CreateTokenArgs),
    /// Delete a registration token
    Delete(DeleteTokenArgs),
}

/// Arguments of `chatctl admin tokens list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin tokens list --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct ListTokensArgs {
    #[command(flatten)]
    target: AdminTarget,
}

/// Arguments of `chatctl admin tokens create`.
///
/// The token lets people register with Matrix clients while `registration` is `token`. Repeating the command with the
/// same token changes its limits; how often it was used stays.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin tokens create --uses 1 --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin tokens create spring-school --expires-in 720h --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct CreateTokenArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// The token; the server chooses one if it is left out
    #[arg(default_value = "", hide_default_value = true)]
    token: String,
    /// Number of accounts that can be registered with the token; any number if it is left out
    #[arg(long, value_name = "N")]
    uses: Option<u64>,
    /// Time after which the token is good for nothing
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    expires_in: Option<Duration>,
}

/// Arguments of `chatctl admin tokens delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin tokens delete spring-school --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct DeleteTokenArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// The token
    token: String,
}

/// Runs the chosen action.
pub(super) async fn run_tokens(command: TokensArgs, context: &CommandContext) -> Result<(), Error> {
    match command.action {
        TokenAction::List(command) => list_tokens(command, context).await,
        TokenAction::Create(command) => create_token(command, context).await,
        TokenAction::Delete(command) => delete_token(command, context).await,
    }
}

async fn list_tokens(command: ListTokensArgs, context: &CommandContext) -> Result<(), Error> {
    let (connection, _) = command.target.any().await?;
    let mut tokens = Vec::new();
    let mut from = String::new();
    loop {
        let request = ListRegistrationTokensRequest { from, limit: 0 };
        let page = connection.moderate(|mut api| async move { api.list_registration_tokens(request).await }).await?;
        tokens.extend(page.tokens);
        from = page.next;
        if from.is_empty() {
            break;
        }
    }
    let document = json!({ "tokens": tokens.iter().map(token_document).collect::<Vec<_>>() });
    context.out.emit(&document, || token_table(&tokens))
}

async fn create_token(command: CreateTokenArgs, context: &CommandContext) -> Result<(), Error> {
    let CreateTokenArgs { target, token, uses, expires_in } = command;
    let expires_ms = expires_in.map_or(0, |left| now_ms().saturating_add(whole_millis(left)));
    let (connection, _) = target.any().await?;
    let request = PutRegistrationTokenRequest { token, uses_allowed: uses, expires_ms };
    let made = connection.moderate(|mut api| async move { api.put_registration_token(request).await }).await?;
    let made = made.token.unwrap_or_default();
    context.out.emit(&token_document(&made), || made.token.clone())
}

async fn delete_token(command: DeleteTokenArgs, context: &CommandContext) -> Result<(), Error> {
    let DeleteTokenArgs { target, token } = command;
    let (connection, _) = target.any().await?;
    let request = DeleteRegistrationTokenRequest { token: token.clone() };
    connection.moderate(|mut api| async move { api.delete_registration_token(request).await }).await?;
    context.out.emit(&json!({ "token": token, "deleted": true }), || format!("{token}: deleted"))
}

fn token_document(token: &RegistrationToken) -> Value {
    json!({
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "used": token.used,
        "expires_ms": token.expires_ms,
        "created_ms": token.created_ms,
    })
}

fn token_table(tokens: &[RegistrationToken]) -> String {
    let row = |token: &RegistrationToken| {
        let allowed = token.uses_allowed.map_or_else(|| "any".into(), |allowed| allowed.to_string());
        let expires = if token.expires_ms == 0 { "never".into() } else { format_utc(token.expires_ms) };
        vec![token.token.clone(), token.used.to_string(), allowed, expires]
    };
    format_table(&["TOKEN", "USED", "ALLOWED", "EXPIRES (UTC)"], &tokens.iter().map(row).collect::<Vec<_>>())
}
