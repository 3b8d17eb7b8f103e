//! The `chatctl cluster init` command, which forms a cluster of fresh servers outside Kubernetes.

use crate::{
    admin::{self, AdminConnection, AdminTlsFiles, certificates},
    context::CommandContext,
    error::Error,
};
use clap::Args;
use quorate_duration::parse_duration;
use quorate_wire::admin::v1::{IdentityRequest, IdentityResponse, InitializeRequest, Node};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Interval between two attempts to reach servers that are still starting.
const POLL: Duration = Duration::from_millis(200);

/// Arguments of `chatctl cluster init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl cluster init --dir ./cluster --nodes a=127.0.0.1:7401,b=127.0.0.1:7411,c=127.0.0.1:7421 --certificates-only
  chatctl cluster init --dir ./cluster --nodes a=127.0.0.1:7401,b=127.0.0.1:7411,c=127.0.0.1:7421

Start the servers between the two commands: each needs its certificate from ./cluster/NODE. Every step can be repeated:
the cluster is created only once, because its id is written to ./cluster/cluster-id before any server receives it. In
Kubernetes the operator does this.")]
pub struct InitArgs {
    /// Directory for the authority, the certificates of nodes and administrator, and the cluster id
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Name and admin API address of each server, as NAME=HOST:PORT, separated by commas
    #[arg(long, value_delimiter = ',', required = true, value_parser = parse_node, value_name = "NAME=HOST:PORT")]
    nodes: Vec<NamedNode>,
    /// Create the certificates only
    #[arg(long)]
    certificates_only: bool,
    /// Issue new certificates for the nodes and the administrator from the same authority
    #[arg(long)]
    renew: bool,
    /// Longest wait for servers that are still starting
    #[arg(long, value_parser = parse_duration, default_value = "60s", value_name = "DURATION")]
    wait: Duration,
}

/// Node as it was named on the command line.
#[derive(Debug, Clone)]
struct NamedNode {
    name: String,
    admin: String,
}

fn parse_node(text: &str) -> Result<NamedNode, String> {
    let problem = || format!("`{text}` does not have the form NAME=HOST:PORT, as in a=127.0.0.1:7401");
    let (name, admin) = text.split_once('=').ok_or_else(problem)?;
    // The name becomes that of a directory.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let port = admin.rsplit_once(':').map(|(_, port)| port);
    if name.is_empty() || !name.chars().all(plain) || port.is_none_or(|port| port.parse::<u16>().is_err()) {
        return Err(problem());
    }
    Ok(NamedNode { name: name.to_owned(), admin: admin.to_owned() })
}

/// Forms the cluster: cluster id on disk → certificates → identities of all servers → one `Initialize`.
///
/// # Errors
/// [`Error::Cluster`] if a server belongs to another cluster, or belongs to none and its volume is not empty.
pub async fn run_init(command: InitArgs, context: &CommandContext) -> Result<(), Error> {
    let names: Vec<String> = command.nodes.iter().map(|node| node.name.clone()).collect();
    if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
        return Err(Error::Usage("--nodes lists a node name twice".to_owned()));
    }
    if names.iter().any(|name| name == certificates::ADMINISTRATOR) {
        return Err(Error::Usage(format!(
            "a node cannot be named `{}`: the name is reserved for the administrator",
            certificates::ADMINISTRATOR
        )));
    }
    certificates::private_directory(&command.dir)?;
    let id = cluster_id(&command.dir)?;
    let made = certificates::make_missing(&command.dir, &id, &names, command.renew)?;
    if command.certificates_only {
        return print_outcome(context, &command, &made, None);
    }
    let files = AdminTlsFiles::load(&command.dir)?;
    let deadline = Instant::now() + command.wait;
    let mut found = Vec::new();
    for named in &command.nodes {
        found.push(identify_server(named, &files, deadline).await?);
    }
    // After all servers have answered: nothing is initialized unless every one of them is fresh or of this cluster.
    let server_name = agreed_server_name(&command.nodes, &found, &id)?;
    let request = InitializeRequest {
        cluster_id: id.clone(),
        server_name: server_name.clone(),
        voters: found.iter().map(|(_, identity)| identity.node.clone().unwrap_or_default()).collect(),
    };
    initialize_cluster(&found, request, deadline).await?;
    let voters: Vec<Value> = command.nodes.iter().zip(&found).map(voter_document).collect();
    let cluster = json!({ "cluster_id": id, "server_name": server_name, "voters": voters });
    print_outcome(context, &command, &made, Some(cluster))
}

fn voter_document((named, (_, identity)): (&NamedNode, &(AdminConnection, IdentityResponse))) -> Value {
    json!({ "name": named.name, "admin": named.admin, "node_id": identity.node_id.to_string() })
}

