//! The `chatctl cluster` commands, which set up and run a cluster through the administrative API of its servers.

mod glance;
pub mod init;
pub mod members;
pub mod purge_history;
pub mod repair_time;
pub mod snapshot;
pub mod status;
pub mod transfer_leader;
mod view;
mod watch;

use crate::{
    admin::{AdminConnection, AdminTlsFiles},
    context::CommandContext,
    error::Error,
};
use clap::{Args, Subcommand};
use quorate_wire::admin::v1::{StatusRequest, StatusResponse};
use std::path::PathBuf;

/// Arguments of `chatctl cluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl cluster init --dir ./cluster --nodes a=127.0.0.1:7401,b=127.0.0.1:7411,c=127.0.0.1:7421
  chatctl cluster status --admin 127.0.0.1:7401 --tls-dir ./cluster
  chatctl cluster status --watch --admin 127.0.0.1:7401 --tls-dir ./cluster")]
pub struct ClusterArgs {
    #[command(subcommand)]
    action: ClusterAction,
}

#[derive(Debug, Subcommand)]
enum ClusterAction {
    /// Create certificates and form a cluster of new servers (outside Kubernetes)
    Init(init::InitArgs),
    /// Show leader, term and log of the cluster, once or continuously
    Status(status::StatusArgs),
    /// List the members of the cluster
    Members(members::ClusterMembersArgs),
    /// Move leadership to another member
    TransferLeader(transfer_leader::TransferLeaderArgs),
    /// Write a checkpoint of the state
    Snapshot(snapshot::SnapshotArgs),
    /// Remove the message events of a room that are older than a given age
    PurgeHistory(purge_history::PurgeHistoryArgs),
    /// Set the log's time back after a wrong clock has put it ahead
    RepairTime(repair_time::RepairTimeArgs),
}

/// Runs the chosen action.
pub async fn run_cluster(command: ClusterArgs, context: &CommandContext) -> Result<(), Error> {
    match command.action {
        ClusterAction::Init(command) => init::run_init(command, context).await,
        ClusterAction::Status(command) => status::run_status(command, context).await,
        ClusterAction::Members(command) => members::run_cluster_members(command, context).await,
        ClusterAction::TransferLeader(command) => transfer_leader::run_transfer_leader(command, context).await,
        ClusterAction::Snapshot(command) => snapshot::run_snapshot(command, context).await,
        ClusterAction::PurgeHistory(command) => purge_history::run_purge_history(command, context).await,
        ClusterAction::RepairTime(command) => repair_time::run_repair_time(command, context).await,
    }
}

/// Addresses of the administrative API to try, and the files to authenticate with.
#[derive(Debug, Args)]
pub struct AdminTarget {
    /// Admin API address of a server, as host:port (port 7401); repeat, or separate with commas
    #[arg(long, env = "QUORATE_ADMIN", value_delimiter = ',', required = true, value_name = "HOST:PORT")]
    admin: Vec<String>,
    /// Directory with ca.crt, tls.crt and tls.key, or the directory of `cluster init`
    #[arg(long, env = "QUORATE_TLS_DIR", value_name = "DIR")]
    tls_dir: PathBuf,
}

impl AdminTarget {
    /// Loads the certificate files.
    ///
    /// # Errors
    /// Returns an error that names the missing file.
    pub fn files(&self) -> Result<AdminTlsFiles, Error> {
        AdminTlsFiles::load(&self.tls_dir)
    }

    /// Connects to the first server that answers, and returns its view of the cluster.
    ///
    /// # Errors
    /// Returns the last failure if none answers.
    pub async fn any(&self) -> Result<(AdminConnection, StatusResponse), Error> {
        let files = self.files()?;
        let mut last = Error::NoServers;
        for address in &self.admin {
            match query_status(address, &files).await {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to the leader: one of the named servers, or the one that the members know.
    ///
    /// # Errors
    /// [`Error::Cluster`] if no leader is known.
    pub async fn leader(&self) -> Result<(AdminConnection, StatusResponse), Error> {
        let files = self.files()?;
        let (connection, status) = self.any().await?;
        if is_leader(&status) {
            return Ok((connection, status));
        }
        // The named addresses first: those that members have of each other may not resolve on this machine.
        for address in self.admin.iter().filter(|address| *address != connection.address()) {
            if let Ok((connection, status)) = query_status(address, &files).await
                && is_leader(&status)
            {
                return Ok((connection, status));
            }
        }
        let nodes = status.membership.iter().flat_map(|membership| &membership.nodes);
        let leader = nodes.into_iter().find(|node| node.node_id == status.leader_node_id);
        let none = || Error::Cluster("no known leader: wait for an election, or run `chatctl cluster status`".into());
        query_status(&leader.ok_or_else(none)?.peer_address, &files).await
    }
}

fn is_leader(status: &StatusResponse) -> bool {
    let own = status.identity.as_ref().map(|identity| identity.node_id);
    status.leader_node_id != 0 && own == Some(status.leader_node_id)
}

async fn query_status(address: &str, files: &AdminTlsFiles) -> Result<(AdminConnection, StatusResponse), Error> {
    let connection = AdminConnection::connect(address, files).await?;
    let status = connection.call(|mut admin| async move { admin.status(StatusRequest {}).await }).await?;
    Ok((connection, status))
}
