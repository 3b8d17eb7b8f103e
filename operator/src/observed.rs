//! Observed state as plain values, the input of `plan` and `status`. `observe` converts Kubernetes objects to them, and
//! `pod_watch` the messages of the admin API. Only the status as last reported keeps the type of the custom resource,
//! which contains Kubernetes' own conditions and times.

use crate::build::CarriedState;
use jiff::Timestamp;
use quorate_crd::ChatClusterStatus;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Raft node id: 63 random bits, which belong to a volume and not to a pod.
pub type NodeId = u64;

/// Observed state of one cluster, with the time and the random id that a decision may need.
#[derive(Clone, Debug)]
pub struct ObservedState {
    /// Time of the observation.
    pub now: Timestamp,
    /// Cluster id that nobody has used, in case one is needed, because `plan` has no randomness.
    pub fresh_cluster_id: String,
    /// Proof that the cluster has been initialized, or is being initialized.
    pub marker: Option<ClusterMarker>,
    /// StatefulSet, if there is one.
    pub stateful_set: Option<StatefulSetView>,
    /// Slots that the spec asks for, one for each ordinal from 0.
    pub slots: Vec<MemberSlot>,
    /// Slots of higher ordinals that have a pod or a claim, lowest first: what is left of a cluster that had more
    /// replicas.
    pub beyond: Vec<MemberSlot>,
    /// Objects with our names that belong to somebody else or to a former ChatCluster of the same name, as `Kind/name`.
    pub conflicts: Vec<String>,
    /// Configurations of the cluster, and whether anything refers to them.
    pub configs: Vec<ConfigView>,
    /// State of the peer listener's Secrets.
    pub peer_tls: PeerTls,
    /// Visibility of the cluster to the operator.
    pub sight: LeaderContact,
    /// Ownership of the objects that get their owner separately.
    pub ownership: Vec<OwnerView>,
    /// Status as it was last reported.
    pub previous: ChatClusterStatus,
}

/// Visibility of the cluster to the operator. Pods that the operator does not see may well be running: a NetworkPolicy
/// against it, or peer Secrets that the pods have not loaded yet, stop nobody but the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaderContact {
    /// Time since a leader was last heard, or since this operator started if none ever was.
    pub leader_unheard: Duration,
}

/// Object that gets its owner separately, and its current ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerView {
    /// Kind and name of the object.
    pub object: OwnedObject,
    /// `true` if the ChatCluster owns the object.
    pub owned: bool,
}

/// Object that is created once or by others, and so gets its owner separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedObject {
    /// Secret of the peer listener, which the ChatCluster always owns.
    Secret(String),
    /// Claim, which the ChatCluster owns if both are to be deleted together.
    Claim(String),
    /// Marker, which is owned like the claims because it describes them.
    Marker(String),
}

/// Marker: a ConfigMap that is created before the cluster is initialized and that nothing prunes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMarker {
    /// Cluster id that was chosen.
    pub cluster_id: String,
    /// Server name that the cluster was created with.
    pub server_name: String,
    /// `true` if a pod has been seen to belong to the cluster. From then on no cluster is initialized again.
    pub initialized: bool,
    /// Voters that the cluster starts with.
    pub voters: BTreeSet<NodeId>,
    /// Version of the object that was read; a write succeeds only if the object still has it.
    pub resource_version: Option<String>,
}

/// State of the Secrets of the peer listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerTls {
    /// A Secret is missing or incomplete and must be issued; an incomplete one is as useless as none.
    Absent,
    /// The Secrets exist, and a certificate is due for renewal.
    Expiring,
    /// The Secrets exist, and no renewal is due or possible.
    Present,
}

/// Relevant state of the StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct StatefulSetView {
    /// `true` if the StatefulSet controller has seen the newest spec.
    pub settled: bool,
    /// Number of pods that the StatefulSet asks for.
    pub replicas: i32,
    /// `true` if the update strategy is `OnDelete`: the controller restarts no pod, and a recreated one gets the newest
    /// revision whatever the partition.
    pub on_delete: bool,
    /// Partition of the rolling update: pods with a lower ordinal keep their revision.
    pub partition: i32,
    /// Revision of the pods below the partition.
    pub current_revision: String,
    /// Revision of the pods from the partition on.
    pub update_revision: String,
    /// State that is carried over to the next StatefulSet.
    pub carried: CarriedState,
}

