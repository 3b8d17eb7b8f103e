//! The `chatctl cluster snapshot` command, which writes a checkpoint of the state.

use super::AdminTarget;
use crate::{admin::AdminConnection, context::CommandContext, error::Error};
use clap::Args;
use quorate_wire::admin::v1::TakeSnapshotRequest;
use serde_json::json;

/// Arguments of `chatctl cluster snapshot`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl cluster snapshot --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl cluster snapshot --purge-log --admin a:7401,b:7401,c:7401 --tls-dir ./cluster")]
pub struct SnapshotArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Also purge the log entries that the checkpoint covers
    #[arg(long)]
    purge_log: bool,
}

/// Makes each named server write a checkpoint on its own volume, and prints one line for each.
///
/// # Errors
/// Returns the error of the first server that cannot.
pub async fn run_snapshot(command: SnapshotArgs, context: &CommandContext) -> Result<(), Error> {
    let files = command.target.files()?;
    for address in &command.target.admin {
        let connection = AdminConnection::connect(address, &files).await?;
        let request = TakeSnapshotRequest { purge_log: command.purge_log };
        let taken = connection.call(|mut admin| async move { admin.take_snapshot(request).await }).await?;
        let document = json!({
            "admin": address,
            "snapshot_id": taken.snapshot_id,
            "applied_index": taken.applied_index,
            "size_bytes": taken.size_bytes,
        });
        context.out.emit(&document, || {
            format!(
                "{address}: snapshot {} up to index {}, {} bytes",
                taken.snapshot_id, taken.applied_index, taken.size_bytes
            )
        })?;
    }
    Ok(())
}