async fn identify_server(
    named: &NamedNode,
    files: &AdminTlsFiles,
    deadline: Instant,
) -> Result<(AdminConnection, IdentityResponse), Error> {
    loop {
        let asked = async {
            let connection = AdminConnection::connect(&named.admin, files).await?;
            let identity = connection.call(|mut admin| async move { admin.identity(IdentityRequest {}).await }).await?;
            Ok((connection, identity))
        };
        match asked.await {
            Ok((connection, identity)) => return check_identity(named, connection, identity),
            Err(error) if !admin::may_pass(&error) || Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn check_identity(
    named: &NamedNode,
    connection: AdminConnection,
    identity: IdentityResponse,
) -> Result<(AdminConnection, IdentityResponse), Error> {
    match &identity.node {
        Some(Node { node_id, .. }) if *node_id != 0 => Ok((connection, identity)),
        _ => Err(Error::Cluster(format!(
            "server {} does not report the address at which its peers reach it: check its version",
            named.name
        ))),
    }
}

/// Reads the cluster id from the directory, or makes a new one, which is on disk before any server learns of it: a run
/// that is cut short is continued with the same id and makes no second cluster.
fn cluster_id(directory: &Path) -> Result<String, Error> {
    let path = directory.join("cluster-id");
    match fs::read_to_string(&path) {
        Ok(text) => match Uuid::parse_str(text.trim()) {
            Ok(id) => Ok(id.to_string()),
            Err(_) => Err(Error::BadFile {
                path,
                problem: "is not a UUID: restore the original file, do not replace it".to_owned(),
            }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = Uuid::new_v4().to_string();
            certificates::write_private(&path, &format!("{id}\n"))?;
            Ok(id)
        }
        Err(error) => Err(Error::file(path)(error)),
    }
}

/// Checks that all servers are fresh or of this cluster, and returns the one server name that they must share.
fn agreed_server_name(
    nodes: &[NamedNode],
    found: &[(AdminConnection, IdentityResponse)],
    id: &str,
) -> Result<String, Error> {
    let mut server_names = BTreeSet::new();
    let mut node_ids = BTreeSet::new();
    for (named, (_, identity)) in nodes.iter().zip(found) {
        let name = &named.name;
        if identity.cluster_id.is_empty() && !identity.empty {
            let advice =
                "its volume is not empty but belongs to no cluster: give it an empty volume, or restore its own";
            return Err(Error::Cluster(format!("server {name}: {advice}")));
        }
        if !identity.cluster_id.is_empty() && identity.cluster_id != id {
            let other = &identity.cluster_id;
            return Err(Error::Cluster(format!(
                "server {name} belongs to cluster {other}, but this directory belongs to cluster {id}"
            )));
        }
        if !node_ids.insert(identity.node_id) {
            return Err(Error::Cluster(format!("server {name} is listed twice in --nodes, under different addresses")));
        }
        server_names.insert(identity.server_name.clone());
    }
    match server_names.len() {
        1 => Ok(server_names.pop_first().unwrap_or_default()),
        _ => Err(Error::Cluster(format!("the servers have different server names: {server_names:?}"))),
    }
}

async fn initialize_cluster(
    found: &[(AdminConnection, IdentityResponse)],
    request: InitializeRequest,
    deadline: Instant,
) -> Result<(), Error> {
    // A server that already belongs to the cluster is preferred: any other would have to start a second cluster.
    let member = found.iter().find(|(_, identity)| !identity.cluster_id.is_empty());
    let Some((connection, _)) = member.or(found.first()) else { return Err(Error::NoServers) };
    loop {
        let request = request.clone();
        let asked =
            connection.call(|mut admin| async move { admin.initialize(request).await }).await.map_err(Error::from);
        match asked {
            Ok(_) => return Ok(()),
            Err(error) if !admin::may_pass(&error) || Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn print_outcome(
    context: &CommandContext,
    command: &InitArgs,
    made: &[String],
    cluster: Option<Value>,
) -> Result<(), Error> {
    let directory = command.dir.display().to_string();
    let document = json!({ "dir": directory, "certificates_made": made, "cluster": cluster });
    context.out.emit(&document, || match &cluster {
        None => format!("certificates for {} nodes are in {directory}; {} are new", command.nodes.len(), made.len()),
        Some(cluster) => {
            let id = cluster.get("cluster_id").and_then(Value::as_str).unwrap_or_default();
            format!("created cluster {id} with {} servers; its files are in {directory}", command.nodes.len())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_plain_name_and_an_address() {
        let parsed = parse_node("a=127.0.0.1:7401").unwrap();
        assert_eq!((parsed.name.as_str(), parsed.admin.as_str()), ("a", "127.0.0.1:7401"));
        for bad in ["a", "=h:1", "../x=h:1", "a=h", "a=h:port"] {
            assert!(parse_node(bad).is_err_and(|e| e.contains("NAME=HOST:PORT")), "{bad}");
        }
    }

    #[test]
    fn the_cluster_id_is_made_once_and_a_damaged_one_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let first = cluster_id(directory.path()).unwrap();
        assert_eq!(cluster_id(directory.path()).unwrap(), first);
        fs::write(directory.path().join("cluster-id"), "oops").unwrap();
        assert!(cluster_id(directory.path()).unwrap_err().to_string().contains("UUID"));
    }
}
