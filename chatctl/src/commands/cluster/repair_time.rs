//! The `chatctl cluster repair-time` command, which sets the log's time back.

use super::Target;
use crate::{
    cli::Context,
    commands::time::{now_ms, utc},
    error::Error,
};
use clap::Args;
use quorate_wire::admin::v1::RepairTimeRequest;
use serde_json::json;

/// Arguments of `chatctl cluster repair-time`.
///
/// If a wrong clock has moved the log's time ahead, the command sets it back to the time that a majority of the clocks
/// agree on. Nothing is removed. Events that were stamped with the wrong time keep that timestamp; sessions that had
/// expired by it become valid again. Correct the wrong clock first: the command is refused while the clocks disagree.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl cluster repair-time --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub struct Command {
    #[command(flatten)]
    target: Target,
}

/// Requests the repair once.
///
/// # Errors
/// Returns an error if the clocks disagree, or if there is no leader.
pub async fn run(command: Command, context: &Context) -> Result<(), Error> {
    let (door, _) = command.target.any().await?;
    let done = door.call(|mut admin| async move { admin.repair_time(RepairTimeRequest {}).await }).await?;
    let document = json!({ "before_ms": done.before_ms, "after_ms": done.after_ms });
    context.out.emit(&document, || match done.before_ms == done.after_ms {
        true => format!("nothing to repair: log time is {}, local time is {}", utc(done.after_ms), utc(now_ms())),
        false => format!("log time set back from {} to {}", utc(done.before_ms), utc(done.after_ms)),
    })
}
