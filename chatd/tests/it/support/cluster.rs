//! Cluster of several processes.

use super::certificates::{self, Files};
use super::client::User;
use super::eventually;
use super::process::{Node, Process, SERVER_NAME};
use quorate_wire::admin::v1 as admin;
use quorate_wire::admin::v1::admin_client::AdminClient;
use quorate_wire::chat::v1::chat_client::ChatClient;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

pub const CLUSTER_ID: &str = "7d5c6d3e-60d1-4d1e-b8c9-0a5f2f1c9e11";

/// Nodes of a cluster, and their running processes.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub processes: Vec<Option<Process>>,
    tls: Files,
    /// Removed with the cluster.
    _dir: TempDir,
}

impl Cluster {
    /// Starts three voters, initialised and ready.
    pub async fn start(settings: &str) -> Self {
        let cluster = Self::uninitialised(3, settings);
        cluster.initialise().await;
        cluster.all_ready().await;
        cluster
    }

    /// Starts processes that do not belong to a cluster yet.
    pub fn uninitialised(count: usize, settings: &str) -> Self {
        Self::prepared(count, settings, |_| ())
    }

    /// Starts processes after `prepare` has filled their volumes.
    pub fn prepared(count: usize, settings: &str, prepare: impl Fn(&Node)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = certificates::authority();
        let tls = certificates::issue_administrator(&authority, &dir.path().join("admin"));
        let nodes: Vec<Node> = (0..count)
            .map(|n| {
                let home = dir.path().join(format!("node-{n}"));
                let tls = certificates::issue(&authority, &home.join("tls"));
                Node::new(&format!("node-{n}"), &home, tls, settings)
            })
            .collect();
        nodes.iter().for_each(prepare);
        let processes = nodes.iter().map(|node| Some(node.start())).collect();
        Self { nodes, processes, tls, _dir: dir }
    }

    pub async fn initialise(&self) {
        let mut voters = Vec::new();
        for n in 0..self.nodes.len() {
            let identity = self.identity(n).await;
            assert!(identity.empty && identity.cluster_id.is_empty(), "a fresh node");
            voters.push(identity.node.expect("a node"));
        }
        let request =
            admin::InitializeRequest { cluster_id: CLUSTER_ID.into(), server_name: SERVER_NAME.into(), voters };
        self.admin(0).await.initialize(request).await.expect("initialised");
    }

    pub async fn identity(&self, n: usize) -> admin::IdentityResponse {
        eventually("the admin API answers", || async {
            let mut admin = self.try_admin(n).await?;
            admin.identity(admin::IdentityRequest {}).await.ok().map(tonic::Response::into_inner)
        })
        .await
    }

    /// Waits until each running process is ready.
    pub async fn all_ready(&self) {
        for node in self.nodes.iter().zip(&self.processes).filter_map(|(node, process)| process.as_ref().map(|_| node))
        {
            eventually("it is ready", || async { node.page("/readyz").filter(|(status, _)| *status == 200) }).await;
        }
    }

    /// Returns the directory with an administrator's certificate, for `chatctl --tls-dir`.
    pub fn tls_dir(&self) -> &Path {
        self.tls.cert.parent().expect("a file in a directory")
    }

    async fn try_admin(&self, n: usize) -> Option<AdminClient<Channel>> {
        self.try_peer(n).await.map(AdminClient::new)
    }

    /// Connects to the peer listener with an administrator's certificate.
    pub async fn try_peer(&self, n: usize) -> Option<Channel> {
        self.try_peer_as(n, Some(&self.tls)).await
    }

    /// Returns the files of an administrator.
    pub fn administrator(&self) -> &Files {
        &self.tls
    }

    /// Connects to the peer listener with the certificate of a holder, or without one.
    pub async fn try_peer_as(&self, n: usize, holder: Option<&Files>) -> Option<Channel> {
        let read = |path| fs::read(path).expect("a PEM file");
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.tls.ca)))
            .domain_name(certificates::PEER_NAME);
        if let Some(holder) = holder {
            tls = tls.identity(Identity::from_pem(read(&holder.cert), read(&holder.key)));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.nodes[n].peer)).expect("an address");
        endpoint.tls_config(tls).expect("a TLS configuration").connect().await.ok()
    }

    pub async fn admin(&self, n: usize) -> AdminClient<Channel> {
        eventually("the admin API answers", || self.try_admin(n)).await
    }

    pub async fn chat(&self, n: usize) -> ChatClient<Channel> {
        ChatClient::new(self.channel(n).await)
    }

    /// Connects to the gRPC API.
    pub async fn channel(&self, n: usize) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.nodes[n].grpc)).expect("an address");
        eventually("the gRPC listener is open", || async { endpoint.connect().await.ok() }).await
    }

    pub async fn status(&self, n: usize) -> Option<admin::StatusResponse> {
        let mut admin = self.try_admin(n).await?;
        admin.status(admin::StatusRequest {}).await.ok().map(tonic::Response::into_inner)
    }

    /// Waits until a running node says that it leads in a term of at least `term`; returns its number and the term.
    pub async fn leader(&self, term: u64) -> (usize, u64) {
        eventually("there is a leader", || async {
            for n in (0..self.nodes.len()).filter(|n| self.processes[*n].is_some()) {
                let Some(status) = self.status(n).await else { continue };
                let own = status.identity.map(|identity| identity.node_id);
                if status.term >= term && status.leader_node_id != 0 && own == Some(status.leader_node_id) {
                    return Some((n, status.term));
                }
            }
            None
        })
        .await
    }

    pub fn kill(&mut self, n: usize) {
        self.processes[n].take().expect("it runs").kill();
    }

    pub fn restart(&mut self, n: usize) {
        self.processes[n] = Some(self.nodes[n].start());
    }

    /// Registers an account through node `n`.
    pub async fn user(&self, n: usize, name: &str) -> User {
        User::register(self, n, name).await
    }
}
