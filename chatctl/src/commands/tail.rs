//! The `chatctl tail` command, which follows rooms.

use super::{event, room};
use crate::{
    context::CommandContext,
    error::Error,
    output::printable_line,
    tail::{DuplicateFilter, ResumingSubscription},
};
use clap::Args;
use serde_json::json;

/// Arguments of `chatctl tail`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl tail                         all your rooms
  chatctl tail '#ops'
  chatctl --output json tail '#ops' --count 10
  chatctl tail '#ops' --cursor \"$LAST\"   after the cursor that --output json printed

If the connection is lost, the stream resumes on another server after the last event. Reconnections are reported on
standard error.")]
pub struct TailArgs {
    /// Room id, alias, or name of one of your rooms; all your rooms when absent
    room: Option<String>,
    /// Continue after this cursor instead of starting now
    #[arg(long, default_value = "", hide_default_value = true, value_name = "CURSOR")]
    cursor: String,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print only messages: no joins, topics or other state
    #[arg(long)]
    messages: bool,
}

/// Prints events until the process is stopped, `--count` is reached, or no server can continue the subscription.
///
/// # Errors
/// Returns an error if the session has ended, the room is closed to the caller, or the cursor is invalid.
pub async fn run_tail(command: TailArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let room_id = match &command.room {
        Some(room) => room::resolve_room_id(&session, room).await?,
        None => String::new(),
    };
    let mut tail = ResumingSubscription::new(session.clone(), &room_id, &command.cursor);
    let mut once = DuplicateFilter::default();
    let mut left = command.count.unwrap_or(u64::MAX);
    let mut reconnects = 0;
    while left > 0 {
        let frame = tail.next().await?;
        note_reconnect(context, &tail, &mut reconnects);
        if frame.reconnect && context.global.discover {
            // The cluster is changing: an hour from now, all the servers of an hour ago may be gone.
            let _ = session.learn_servers().await;
        }
        let fresh: Vec<_> = frame.events.iter().filter(|event| once.is_new(event)).collect();
        let wanted: Vec<_> = fresh.into_iter().filter(|e| !command.messages || e.state_key.is_none()).collect();
        for (index, said) in wanted.iter().enumerate() {
            if left == 0 {
                break;
            }
            // A frame's cursor stands after all its events, so it is printed only with the last one.
            let cursor = (index + 1 == wanted.len()).then_some(frame.cursor.as_str());
            context
                .out
                .emit(&json!({ "event": event::event_document(said), "cursor": cursor }), || event::event_line(said))?;
            left -= 1;
        }
    }
    Ok(())
}

fn note_reconnect(context: &CommandContext, tail: &ResumingSubscription, seen: &mut u64) {
    if tail.reconnects() == *seen {
        return;
    }
    *seen = tail.reconnects();
    if !context.out.is_json() {
        eprintln!("chatctl: resumed on {}", printable_line(tail.server().unwrap_or("another server")));
    }
}
