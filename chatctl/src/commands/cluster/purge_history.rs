//! The `chatctl cluster purge-history` command, which removes old messages of a room.

use super::AdminTarget;
use crate::{commands::time::now_ms, context::CommandContext, error::Error};
use clap::Args;
use quorate_duration::parse_duration;
use quorate_wire::admin::v1::PurgeHistoryRequest;
use quorate_wire::whole_millis;
use serde_json::json;
use std::time::Duration;

/// Arguments of `chatctl cluster purge-history`.
///
/// Message events of the room that are older than the given age are removed permanently on all servers. Names, members
/// and all other state stay. A room that sets `m.room.retention` with a `max_lifetime` needs no such command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl cluster purge-history '!abc:example.org' --older-than 720h --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub struct PurgeHistoryArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Room id, as `chatctl rooms` prints it
    room: String,
    /// Minimum age of the events to remove
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    older_than: Duration,
}

/// Repeats the call until nothing is left to remove.
///
/// # Errors
/// Returns an error if there is no such room, or no leader.
pub async fn run_purge_history(command: PurgeHistoryArgs, context: &CommandContext) -> Result<(), Error> {
    let age = whole_millis(command.older_than);
    // Once for all parts, so that they end at the same moment; 0 is not a valid time for the server.
    let before_ms = now_ms().saturating_sub(age).max(1);
    let (connection, _) = command.target.any().await?;
    let mut events = 0_u64;
    loop {
        let request = PurgeHistoryRequest { room_id: command.room.clone(), before_ms };
        let done = connection.call(|mut admin| async move { admin.purge_history(request).await }).await?;
        events = events.saturating_add(done.events);
        if !done.more {
            break;
        }
    }
    let document = json!({ "room_id": command.room, "before_ms": before_ms, "events": events });
    context.out.emit(&document, || format!("{}: removed {events} events", command.room))
}
