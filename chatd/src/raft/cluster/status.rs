//! What a node knows of itself and its cluster, in plain values: for the admin door, `ListServers`, readiness, metrics.

use crate::raft::{
    clock::{TimeStatus, off_by},
    types::{Node, StoredMembership},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// What a node does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes writes, while it has a quorum.
    Leader,
    /// Votes, and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Follows without a vote; also a node that belongs to no cluster yet.
    Learner,
}

/// A member and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub node_id: u64,
    /// host:port of its peer door.
    pub peer_address: String,
    /// host:port of its client gRPC door.
    pub client_address: String,
    /// Its pod's name.
    pub name: String,
}

impl Member {
    /// As it stands in the membership.
    #[must_use]
    pub fn new(node_id: u64, node: &Node) -> Self {
        let Node { peer_address, client_address, name } = node.clone();
        Self { node_id, peer_address, client_address, name }
    }
}

/// Who belongs to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipView {
    /// One set; two while a change is under way.
    pub voter_sets: Vec<BTreeSet<u64>>,
    /// Members without a vote.
    pub learners: BTreeSet<u64>,
    /// All of them.
    pub members: Vec<Member>,
    /// Log index of the entry that made it; 0 for none.
    pub log_index: u64,
}

impl MembershipView {
    pub(crate) fn new(stored: &StoredMembership) -> Self {
        let membership = stored.membership();
        Self {
            voter_sets: membership.get_joint_config().clone(),
            learners: membership.learner_ids().collect(),
            members: membership.nodes().map(|(id, node)| Member::new(*id, node)).collect(),
            log_index: stored.log_id().map_or(0, |id| id.index),
        }
    }

    /// The voters; during a change those that it leads to.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<u64> {
        self.voter_sets.last().cloned().unwrap_or_default()
    }

    /// This node is one of them.
    #[must_use]
    pub fn contains(&self, node_id: u64) -> bool {
        self.members.iter().any(|member| member.node_id == node_id)
    }

    /// The member with this id.
    #[must_use]
    pub fn member(&self, node_id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.node_id == node_id)
    }
}

/// How far another member has come, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Who.
    pub node_id: u64,
    /// Its log matches the leader's up to here; `None` before the first answer.
    pub matched_index: Option<u64>,
    /// Entries behind the leader's last.
    pub lag: u64,
    /// Since it answered; `None` if never under this leader.
    pub contact_age: Option<Duration>,
}

/// Whether this pod may get clients: joined, open, caught up, with the right time; and not cut off from who can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// Its volume belongs to no cluster, or it is no member (yet).
    NotJoined,
    /// It has not yet applied what was committed when it started.
    CatchingUp,
    /// The cluster's first command is not applied yet.
    NotBootstrapped,
    /// Its clock is wrong by so much.
    ClockWrong {
        /// Its own minus the cluster's time, in milliseconds.
        offset_ms: i64,
    },
    /// It does not apply what is committed.
    Behind {
        /// Not applied yet.
        entries: u64,
    },
    /// It hears no leader, and cannot rule out that others do.
    CutOff,
}

impl Readiness {
    /// Why not, in words; empty when ready.
    #[must_use]
    pub fn reason(self) -> String {
        match self {
            Self::Ready => String::new(),
            Self::NotJoined => "not a member of a cluster yet: it waits to be initialised or added".into(),
            Self::CatchingUp => "catching up with what the cluster has committed".into(),
            Self::NotBootstrapped => "the cluster's first command is not applied yet".into(),
            Self::ClockWrong { offset_ms } => format!("this pod's clock is {}: set it right", off_by(offset_ms)),
            Self::Behind { entries } => format!("{entries} entries behind what the cluster has committed"),
            Self::CutOff => "cut off: it hears no leader, and reaches no majority that hears none either".into(),
        }
    }
}

/// A node's view at one moment.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Of which node.
    pub node_id: u64,
    /// `None` until it belongs to a cluster.
    pub cluster_id: Option<Arc<str>>,
    /// What it does.
    pub role: Role,
    /// Raft's term.
    pub term: u64,
    /// Who leads, if anyone was heard within the last second: a leader without a quorum names none, neither does a
    /// follower whose leader is silent.
    pub leader: Option<u64>,
    /// Since this node first saw that leader in that term.
    pub leader_age: Option<Duration>,
    /// Who belongs to it.
    pub membership: MembershipView,
    /// Last entry in its log; 0 for none, as all of the following.
    pub last_log_index: u64,
    /// Committed, as far as it knows.
    pub committed_index: u64,
    /// Applied to its state.
    pub applied_index: u64,
    /// In its newest snapshot.
    pub snapshot_index: u64,
    /// Purged from its log.
    pub purged_index: u64,
    /// Leader only: since a quorum answered.
    pub quorum_ack_age: Option<Duration>,
    /// Follower and learner: since the leader was heard.
    pub leader_contact_age: Option<Duration>,
    /// Leader only.
    pub progress: Vec<PeerProgress>,
    /// May it get clients?
    pub readiness: Readiness,
    /// What it knows of the time.
    pub time: TimeStatus,
}

impl NodeStatus {
    /// This node leads and has a quorum.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leader == Some(self.node_id)
    }

    /// How far another member has come; `None` when this node does not lead or does not know it.
    #[must_use]
    pub fn progress_of(&self, node_id: u64) -> Option<&PeerProgress> {
        self.progress.iter().find(|progress| progress.node_id == node_id)
    }
}
