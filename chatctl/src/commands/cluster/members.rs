//! The `chatctl cluster members` command, which lists the members of the cluster.

use super::{AdminTarget, view};
use crate::{context::CommandContext, error::Error, output::format_table};
use clap::Args;
use serde_json::{Value, json};

/// Arguments of `chatctl cluster members`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl cluster members --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl --output json cluster members --admin a:7401 --tls-dir ./cluster | jq -r '.members[].name'")]
pub struct ClusterMembersArgs {
    #[command(flatten)]
    target: AdminTarget,
}

/// Lists the members as the leader knows them or, without a leader, as the first server that answers does.
///
/// # Errors
/// Returns an error if no server answers.
pub async fn run_cluster_members(command: ClusterMembersArgs, context: &CommandContext) -> Result<(), Error> {
    let (_, status) = match command.target.leader().await {
        Ok(found) => found,
        Err(_) => command.target.any().await?,
    };
    let membership = status.membership.clone().unwrap_or_default();
    let members: Vec<Value> =
        membership.nodes.iter().map(|node| view::node_document(&status, &membership, node)).collect();
    let document = json!({ "members": members, "log_index": membership.log_index, "term": status.term });
    context.out.emit(&document, || {
        let cell = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            Value::Bool(true) => "*".to_owned(),
            Value::Bool(false) => String::new(),
            other => other.to_string(),
        };
        let columns = ["name", "node_id", "vote", "leader", "lag", "peer_address", "client_address"];
        let rows: Vec<Vec<String>> = members
            .iter()
            .map(|member| columns.iter().map(|column| member.get(column).map(cell).unwrap_or_default()).collect())
            .collect();
        format_table(&["NAME", "NODE ID", "VOTE", "LEADER", "LAG", "PEER", "CLIENT"], &rows)
    })
}