/// Configuration of the cluster, held by a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigView {
    /// Name of the ConfigMap.
    pub name: String,
    /// `true` if the StatefulSet's template, one of its revisions or a pod refers to the ConfigMap.
    pub used: bool,
    /// `true` if the ConfigMap exists; otherwise only its text is known, or not even that.
    pub exists: bool,
    /// Text of the configuration, as it is or as it was recorded.
    pub text: Option<String>,
}

/// One ordinal: its pod, its claim, and the status that the pod's admin API sent.
#[derive(Clone, Debug, Default)]
pub struct MemberSlot {
    /// Ordinal of the pod.
    pub ordinal: i32,
    /// Name of the pod, whether it exists or not.
    pub name: String,
    /// Pod, if it exists.
    pub pod: Option<PodView>,
    /// Claim, if it exists.
    pub claim: Option<ClaimView>,
    /// Status that the pod's admin API sent; `None` while it does not answer.
    pub answer: Option<AdminStatus>,
    /// Text of a Kubernetes warning about the pod or its claim.
    pub notice: Option<String>,
}

/// Relevant state of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Uid, which differs from that of another pod of the same name.
    pub uid: String,
    /// Address, once the pod has one.
    pub address: Option<String>,
    /// `true` if the Ready condition holds.
    pub ready: bool,
    /// `true` if the pod is being deleted.
    pub deleting: bool,
    /// Revision of the template that the pod was created from.
    pub revision: String,
    /// Role label that the pod has.
    pub role: Option<String>,
    /// Name of the node that the pod runs on.
    pub node: Option<String>,
    /// Reason why the container does not run (`ImagePullBackOff`, `CrashLoopBackOff`, …), why the pod is not scheduled,
    /// or why it does not end.
    pub trouble: Option<String>,
}

/// Relevant state of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimView {
    /// Name of the claim.
    pub name: String,
    /// Cluster id that the claim is annotated with.
    pub cluster_id: Option<String>,
    /// Node id that the claim is annotated with.
    pub node_id: Option<NodeId>,
    /// `true` if the node was deliberately removed from the cluster, so that nobody needs it to come back.
    pub retired: bool,
    /// Time since which the claim is being deleted.
    pub deleting_since: Option<Timestamp>,
    /// Requested size in bytes.
    pub requested: u64,
    /// Actual size in bytes.
    pub capacity: Option<u64>,
    /// Name of the bound volume.
    pub volume: Option<String>,
    /// `true` if the file system grows only when a pod mounts the volume.
    pub resize_pending: bool,
    /// Reason why the claim gets no volume, with what helps.
    pub trouble: Option<String>,
}

/// Identity and addresses of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftNode {
    /// Node id of the volume.
    pub id: NodeId,
    /// Address of the peer listener as `host:port`.
    pub peer_address: String,
    /// Address of the client listener as `host:port`.
    pub client_address: String,
    /// Name of the node's pod.
    pub name: String,
}

/// Raft role of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum RaftRole {
    #[default]
    Unknown,
    Leader,
    Follower,
    Candidate,
    Learner,
}

/// Status that a pod's admin API sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminStatus {
    /// Node that sent the status.
    pub node: RaftNode,
    /// Cluster that the node belongs to; `None` if it belongs to none yet.
    pub cluster_id: Option<String>,
    /// Server name that the node runs with.
    pub server_name: String,
    /// Version of chatd that the node runs.
    pub version: String,
    /// `true` if the volume holds nothing.
    pub empty: bool,
    /// Raft role, as the node sees it.
    pub role: RaftRole,
    /// Raft term of the node.
    pub term: u64,
    /// Leader that the node follows; 0 for none.
    pub leader: NodeId,
    /// Membership that the node knows.
    pub membership: RaftMembership,
    /// Time since a quorum last acknowledged the node as leader, age of the message included; `None` if the node does
    /// not lead.
    pub quorum_ack: Option<Duration>,
    /// Replication progress of the other members, if the node leads.
    pub progress: BTreeMap<NodeId, ReplicationProgress>,
    /// Result of the node's readiness probe.
    pub ready: bool,
    /// Reason why the node is not ready.
    pub not_ready_reason: String,
    /// `true` if the volume is so full that writes of users would use the reserve.
    pub storage_short: bool,
}

/// Replication progress of a member, as the leader knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicationProgress {
    /// Index of the last log entry that the member is known to have; 0 before the leader first heard of it.
    pub matched: u64,
    /// Number of log entries that the member is behind the leader's last one.
    pub lag: u64,
    /// Time since the leader last heard of the member; `None` if it never did.
    pub contact: Option<Duration>,
}

