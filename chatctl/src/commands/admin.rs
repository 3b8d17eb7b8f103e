//! The `chatctl admin` commands, which administer the chat itself through the administrative API of its servers.

mod deactivate;
mod notices;
mod reports;
mod reset_password;
mod rooms;
mod standing;
mod tokens;
mod users;

use crate::{
    commands::cluster::AdminTarget,
    context::CommandContext,
    error::Error,
    output::{inert_json, printable_line},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Arguments of `chatctl admin`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  export QUORATE_ADMIN=127.0.0.1:7401 QUORATE_TLS_DIR=./cluster
  chatctl admin users list --search alice
  chatctl admin users lock alice")]
pub struct AdminArgs {
    #[command(subcommand)]
    action: AdminAction,
}

#[derive(Debug, Subcommand)]
enum AdminAction {
    /// List, lock, suspend and close accounts, and reset their passwords
    Users(UsersArgs),
    /// List, create and delete tokens with which people register
    Tokens(tokens::TokensArgs),
    /// List and dismiss what users have reported
    Reports(reports::ReportsArgs),
    /// List, block and delete rooms
    Rooms(rooms::RoomsArgs),
    /// Send notices of the server
    Notices(notices::NoticesArgs),
}

/// Arguments of `chatctl admin users`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin users list --search alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin users suspend alice --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct UsersArgs {
    #[command(subcommand)]
    action: UserAction,
}

#[derive(Debug, Subcommand)]
enum UserAction {
    /// List accounts, optionally those whose name contains a text
    List(users::ListUsersArgs),
    /// Show an account with its devices
    Show(users::ShowUserArgs),
    /// Lock an account: it can do nothing but log out
    Lock(standing::StandingArgs),
    /// Unlock an account
    Unlock(standing::StandingArgs),
    /// Suspend an account: it can read and leave rooms, but not write or join
    Suspend(standing::StandingArgs),
    /// Lift the suspension of an account
    Unsuspend(standing::StandingArgs),
    /// Give an account a new password and end its sessions
    ResetPassword(reset_password::ResetPasswordArgs),
    /// Close an account for good
    Deactivate(deactivate::DeactivateArgs),
}

/// Runs the chosen action.
///
/// # Errors
/// Returns the refusal of the server, or an error if no server answers.
pub async fn run_admin(command: AdminArgs, context: &CommandContext) -> Result<(), Error> {
    match command.action {
        AdminAction::Users(command) => run_users(command.action, context).await,
        AdminAction::Tokens(command) => tokens::run_tokens(command, context).await,
        AdminAction::Reports(command) => reports::run_reports(command, context).await,
        AdminAction::Rooms(command) => rooms::run_rooms(command, context).await,
        AdminAction::Notices(command) => notices::run_notices(command, context).await,
    }
}

/// Says on standard error how far a long command is: as JSON for programs, or in words.
fn show_progress(context: &CommandContext, progress: &Value, words: &str) {
    if context.out.is_json() {
        eprintln!("{}", inert_json(&json!({ "progress": progress }).to_string()));
    } else {
        eprintln!("chatctl: {}", printable_line(words));
    }
}

async fn run_users(action: UserAction, context: &CommandContext) -> Result<(), Error> {
    use standing::NewStanding;
    match action {
        UserAction::List(command) => users::run_list_users(command, context).await,
        UserAction::Show(command) => users::run_show_user(command, context).await,
        UserAction::Lock(command) => standing::run_standing(command, NewStanding::Locked(true), context).await,
        UserAction::Unlock(command) => standing::run_standing(command, NewStanding::Locked(false), context).await,
        UserAction::Suspend(command) => standing::run_standing(command, NewStanding::Suspended(true), context).await,
        UserAction::Unsuspend(command) => standing::run_standing(command, NewStanding::Suspended(false), context).await,
        UserAction::ResetPassword(command) => reset_password::run_reset_password(command, context).await,
        UserAction::Deactivate(command) => deactivate::run_deactivate(command, context).await,
    }
}
