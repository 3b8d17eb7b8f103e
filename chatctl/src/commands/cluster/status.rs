//! The `chatctl cluster status` command, which shows the state of the cluster.

use super::{AdminTarget, query_status, view, watch};
use crate::{context::CommandContext, error::Error, exit, output::format_table};
use clap::Args;
use quorate_duration::parse_duration;
use quorate_wire::{admin::v1::StatusResponse, overview::role_name};
use serde_json::{Value, json};
use std::time::Duration;

/// Arguments of `chatctl cluster status`.
///
/// The command shows the leader, term and log of the cluster; with `--watch`, all members on one screen, refreshed in
/// place.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl cluster status --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl --output json cluster status --admin a:7401,b:7401,c:7401 --tls-dir ./cluster | jq '.servers[].status.role'
  chatctl cluster status --watch --admin a:7401 --tls-dir ./cluster
  chatctl cluster status --watch --interval 500ms --admin a:7401,b:7401 --tls-dir ./cluster
  chatctl --output json cluster status --watch --admin a:7401 --tls-dir ./cluster | jq -c '[.leader.name, .quorum.healthy]'

With --watch, one server is enough: it collects the status of all members, and if it becomes unreachable, another server
is asked. If standard output is not a terminal, one block is printed per interval; with --output json, one document per
line. Press Ctrl-C to stop.")]
pub struct StatusArgs {
    #[command(flatten)]
    target: AdminTarget,
    /// Show all members, and keep refreshing them
    #[arg(long)]
    watch: bool,
    /// Time between two refreshes, at least 200ms
    #[arg(long, value_parser = parse_duration, default_value = "2s", value_name = "DURATION", requires = "watch")]
    interval: Duration,
}

/// Asks each named server for its view, and prints the views side by side, with the error of a server that does not
/// answer.
///
/// # Errors
/// Returns an error if no server answers.
pub async fn run_status(command: StatusArgs, context: &CommandContext) -> Result<(), Error> {
    if command.watch {
        return watch::watch_cluster(&command.target, command.interval, context).await;
    }
    let files = command.target.files()?;
    let mut views = Vec::new();
    for address in &command.target.admin {
        let seen = query_status(address, &files).await.map(|(_, status)| status);
        views.push((address.clone(), seen));
    }
    if views.iter().all(|(_, seen)| seen.is_err()) {
        let last = views.pop().and_then(|(_, seen)| seen.err());
        return Err(last.unwrap_or(Error::NoServers));
    }
    let servers: Vec<Value> = views.iter().map(|(address, seen)| answer_document(address, seen.as_ref())).collect();
    context.out.emit(&json!({ "servers": servers }), || {
        let rows: Vec<_> = views.iter().map(|(address, seen)| answer_row(address, seen.as_ref())).collect();
        format_table(&["ADMIN", "NAME", "ROLE", "TERM", "LEADER", "APPLIED", "LAST LOG", "READY"], &rows)
    })
}

fn answer_document(address: &str, seen: Result<&StatusResponse, &Error>) -> Value {
    match seen {
        Ok(status) => json!({ "admin": address, "status": view::status_document(status) }),
        Err(error) => json!({ "admin": address, "error": error.document() }),
    }
}

fn answer_row(address: &str, seen: Result<&StatusResponse, &Error>) -> Vec<String> {
    let status = match seen {
        Ok(status) => status,
        Err(error) if error.exit_code() == exit::UNAVAILABLE => return vec![address.into(), "unreachable".into()],
        Err(error) => return vec![address.into(), error.to_string()],
    };
    let name = status.identity.as_ref().and_then(|identity| identity.node.as_ref()).map(|node| node.name.clone());
    let leader = match status.leader_node_id {
        0 => "none".to_owned(),
        id => view::name_of(status.membership.as_ref(), id),
    };
    let ready = if status.ready { "yes".to_owned() } else { format!("no: {}", status.not_ready_reason) };
    vec![
        address.to_owned(),
        name.unwrap_or_default(),
        role_name(status.role()).to_owned(),
        status.term.to_string(),
        leader,
        status.applied_index.to_string(),
        status.last_log_index.to_string(),
        ready,
    ]
}