/// Raft membership, joint while a change is in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftMembership {
    /// Voter sets. There is more than one while a change is in progress, when a decision needs a majority of each.
    pub voter_sets: Vec<BTreeSet<NodeId>>,
    /// Members without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Identity and addresses of the members.
    pub nodes: BTreeMap<NodeId, RaftNode>,
}

impl RaftMembership {
    /// Returns all nodes that have a vote in any set.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.voter_sets.iter().flatten().copied().collect()
    }

    /// Returns `true` if the node is a member, with a vote or without.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.learners.contains(&id) || self.voter_sets.iter().any(|set| set.contains(&id))
    }

    /// Returns `true` if there are voters, which means that the cluster has been initialized.
    #[must_use]
    pub fn is_made(&self) -> bool {
        !self.voters().is_empty()
    }

    /// Returns `true` if a joint change is in progress.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.voter_sets.len() > 1
    }

    /// Returns the name of the pod that the node was last known to run in.
    #[must_use]
    pub fn name(&self, id: NodeId) -> Option<&str> {
        self.nodes.get(&id).map(|node| node.name.as_str())
    }
}

impl MemberSlot {
    /// Explains in words what is the matter with the slot, and what helps where that is known.
    #[must_use]
    pub fn explain(&self) -> String {
        let why = match (&self.pod, &self.answer) {
            (None, _) => self.with_notice("does not exist yet"),
            (Some(PodView { deleting: true, trouble: Some(trouble), .. }), _) => trouble.clone(),
            (Some(pod), _) if pod.deleting => "is being deleted".to_owned(),
            (Some(PodView { trouble: Some(trouble), .. }), None) => self.with_claim(trouble),
            (Some(PodView { address: None, .. }), None) => self.with_notice("has no IP address yet"),
            (Some(pod), None) => {
                self.with_notice(&format!("does not answer on its admin port yet{}", pod.node_suffix()))
            }
            (Some(_), Some(answer)) if !answer.ready => format!("is not ready: {}", answer.not_ready_reason),
            (Some(pod), Some(_)) if !pod.ready => "is not marked Ready by Kubernetes yet".to_owned(),
            (Some(_), Some(_)) => "lags behind the leader".to_owned(),
        };
        format!("{} {why}", self.name)
    }

    /// Returns `true` if the failure will not pass by waiting, as far as can be told from outside.
    #[must_use]
    pub fn is_in_trouble(&self) -> bool {
        let pod_is = |pod: &PodView| pod.trouble.is_some() && self.answer.is_none();
        self.pod.as_ref().is_some_and(pod_is)
            || (self.answer.is_none() && self.notice.is_some())
            || self.claim.as_ref().is_some_and(|claim| claim.trouble.is_some())
    }

    fn with_notice(&self, what: &str) -> String {
        let what = self.with_claim(what);
        match &self.notice {
            Some(notice) => format!("{what}: {notice}"),
            None => what,
        }
    }

    fn with_claim(&self, what: &str) -> String {
        match self.claim.as_ref().and_then(|claim| claim.trouble.as_ref()) {
            Some(trouble) => format!("{what}, because its claim {trouble}"),
            None => what.to_owned(),
        }
    }
}

impl PodView {
    fn node_suffix(&self) -> String {
        self.node.as_ref().map(|node| format!(" (on node {node})")).unwrap_or_default()
    }
}

impl ObservedState {
    /// Returns the slots of the spec, followed by those beyond.
    pub fn all_slots(&self) -> impl Iterator<Item = &MemberSlot> {
        self.slots.iter().chain(&self.beyond)
    }

    /// Returns the slot whose pod answers for a node.
    #[must_use]
    pub fn slot_of(&self, id: NodeId) -> Option<&MemberSlot> {
        self.all_slots().find(|slot| slot.answer.as_ref().is_some_and(|answer| answer.node.id == id))
    }

    /// Returns the statuses of the pods that answer, also beyond the slots of the spec.
    pub fn answers(&self) -> impl Iterator<Item = (&MemberSlot, &AdminStatus)> {
        self.all_slots().filter_map(|slot| slot.answer.as_ref().map(|answer| (slot, answer)))
    }

    /// Returns the membership known to the pod with the highest term, which is better than nothing while there is no
    /// leader.
    #[must_use]
    pub fn newest_membership(&self) -> Option<&RaftMembership> {
        let known = self.answers().filter(|(_, answer)| answer.membership.is_made());
        known.max_by_key(|(_, answer)| answer.term).map(|(_, answer)| &answer.membership)
    }
}
