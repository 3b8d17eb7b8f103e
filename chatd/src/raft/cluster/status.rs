//! Status of a node and its cluster in plain values: for the admin API, `ListServers`, readiness and metrics.

use crate::raft::{
    clock::{TimeStatus, off_by},
    types::{NodeAddresses, StoredMembership},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Role of a node in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeRole {
    /// The leader takes writes, while it has a quorum.
    Leader,
    /// A follower votes, and replicates the leader's log.
    Follower,
    /// A candidate asks for votes.
    Candidate,
    /// A learner replicates the log without a vote; also a node that belongs to no cluster yet.
    Learner,
}

/// A member and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMember {
    /// Identifier of the node.
    pub node_id: u64,
    /// Peer listener, as host:port.
    pub peer_address: String,
    /// Client gRPC listener, as host:port.
    pub client_address: String,
    /// Name of the pod.
    pub name: String,
}

impl ClusterMember {
    /// Creates a member from its entry in the membership.
    #[must_use]
    pub fn new(node_id: u64, node: &NodeAddresses) -> Self {
        let NodeAddresses { peer_address, client_address, name } = node.clone();
        Self { node_id, peer_address, client_address, name }
    }
}

/// Members of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipView {
    /// Sets of voters: one, or two during a joint configuration.
    pub voter_sets: Vec<BTreeSet<u64>>,
    /// Members without a vote.
    pub learners: BTreeSet<u64>,
    /// All members, voters and learners.
    pub members: Vec<ClusterMember>,
    /// Log index of the membership entry; 0 for none.
    pub log_index: u64,
}

impl MembershipView {
    pub(crate) fn new(stored: &StoredMembership) -> Self {
        let membership = stored.membership();
        Self {
            voter_sets: membership.get_joint_config().clone(),
            learners: membership.learner_ids().collect(),
            members: membership.nodes().map(|(id, node)| ClusterMember::new(*id, node)).collect(),
            log_index: stored.log_id().map_or(0, |id| id.index),
        }
    }

    /// Returns the voters; during a joint configuration, those of the new set.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<u64> {
        self.voter_sets.last().cloned().unwrap_or_default()
    }

    /// Returns `true` if this node is a member.
    #[must_use]
    pub fn contains(&self, node_id: u64) -> bool {
        self.members.iter().any(|member| member.node_id == node_id)
    }

    /// Returns the member with this id.
    #[must_use]
    pub fn member(&self, node_id: u64) -> Option<&ClusterMember> {
        self.members.iter().find(|member| member.node_id == node_id)
    }
}

/// Replication progress of another member, as the leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Identifier of the node.
    pub node_id: u64,
    /// Last log index up to which the member's log matches the leader's; `None` before the first answer.
    pub matched_index: Option<u64>,
    /// Number of entries by which the member is behind the leader's last entry.
    pub lag: u64,
    /// Time since the member last answered; `None` if it never answered this leader.
    pub contact_age: Option<Duration>,
}

/// Readiness of this pod for client traffic: it has joined, is bootstrapped, has caught up, has the right time, and is
/// not cut off from nodes that can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeReadiness {
    /// The pod is ready.
    Ready,
    /// The volume belongs to no cluster, or the node is not a member (yet).
    NotJoined,
    /// The node has not yet applied what was committed when it started.
    CatchingUp,
    /// The cluster's first command is not applied yet.
    NotBootstrapped,
    /// The pod's clock is wrong.
    ClockWrong {
        /// The pod's clock minus the cluster's time, in milliseconds.
        offset_ms: i64,
    },
    /// The node does not keep up with applying what is committed.
    Behind {
        /// Number of committed entries that are not applied yet.
        entries: u64,
    },
    /// The node hears no leader, and cannot rule out that others do.
    CutOff,
}

impl NodeReadiness {
    /// Returns the reason for not being ready, in words; empty when ready.
    #[must_use]
    pub fn reason(self) -> String {
        match self {
            Self::Ready => String::new(),
            Self::NotJoined => "not a member of a cluster yet: waiting to be initialised or added".into(),
            Self::CatchingUp => "catching up with the committed entries".into(),
            Self::NotBootstrapped => "the cluster's first command is not applied yet".into(),
            Self::ClockWrong { offset_ms } => format!("this pod's clock is {}: correct it", off_by(offset_ms)),
            Self::Behind { entries } => format!("{entries} committed entries are not applied yet"),
            Self::CutOff => "cut off: no contact with a leader, nor with a majority that has none either".into(),
        }
    }
}

/// A node's view at one moment.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Identifier of the node.
    pub node_id: u64,
    /// Identifier of the cluster; `None` until the node belongs to one.
    pub cluster_id: Option<Arc<str>>,
    /// Role of the node.
    pub role: NodeRole,
    /// Current Raft term of the node.
    pub term: u64,
    /// Node id of the leader, if it was heard within the last second. A leader without a quorum names none, and neither
    /// does a follower whose leader is silent.
    pub leader: Option<u64>,
    /// Time since this node first saw that leader in that term.
    pub leader_age: Option<Duration>,
    /// Members of the cluster.
    pub membership: MembershipView,
    /// Index of the last entry in the log; 0 for none, as in all of the following indexes.
    pub last_log_index: u64,
    /// Index of the last entry known to be committed.
    pub committed_index: u64,
    /// Index of the last entry applied to the state.
    pub applied_index: u64,
    /// Index of the last entry in the newest snapshot.
    pub snapshot_index: u64,
    /// Index of the last entry purged from the log.
    pub purged_index: u64,
    /// Time since a quorum last answered; leader only.
    pub quorum_ack_age: Option<Duration>,
    /// Time since the leader was last heard; follower, candidate and learner only.
    pub leader_contact_age: Option<Duration>,
    /// Replication progress of the other members; empty unless this node leads.
    pub progress: Vec<PeerProgress>,
    /// Readiness of this pod for client traffic.
    pub readiness: NodeReadiness,
    /// Status of the time on this pod.
    pub time: TimeStatus,
    /// Format levels as this pod knows them.
    pub levels: FormatLevels,
}

/// Format levels (docs/adr/0015) of the cluster and of this pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatLevels {
    /// Level in force after the last entry that is applied on this pod.
    pub in_force: u32,
    /// Highest level that this pod knows.
    pub known: u32,
}

impl NodeStatus {
    /// Returns `true` if this node leads and has a quorum.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leader == Some(self.node_id)
    }

    /// Returns the progress of another member; `None` if this node does not lead or does not know the member.
    #[must_use]
    pub fn progress_of(&self, node_id: u64) -> Option<&PeerProgress> {
        self.progress.iter().find(|progress| progress.node_id == node_id)
    }
}
