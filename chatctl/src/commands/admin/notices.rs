//! The `chatctl admin notices` commands.

use super::{AdminTarget, show_progress};
use crate::{admin::AdminConnection, client::CallFailure, context::CommandContext, error::Error, send};
use clap::{Args, Subcommand};
use quorate_wire::admin::v1::{ListUsersRequest, SendNoticeRequest, SendNoticeResponse};
use quorate_wire::chat::v1::ErrorCode;
use serde_json::json;

/// Number of accounts per page, which is the server's own limit, and after which the progress is shown.
const PAGE: u32 = 1000;

/// Arguments of `chatctl admin notices`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin notices send 'Maintenance on Sunday' --to alice --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin notices send 'Maintenance on Sunday' --to-all --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub(super) struct NoticesArgs {
    #[command(subcommand)]
    action: NoticeAction,
}

#[derive(Debug, Subcommand)]
enum NoticeAction {
    /// Send a notice to one user, or to all
    Send(SendNoticeArgs),
}

/// Arguments of `chatctl admin notices send`.
///
/// Each user gets notices in a room of their own, to which they are invited with the first one. A notice to all reaches
/// those who have an account when the command comes to their name; with the same id it can be repeated after an
/// interruption, and nobody gets it twice.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl admin notices send 'Maintenance on Sunday' --to alice --to bob --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl admin notices send 'Maintenance on Sunday' --to-all --id sunday --admin 127.0.0.1:7401 --tls-dir ./cluster")]
struct SendNoticeArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Text of the notice
    text: String,
    /// Name of an account, or full user id; may be repeated
    #[arg(long, value_name = "USER", required_unless_present = "to_all")]
    to: Vec<String>,
    /// Send the notice to every account that is not deactivated
    #[arg(long, conflicts_with = "to")]
    to_all: bool,
    /// Id of the notice, for repeating the command; a random one if it is left out
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

/// Runs the chosen action.
pub(super) async fn run_notices(command: NoticesArgs, context: &CommandContext) -> Result<(), Error> {
    match command.action {
        NoticeAction::Send(command) => send_notices(command, context).await,
    }
}

async fn send_notices(command: SendNoticeArgs, context: &CommandContext) -> Result<(), Error> {
    let SendNoticeArgs { target, text, to, to_all, id } = command;
    let (connection, _) = target.any().await?;
    let notice_id = id.unwrap_or_else(send::transaction_id);
    let notice = SendNoticeRequest { user: String::new(), body: text, notice_id: notice_id.clone() };
    let count = if to_all {
        send_to_all(&connection, &notice, context).await?
    } else {
        for user in &to {
            send_one(&connection, &notice, user).await?;
        }
        to.len()
    };
    let document = json!({ "notice_id": notice_id, "sent": count });
    context.out.emit(&document, || format!("sent to {count} users"))
}

/// Sends the notice to all accounts, page by page, and returns their number.
async fn send_to_all(
    connection: &AdminConnection,
    notice: &SendNoticeRequest,
    context: &CommandContext,
) -> Result<usize, Error> {
    let mut count = 0;
    let mut from = String::new();
    loop {
        let request = ListUsersRequest { search: String::new(), from, limit: PAGE };
        let page = connection.moderate(|mut api| async move { api.list_users(request).await }).await?;
        for user in page.users.iter().filter(|user| !user.deactivated) {
            match send_one(connection, notice, &user.user_id).await {
                Ok(_) => count += 1,
                // The sender of notices itself, or an account that was closed since the page was read.
                Err(failure) if is_no_recipient(&failure) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        from = page.next;
        if from.is_empty() {
            return Ok(count);
        }
        show_progress(context, &json!({ "sent": count }), &format!("sent to {count} users"));
    }
}

async fn send_one(
    connection: &AdminConnection,
    notice: &SendNoticeRequest,
    user: &str,
) -> Result<SendNoticeResponse, CallFailure> {
    let request = SendNoticeRequest { user: user.to_owned(), ..notice.clone() };
    connection.moderate(|mut api| async move { api.send_notice(request).await }).await
}

fn is_no_recipient(failure: &CallFailure) -> bool {
    failure.error_code == ErrorCode::NotFound
}
