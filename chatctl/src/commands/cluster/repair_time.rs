//! The `chatctl cluster repair-time` command, which sets the log's time back.

use super::AdminTarget;
use crate::{
    commands::time::{format_utc, now_ms},
    context::CommandContext,
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
pub struct RepairTimeArgs {
    #[command(flatten)]
    target: AdminTarget,
}

/// Requests the repair once.
///
/// # Errors
/// Returns an error if the clocks disagree, or if there is no leader.
pub async fn run_repair_time(command: RepairTimeArgs, context: &CommandContext) -> Result<(), Error> {
    let (connection, _) = command.target.any().await?;
    let done = connection.call(|mut admin| async move { admin.repair_time(RepairTimeRequest {}).await }).await?;
    let document = json!({ "before_ms": done.before_ms, "after_ms": done.after_ms });
    context.out.emit(&document, || {
        let after = format_utc(done.after_ms);
        if done.before_ms == done.after_ms {
            format!("nothing to repair: log time is {after}, local time is {}", format_utc(now_ms()))
        } else {
            format!("log time set back from {} to {after}", format_utc(done.before_ms))
        }
    })
}
