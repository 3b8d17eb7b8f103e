//! Three etcd members: each post is a key of its own, which etcd acknowledges when a majority has synced it.

mod outage;

use crate::load::clock::LoadClock;
use crate::load::latency::LatencyRecorder;
use crate::load::post::{CONNECTIONS, PostCaller, PostMode, run_callers};
use crate::places::BenchPaths;
use crate::process::{self, ProcessSpec, ServerProcess};
use crate::wire::etcd::kv_client::KvClient;
use crate::wire::etcd::maintenance_client::MaintenanceClient;
use crate::wire::etcd::{PutRequest, StatusRequest};
use anyhow::{Context as _, ensure};
use std::net::SocketAddr;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

const NODES: usize = 3;

pub(crate) struct EtcdCluster {
    pub(crate) servers: Vec<ServerProcess>,
    nodes: Vec<EtcdNode>,
    _dir: TempDir,
}

#[derive(Clone, Debug)]
struct EtcdNode {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
}

impl EtcdCluster {
    /// Starts the members, and returns when they have a leader.
    ///
    /// # Errors
    /// Fails if etcd is not installed or does not come up.
    pub(crate) async fn start(places: &BenchPaths) -> anyhow::Result<Self> {
        let dir = places.fresh("etcd")?;
        let nodes = (1..=NODES).map(EtcdNode::new).collect::<anyhow::Result<Vec<_>>>()?;
        let all: Vec<_> = nodes.iter().map(|node| format!("{}=http://{}", node.name, node.peer)).collect();
        let start = |node: &EtcdNode| {
            let client = format!("http://{}", node.client);
            let peer = format!("http://{}", node.peer);
            ProcessSpec::new(&node.name, "etcd", dir.path())
                .args(["--name", &node.name, "--data-dir"])
                .arg(dir.path().join(&node.name))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
                .args(["--logger", "zap", "--log-level", "warn"])
                // The default of 2 GiB would be full after a few runs.
                .args(["--quota-backend-bytes", "8589934592"])
                .start()
        };
        let mut servers = nodes.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
        let found = nodes.clone();
        process::poll_until("etcd has a leader", &mut servers, || async { leader_of(&found).await.map(drop) }).await?;
        Ok(Self { servers, nodes, _dir: dir })
    }

    pub(crate) async fn post(&self, posting: PostMode, clock: LoadClock) -> anyhow::Result<LatencyRecorder> {
        // No stream of puts exists in etcd: as many callers keep as many puts in flight.
        let (PostMode::Stream { in_flight: callers } | PostMode::Unary { callers }) = posting;
        let leader = self.nodes.get(leader_of(&self.nodes).await?).context("no such node")?;
        let mut clients = Vec::new();
        for _ in 0..callers.min(CONNECTIONS) {
            clients.push(leader.keys().await?);
        }
        run_callers(clients.iter().cycle().take(callers).map(|client| PutCaller(client.clone())).collect(), clock).await
    }
}

/// Returns the index of the member that leads.
async fn leader_of(nodes: &[EtcdNode]) -> anyhow::Result<usize> {
    let mut reason = None;
    for (n, node) in nodes.iter().enumerate() {
        let asked = async {
            let mut client = MaintenanceClient::new(node.connect().await?);
            anyhow::Ok(client.status(StatusRequest {}).await?.into_inner())
        };
        match asked.await {
            Ok(status) => {
                let own = status.header.unwrap_or_default().member_id;
                if status.leader == own && own != 0 {
                    return Ok(n);
                }
            }
            Err(error) => reason = Some(error),
        }
    }
    Err(reason.unwrap_or_else(|| anyhow::anyhow!("no member is the leader")))
}

impl EtcdNode {
    fn new(number: usize) -> anyhow::Result<Self> {
        let [client, peer] = process::free_ports()?;
        Ok(Self { name: format!("etcd-{number}"), client, peer })
    }

    async fn connect(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.client))?;
        endpoint.connect().await.with_context(|| format!("cannot connect to {}", self.name))
    }

    async fn keys(&self) -> anyhow::Result<KvClient<Channel>> {
        Ok(KvClient::new(self.connect().await?))
    }
}

#[derive(Clone)]
struct PutCaller(KvClient<Channel>);

impl PostCaller for PutCaller {
    async fn post(&mut self, number: u64) -> anyhow::Result<()> {
        let request =
            PutRequest { key: message_key(number).into(), value: crate::payload::message_text(number).into() };
        let answer = self.0.put(request).await?.into_inner();
        ensure!(answer.header.is_some(), "put response without a header");
        Ok(())
    }
}

fn message_key(number: u64) -> String {
    format!("m/{number:016}")
}
