//! Three NATS servers; a JetStream stream with three replicas on files, each write synced: the only durable mode.

mod client;
mod outage;
mod post;
mod room;
mod wire;

use crate::places::BenchPaths;
use crate::process::{self, ProcessSpec, ServerProcess};
use anyhow::{Context as _, ensure};
use client::NatsClient;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;

const NODES: usize = 3;
pub(super) const STREAM: &str = "bench";
const SUBJECT: &str = "bench.posts";

pub(crate) struct NatsCluster {
    pub(crate) servers: Vec<ServerProcess>,
    nodes: Vec<NatsNode>,
    client: NatsClient,
    _dir: TempDir,
}

#[derive(Clone, Debug)]
struct NatsNode {
    name: String,
    client: SocketAddr,
    route: SocketAddr,
}

impl NatsCluster {
    /// Starts the servers, and returns when the stream has a leader.
    ///
    /// # Errors
    /// Fails if NATS is not installed or does not come up.
    pub(crate) async fn start(places: &BenchPaths) -> anyhow::Result<Self> {
        let program = places.peers.join("nats/bin/nats-server");
        ensure!(program.exists(), "{} is missing: run deploy/deps/install bench", program.display());
        let dir = places.fresh("nats")?;
        let nodes = (1..=NODES).map(NatsNode::new).collect::<anyhow::Result<Vec<_>>>()?;
        let start = |node: &NatsNode| {
            let config = dir.path().join(format!("{}.conf", node.name));
            fs::write(&config, node.config(&nodes, dir.path()))?;
            ProcessSpec::new(&node.name, &program, dir.path()).arg("-c").arg(config).start()
        };
        let mut servers = nodes.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
        let found = nodes.clone();
        let client = process::poll_until("NATS has created its stream", &mut servers, || async {
            let client = found.first().context("no node")?.connect().await?;
            make_stream(&client).await?;
            anyhow::Ok(client)
        })
        .await?;
        Ok(Self { servers, nodes, client, _dir: dir })
    }

    /// Returns the index of the server that leads the stream.
    async fn leader(&self) -> anyhow::Result<usize> {
        let name = leader_of(&self.client).await?;
        self.nodes.iter().position(|node| node.name == name).with_context(|| format!("{name} is not one of the nodes"))
    }
}

async fn make_stream(client: &NatsClient) -> anyhow::Result<()> {
    let config = json!({
        "name": STREAM, "subjects": [format!("{STREAM}.>")], "storage": "file", "num_replicas": NODES,
        "retention": "limits", "discard": "old", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
        "max_msg_size": -1, "allow_direct": true,
    });
    client.api(&format!("STREAM.CREATE.{STREAM}"), &config).await?;
    leader_of(client).await?;
    Ok(())
}

async fn stream_info(client: &NatsClient) -> anyhow::Result<Value> {
    client.api(&format!("STREAM.INFO.{STREAM}"), &Value::Null).await
}

/// Returns the name of the server that leads the stream.
async fn leader_of(client: &NatsClient) -> anyhow::Result<String> {
    let info = stream_info(client).await?;
    let leader = info.pointer("/cluster/leader").and_then(Value::as_str).filter(|name| !name.is_empty());
    leader.map(str::to_owned).context("the stream has no leader yet")
}

impl NatsNode {
    fn new(number: usize) -> anyhow::Result<Self> {
        let [client, route] = process::free_ports()?;
        Ok(Self { name: format!("nats-{number}"), client, route })
    }

    async fn connect(&self) -> anyhow::Result<NatsClient> {
        NatsClient::connect(self.client).await
    }

    fn config(&self, all: &[Self], dir: &Path) -> String {
        let routes: Vec<_> = all.iter().map(|node| format!("\"nats://{}\"", node.route)).collect();
        let Self { name, client, route } = self;
        format!(
            "server_name: {name}\nlisten: \"{client}\"\n\
             jetstream {{ store_dir: \"{dir}/{name}\", sync_interval: always, max_file_store: 16GB }}\n\
             cluster {{ name: bench, listen: \"{route}\", routes: [{routes}] }}\n",
            dir = dir.display(),
            routes = routes.join(", "),
        )
    }
}
