//! The `chatctl servers` command, which lists the servers of the cluster.

use crate::{context::CommandContext, error::Error, output::format_table};
use clap::Args;
use quorate_wire::chat::v1::Server;
use serde_json::{Value, json};

/// Arguments of `chatctl servers`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl servers
  chatctl --output json servers | jq -r '.servers[] | select(.role == \"leader\").name'")]
pub struct ServersArgs {}

/// Asks one server for what it knows of all servers.
pub async fn run_servers(_: ServersArgs, context: &CommandContext) -> Result<(), Error> {
    let session = context.session().await?;
    let answer = session.list_servers().await?;
    let servers: Vec<Value> = answer.servers.iter().map(server_document).collect();
    let document = json!({ "cluster_id": answer.cluster_id, "term": answer.term, "servers": servers });
    context.out.emit(&document, || server_table(&answer.servers))
}

fn server_document(server: &Server) -> Value {
    json!({
        "node_id": server.node_id,
        "name": server.name,
        "address": server.address,
        "role": server.role,
        "is_self": server.is_self,
        "connections": server.connections,
        "reachable": server.reachable,
        "lag": server.lag,
    })
}

fn server_table(servers: &[Server]) -> String {
    let known = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
    let row = |server: &Server| {
        let name = if server.is_self { format!("{} *", server.name) } else { server.name.clone() };
        let reachable = if server.reachable { "yes" } else { "no" };
        let connections = known(server.connections.map(u64::from));
        vec![name, server.role.clone(), server.address.clone(), reachable.into(), known(server.lag), connections]
    };
    let headings = ["NAME", "ROLE", "ADDRESS", "REACHABLE", "LAG", "CONNECTIONS"];
    format_table(&headings, &servers.iter().map(row).collect::<Vec<_>>())
}
