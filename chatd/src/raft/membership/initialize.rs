//! Initialisation of a new cluster: its first membership and its first command.

use super::{AdminError, ClusterAdmin};
use crate::raft::{cluster::ClusterMember, types::NodeAddresses};
use openraft::errors::{InitializeError, RaftError};
use quorate_core::proto::log::{Bootstrap, Command, Envelope, command::Kind};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{sleep, timeout};

/// Time for which `Initialize` waits for the first command: three responsive pods need a few hundred milliseconds.
/// Beyond it the call succeeds nevertheless, because the membership is durable and the command follows with the first
/// leader.
const BOOTSTRAP_LIMIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl ClusterAdmin {
    /// Creates a new cluster of these voters, which include this node. Repeating the call with the same id succeeds;
    /// with another id it fails.
    ///
    /// The id is made durable before the membership: a crash between the two leaves a node that belongs to this cluster
    /// and to no other, and the repeated call completes the initialisation.
    ///
    /// # Errors
    /// [`AdminError::Invalid`], or [`AdminError::Refused`] if this node is part of a cluster already.
    pub async fn initialize(
        &self,
        cluster_id: &str,
        server_name: &str,
        voters: Vec<ClusterMember>,
    ) -> Result<(), AdminError> {
        let voters = self.check_initial(server_name, voters)?;
        self.identity().adopt(cluster_id).await?;
        match self.inner.consensus.initialize(voters).await {
            // The node has a log: this is a repeated call, as the id has just been compared.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(RaftError::APIError(error @ InitializeError::NotInMembers(_))) => {
                return Err(AdminError::Invalid(error.to_string()));
            }
            Err(RaftError::Fatal(fatal)) => return Err(fatal.into()),
        }
        let bootstrapped = async {
            while !self.inner.facts.is_bootstrapped() {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout(BOOTSTRAP_LIMIT, bootstrapped).await.is_err() {
            tracing::warn!(cluster_id, "the cluster is initialised, but a majority has not answered yet");
        }
        Ok(())
    }

    fn check_initial(
        &self,
        server_name: &str,
        voters: Vec<ClusterMember>,
    ) -> Result<BTreeMap<u64, NodeAddresses>, AdminError> {
        let invalid = |reason: String| Err(AdminError::Invalid(reason));
        let own_name = self.server_name();
        if server_name != own_name {
            return invalid(format!("the server name is {server_name:?}, but this node's is {own_name:?}"));
        }
        let own = self.identity().node_id();
        let count = voters.len();
        let nodes: BTreeMap<u64, NodeAddresses> = voters.into_iter().map(checked_node).collect::<Result<_, _>>()?;
        if nodes.len() != count {
            return invalid("two voters have the same node id".into());
        }
        if !nodes.contains_key(&own) {
            return invalid(format!("this node, {own}, is not among the voters"));
        }
        Ok(nodes)
    }

    /// Proposes the first command while this node leads. This is not bound to the call that created the cluster, so
    /// that a crash in between leaves no cluster without a name. Idempotent: the log refuses a second one.
    pub(crate) async fn keep_bootstrapped(self) {
        let mut headlines = self.inner.cluster.watch();
        while !self.inner.facts.is_bootstrapped() {
            if self.inner.leadership.is_leader() {
                self.bootstrap().await;
            }
            // Polls as well, as applying the command changes no headline.
            if let Ok(Err(_)) = timeout(LOOK_EVERY * 5, headlines.changed()).await {
                return;
            }
        }
    }

    async fn bootstrap(&self) {
        let Some(cluster_id) = self.identity().cluster_id() else { return };
        let command = Bootstrap { cluster_id: cluster_id.to_string(), server_name: self.inner.server_name.clone() };
        let command = Some(Command { kind: Some(Kind::Bootstrap(command)) });
        if let Err(error) = self.inner.proposer.propose(Envelope { command, ..Envelope::default() }).await {
            tracing::warn!(%error, "failed to apply the cluster's first command; will retry");
        }
    }
}

/// Converts a member to the form in which Raft stores it, and checks its id and peer address.
pub(super) fn checked_node(member: ClusterMember) -> Result<(u64, NodeAddresses), AdminError> {
    let ClusterMember { node_id, peer_address, client_address, name } = member;
    if node_id == 0 {
        return Err(AdminError::Invalid("a node id is missing; ask the node for its identity".into()));
    }
    let has_port = peer_address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0));
    if !has_port {
        let reason = format!("the peer address of node {node_id} is {peer_address:?}, but it must be host:port");
        return Err(AdminError::Invalid(reason));
    }
    Ok((node_id, NodeAddresses { peer_address, client_address, name }))
}
