//! Three `chatd` processes, set up as anyone would run them except for the rate limit, which is off.

mod absence;
mod client;
pub(crate) mod crowd;
mod idle;
mod outage;
mod post;
mod room;

use crate::places::BenchPaths;
use crate::process::{self, ProcessSpec, ServerProcess};
use anyhow::{Context as _, ensure};
use client::BenchUser;
use quorate_wire::chat::v1::create_room_request::Preset;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const NODES: usize = 3;

/// The cluster, a user and the room that is posted to.
pub(crate) struct QuorateCluster {
    pub(crate) servers: Vec<ServerProcess>,
    nodes: Vec<QuorateNode>,
    user: BenchUser,
    room: String,
    dir: TempDir,
}

/// Addresses on which a node listens.
#[derive(Clone, Debug)]
pub(super) struct QuorateNode {
    name: String,
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
}

impl QuorateCluster {
    /// Starts the nodes, forms the cluster, and creates a user and a room.
    ///
    /// # Errors
    /// Fails if a program is missing, or if the cluster does not become ready.
    pub(crate) async fn start(places: &BenchPaths) -> anyhow::Result<Self> {
        let dir = places.fresh("quorate")?;
        let nodes = (1..=NODES).map(QuorateNode::new).collect::<anyhow::Result<Vec<_>>>()?;
        init_cluster(places, &nodes, dir.path(), &["--certificates-only"]).await?;
        let start = |node: &QuorateNode| {
            let config = node.config_file(dir.path());
            fs::write(&config, node.config(dir.path()))?;
            ProcessSpec::new(&node.name, &places.chatd, dir.path()).arg("--config").arg(config).start()
        };
        let mut servers = nodes.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
        process::poll_until("the metrics ports answer", &mut servers, || async { all_answer(&nodes, "/healthz") })
            .await?;
        init_cluster(places, &nodes, dir.path(), &[]).await?;
        process::poll_until("all nodes are ready", &mut servers, || async { all_answer(&nodes, "/readyz") }).await?;
        let user = BenchUser::register(&nodes, 0, "owner").await?;
        let room = user.create_room(0, Preset::Public, "load").await?;
        Ok(Self { servers, nodes, user, room, dir })
    }

    /// Returns the addresses at which the nodes serve Matrix.
    pub(crate) fn homeserver(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.http).collect()
    }

    /// Returns the index of the node that leads.
    async fn leader(&self) -> anyhow::Result<usize> {
        let server = self.user.leader().await?;
        let found = self.nodes.iter().position(|node| node.name == server);
        found.with_context(|| format!("the leader {server:?} is not one of the nodes"))
    }

    /// Returns the Raft term, which rises with every election.
    ///
    /// # Errors
    /// Fails if no node answers.
    pub(crate) async fn term(&self) -> anyhow::Result<u64> {
        self.user.term().await
    }

    /// Creates `count` rooms beside the one that is posted to.
    ///
    /// # Errors
    /// Fails if a room is refused.
    pub(crate) async fn grow_rooms(&self, count: usize) -> anyhow::Result<()> {
        const AT_ONCE: usize = 64;
        use futures::{StreamExt as _, TryStreamExt as _};
        futures::stream::iter(0..count)
            .map(|n| {
                let user = self.user.clone();
                async move { user.create_room(n % NODES, Preset::Private, "").await.map(drop) }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Stops all processes, starts them again, and returns the time until all are ready.
    ///
    /// # Errors
    /// Fails if they do not come back.
    pub(crate) async fn restart_all(&mut self) -> anyhow::Result<Duration> {
        self.servers.iter_mut().try_for_each(ServerProcess::kill)?;
        let begun = std::time::Instant::now();
        self.servers.iter_mut().try_for_each(ServerProcess::restart)?;
        let nodes = self.nodes.clone();
        process::poll_until("all nodes are ready again", &mut self.servers, || async { all_answer(&nodes, "/readyz") })
            .await?;
        Ok(begun.elapsed())
    }
}

impl QuorateNode {
    fn new(number: usize) -> anyhow::Result<Self> {
        let [http, grpc, peer, metrics] = process::free_ports()?;
        Ok(Self { name: format!("node-{number}"), http, grpc, peer, metrics })
    }

    fn config_file(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.yaml", self.name))
    }

    fn config(&self, dir: &Path) -> String {
        let Self { name, http, grpc, peer, metrics } = self;
        let dir = dir.display();
        format!(
            "serverName: bench.localhost\nnodeName: {name}\ndataDir: {dir}/{name}\n\
             listen: {{http: '{http}', grpc: '{grpc}', peer: '{peer}', metrics: '{metrics}'}}\n\
             advertise: {{peer: '{peer}', grpc: '{grpc}'}}\n\
             tls: {{caFile: {dir}/tls/ca.crt, certFile: {dir}/tls/{name}/tls.crt, keyFile: {dir}/tls/{name}/tls.key}}\n\
             rateLimit: {{enabled: false}}\nlog: {{format: text, level: warn}}\n"
        )
    }
}

async fn init_cluster(places: &BenchPaths, nodes: &[QuorateNode], dir: &Path, more: &[&str]) -> anyhow::Result<()> {
    let list: Vec<_> = nodes.iter().map(|node| format!("{}={}", node.name, node.peer)).collect();
    let mut command = Command::new(&places.chatctl);
    command.args(["cluster", "init", "--nodes", &list.join(","), "--dir"]).arg(dir.join("tls")).args(more);
    let output = process::capture_output("creating the cluster", &mut command).await?;
    ensure!(output.status.success(), "chatctl cluster init: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn all_answer(nodes: &[QuorateNode], path: &str) -> anyhow::Result<()> {
    nodes.iter().try_for_each(|node| {
        let answer = http_get(node.metrics, path).with_context(|| format!("{} at {}", node.name, node.metrics))?;
        let line = answer.lines().next().unwrap_or_default();
        ensure!(line.contains(" 200 "), "{} answered {line:?} to GET {path}", node.name);
        Ok(())
    })
}

fn http_get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: bench\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
