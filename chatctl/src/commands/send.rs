//! The `chatctl send` command, which sends messages.

use super::room;
use crate::{
    context::CommandContext,
    error::Error,
    send::{self, MESSAGE, transaction_id},
    session::ClientSession,
};
use clap::Args;
use quorate_wire::chat::v1::SendRequest;
use serde_json::{Value, json};
use std::{io, thread};
use tokio::sync::mpsc;

/// Arguments of `chatctl send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl send '#ops' 'deployed'
  tail -f build.txt | chatctl send '#ops'
  chatctl send '#ops' --type org.example.alert --content '{\"level\":3}'

Each message is retried with the same transaction id until the cluster has accepted or refused it, so it is stored
exactly once. If the time limit is reached first, the exit code is 6 and the error names the transaction id.")]
pub struct SendArgs {
    /// Room id, alias, or name of one of your rooms
    room: String,
    /// Message to send; each line of standard input when absent
    message: Option<String>,
    /// Complete content as a JSON object instead of a message
    #[arg(long, conflicts_with = "message", value_name = "JSON")]
    content: Option<String>,
    /// Type of the event
    #[arg(long = "type", default_value = MESSAGE, value_name = "TYPE")]
    kind: String,
    /// Kind of message: m.text, m.notice or m.emote
    #[arg(long, default_value = "m.text", value_name = "MSGTYPE")]
    msgtype: String,
    /// Transaction id of an earlier attempt whose outcome is unknown
    #[arg(long, value_name = "ID")]
    transaction_id: Option<String>,
}

/// Sends one message, or the lines of standard input in their order.
///
/// # Errors
/// Returns the first refusal; lines before it are accepted and printed.
pub async fn run_send(command: SendArgs, context: &CommandContext) -> Result<(), Error> {
    let content = one_content(&command)?;
    if content.is_none() && command.transaction_id.is_some() {
        return Err(Error::Usage(
            "--transaction-id applies to a single message: pass the message as an argument".to_owned(),
        ));
    }
    let session = context.session().await?;
    let room_id = room::resolve_room_id(&session, &command.room).await?;
    let message = |content: Value, transaction_id: String| SendRequest {
        room_id: room_id.clone(),
        r#type: command.kind.clone(),
        content: content.to_string().into(),
        transaction_id,
    };
    if let Some(content) = content {
        let id = command.transaction_id.clone().unwrap_or_else(transaction_id);
        return send_one(context, &session, message(content, id)).await;
    }
    let mut lines = stdin_lines();
    while let Some(line) = lines.recv().await {
        let line = line.map_err(Error::file("standard input"))?;
        if !line.is_empty() {
            send_one(context, &session, message(text_content(&command.msgtype, &line), transaction_id())).await?;
        }
    }
    Ok(())
}

/// Returns the lines of standard input, read by a thread of its own: reading blocks, and cannot be cancelled.
fn stdin_lines() -> mpsc::Receiver<io::Result<String>> {
    // Only one line is read ahead: lines that have not been sent stay with their writer.
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn one_content(command: &SendArgs) -> Result<Option<Value>, Error> {
    match (&command.content, &command.message) {
        (Some(json), _) => match serde_json::from_str(json) {
            Ok(Value::Object(object)) => Ok(Some(Value::Object(object))),
            Ok(_) => Err(Error::Usage("--content must be a JSON object".to_owned())),
            Err(error) => Err(Error::Usage(format!("--content is not valid JSON: {error}"))),
        },
        (None, Some(message)) => Ok(Some(text_content(&command.msgtype, message))),
        (None, None) => Ok(None),
    }
}

fn text_content(msgtype: &str, body: &str) -> Value {
    json!({ "msgtype": msgtype, "body": body })
}

async fn send_one(context: &CommandContext, session: &ClientSession, message: SendRequest) -> Result<(), Error> {
    let accepted = send::send_until_settled(session, message).await?;
    context.out.emit(&accepted, || format!("{} at {}", accepted.event_id, accepted.position))
}
