//! The `chatctl history` command, which prints the history of a room.

use super::{event, room};
use crate::{context::CommandContext, error::Error};
use clap::Args;
use quorate_wire::chat::v1::{Consistency, Freshness, HistoryRequest, HistoryResponse, history_request::Direction};
use serde_json::json;

/// Maximum number of events per page, which is the server's own limit.
const PAGE: u32 = 1000;

/// Arguments of `chatctl history`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl history '#ops'                      the last 50 events, oldest first
  chatctl history '#ops' --limit 1000
  chatctl history '#ops' --forward --limit 20   the first 20
  chatctl --output json history '#ops' --from \"$CURSOR\"")]
pub struct HistoryArgs {
    /// Room id, alias, or name of one of your rooms
    room: String,
    /// Maximum number of events to print
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
    /// Start with the oldest events instead of the newest
    #[arg(long)]
    forward: bool,
    /// Cursor from an earlier page
    #[arg(long, default_value = "", hide_default_value = true, value_name = "CURSOR")]
    from: String,
    /// Read from the answering server without confirming with the others; works without a leader
    #[arg(long)]
    local: bool,
}

/// Reads page after page up to the limit. Text is printed oldest first; JSON keeps the order of the pages.
pub async fn run_history(command: HistoryArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let room_id = room::resolve_room_id(&session, &command.room).await?;
    let mut whole = HistoryResponse { next: command.from.clone(), ..Default::default() };
    let mut first = true;
    loop {
        let left = command.limit.saturating_sub(u32::try_from(whole.events.len()).unwrap_or(u32::MAX));
        if left == 0 || (!first && whole.next.is_empty()) {
            break;
        }
        let request = page_request(&command, &room_id, &whole.next, left);
        let page = session.call(request, |mut chat, request| async move { chat.history(request).await }).await?;
        if first {
            whole.prev = page.prev;
            first = false;
        }
        whole.events.extend(page.events);
        whole.next = page.next;
        // The whole is as fresh as its least fresh page.
        whole.freshness = whole.freshness.max(page.freshness);
    }
    print_events(&command, context, &whole)
}

fn page_request(command: &HistoryArgs, room_id: &str, from: &str, left: u32) -> HistoryRequest {
    let direction = if command.forward { Direction::Forward } else { Direction::Backward };
    let consistency = if command.local { Consistency::Local } else { Consistency::Linearizable };
    HistoryRequest {
        room_id: room_id.to_owned(),
        from: from.to_owned(),
        direction: direction.into(),
        limit: left.min(PAGE),
        consistency: consistency.into(),
    }
}

fn print_events(command: &HistoryArgs, context: &CommandContext, whole: &HistoryResponse) -> Result<(), Error> {
    let document = json!({
        "events": whole.events.iter().map(event::event_document).collect::<Vec<_>>(),
        "next": whole.next,
        "prev": whole.prev,
        "freshness": freshness_name(whole.freshness()),
    });
    if whole.freshness() == Freshness::Stale && !context.out.is_json() {
        eprintln!("chatctl: no majority answered in time; the newest messages may be missing");
    }
    context.out.emit(&document, || {
        let mut lines: Vec<String> = whole.events.iter().map(event::event_line).collect();
        if !command.forward {
            lines.reverse();
        }
        lines.join("\n")
    })
}

/// Returns the word for how fresh a read was.
#[must_use]
pub fn freshness_name(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Unspecified => "unspecified",
        Freshness::Linearizable => "linearizable",
        Freshness::Local => "local",
        Freshness::Stale => "stale",
    }
}
