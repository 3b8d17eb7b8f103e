//! The `chatctl cluster transfer-leader` command, which moves leadership to another member.

use super::{AdminTarget, view};
use crate::{context::CommandContext, error::Error};
use clap::Args;
use quorate_duration::parse_duration;
use quorate_wire::admin::v1::{StatusResponse, TransferLeaderRequest};
use serde_json::json;
use std::time::Duration;

/// Arguments of `chatctl cluster transfer-leader`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl cluster transfer-leader --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl cluster transfer-leader --to b --admin a:7401,b:7401 --tls-dir ./cluster")]
pub struct TransferLeaderArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Name or node id of the next leader [default: the voter that lags least]
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
    /// Longest wait for the change of leader
    #[arg(long, value_parser = parse_duration, default_value = "2s", value_name = "DURATION")]
    wait: Duration,
}

/// Asks the leader to transfer leadership, and waits until it has.
///
/// # Errors
/// Returns an error if there is no leader or no such node, or if the time is up.
pub async fn run_transfer_leader(command: TransferLeaderArgs, context: &CommandContext) -> Result<(), Error> {
    let (connection, status) = command.target.leader().await?;
    let request = TransferLeaderRequest {
        to_node_id: command.to.as_deref().map_or(Ok(0), |to| resolve_node_id(&status, to))?,
        timeout_ms: u32::try_from(command.wait.as_millis()).unwrap_or(u32::MAX),
    };
    let done = connection.call(|mut admin| async move { admin.transfer_leader(request).await }).await?;
    let name = view::name_of(status.membership.as_ref(), done.leader_node_id);
    let document =
        json!({ "leader_node_id": view::node_id(done.leader_node_id), "leader_name": name, "term": done.term });
    context.out.emit(&document, || format!("{name} is the leader in term {}", done.term))
}

fn resolve_node_id(status: &StatusResponse, to: &str) -> Result<u64, Error> {
    let mut nodes = status.membership.iter().flat_map(|membership| &membership.nodes);
    let found = nodes.find(|node| node.name == to || node.node_id.to_string() == to);
    let none = || Error::Usage(format!("no member is named `{to}`: see `chatctl cluster members`"));
    found.map(|node| node.node_id).ok_or_else(none)
}
