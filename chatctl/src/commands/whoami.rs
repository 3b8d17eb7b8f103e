//! The `chatctl whoami` command, which shows who is signed in.

use crate::{context::CommandContext, error::Error};
use clap::Args;
use quorate_wire::chat::v1::WhoAmIRequest;
use serde_json::json;

/// Arguments of `chatctl whoami`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl whoami
  chatctl --output json whoami | jq -r .user_id")]
pub struct WhoamiArgs {}

/// Asks the cluster who is signed in, so that an ended session is noticed.
///
/// # Errors
/// Returns an error if the session has ended or the cluster cannot be reached.
pub async fn run_whoami(_: WhoamiArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let me = session.call(WhoAmIRequest {}, |mut chat, request| async move { chat.who_am_i(request).await }).await?;
    let document = json!({ "user_id": me.user_id, "device_id": me.device_id, "server_name": me.server_name });
    context.out.emit(&document, || format!("{} (device {}) on {}", me.user_id, me.device_id, me.server_name))
}
