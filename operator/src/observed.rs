//! What was seen, as plain values: the input of `plan` and `status`. Nothing here knows Kubernetes types or protobuf.

use crate::build::Carried;
use k8s_openapi::jiff::Timestamp;
use quorate_crd::ChatClusterStatus;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A Raft node id. Random, 63 bits; a volume's, not a pod's.
pub type NodeId = u64;

/// Everything seen of one cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When.
    pub now: Timestamp,
    /// A cluster id nobody has used, in case one is needed: `plan` has no randomness.
    pub fresh_cluster_id: String,
    /// Proof that the cluster was made, or is being made.
    pub marker: Option<Marker>,
    /// The StatefulSet, if there is one.
    pub stateful_set: Option<StatefulSetView>,
    /// The places that the spec asks for: one for each ordinal, from 0.
    pub slots: Vec<Slot>,
    /// Higher ordinals that have a pod or a claim, lowest first: what is left of a cluster that had more places.
    pub beyond: Vec<Slot>,
    /// Objects of our names that belong to somebody else.
    pub conflicts: Vec<String>,
    /// Configurations of ours, and whether anything refers to them.
    pub configs: Vec<ConfigView>,
    /// Whether the Secrets of the peer door are there and not near their end.
    pub peer_tls: PeerTls,
    /// How well it was seen.
    pub sight: Sight,
    /// Objects of ours whose owner is not the one that they should have.
    pub ownership: Vec<OwnerView>,
    /// What the status said before.
    pub previous: ChatClusterStatus,
}

/// How well the cluster was seen. What the operator does not see may well be there: a NetworkPolicy against it, or peer
/// Secrets that the pods have not taken up yet, stop nobody but the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Since when no leader was heard; since this operator began, if none ever was.
    pub leader_unheard: Duration,
}

/// An object that should be owned by the ChatCluster, or by nobody, and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerView {
    /// Which it is.
    pub object: OwnedObject,
    /// Whether the ChatCluster owns it now.
    pub owned: bool,
}

/// An object that is created once or by others, and so gets its owner by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedObject {
    /// A Secret of the peer door: of the ChatCluster always.
    Secret(String),
    /// A claim: of the ChatCluster if it is to go with it.
    Claim(String),
    /// The marker: as the claims, because it tells about them.
    Marker(String),
}

/// The marker: a ConfigMap that is created before a cluster is made and that nothing prunes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The identity that was chosen.
    pub cluster_id: String,
    /// The server name that it was made with.
    pub server_name: String,
    /// Whether a pod has been seen to belong to it. From then on no cluster is made again.
    pub initialized: bool,
    /// The first voters.
    pub voters: BTreeSet<NodeId>,
    /// Version of the object that was read; a write goes through only if it still has it.
    pub resource_version: Option<String>,
}

/// State of the Secrets of the peer door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerTls {
    /// To be made, or to be made good: one that lacks a part is of no more use than none.
    Absent,
    /// There, to be made again soon.
    Expiring,
    /// There.
    Present,
}

/// What matters of the StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct StatefulSetView {
    /// Its controller has seen the newest spec.
    pub settled: bool,
    /// The pods that it asks for.
    pub replicas: i32,
    /// Its controller restarts no pod; one that is made anew has the newest revision, whatever the partition.
    pub on_delete: bool,
    /// Pods with a lower ordinal keep their revision.
    pub partition: i32,
    /// The revision that pods below the partition have.
    pub current_revision: String,
    /// The revision that pods from the partition on have.
    pub update_revision: String,
    /// What goes on in the next one.
    pub carried: Carried,
}

/// A configuration of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigView {
    /// Its name.
    pub name: String,
    /// The StatefulSet's template, one of its revisions or a pod names it.
    pub used: bool,
    /// It is there; else only its text is known, or not even that.
    pub exists: bool,
    /// Its text, as it is or as it was recorded.
    pub text: Option<String>,
}

/// One ordinal: its pod, its claim, and what the pod's admin door said.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// The ordinal.
    pub ordinal: i32,
    /// The pod's name, whether there is a pod or not.
    pub name: String,
    /// The pod.
    pub pod: Option<PodView>,
    /// The claim.
    pub claim: Option<ClaimView>,
    /// The answer of the pod's admin door; absent while it does not answer.
    pub door: Option<Door>,
    /// What Kubernetes says about its pod or claim in warnings.
    pub notice: Option<String>,
}

/// What matters of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Its uid: another pod of the same name has another.
    pub uid: String,
    /// Its address, once it has one.
    pub address: Option<String>,
    /// Its Ready condition.
    pub ready: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// The revision of the template that it was made from.
    pub revision: String,
    /// The role label that it has.
    pub role: Option<String>,
    /// The node that it runs on.
    pub node: Option<String>,
    /// Why its container does not run: `ImagePullBackOff`, `CrashLoopBackOff`, ... or why it is not scheduled, or why it
    /// does not go.
    pub trouble: Option<String>,
}

/// What matters of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimView {
    /// Its name.
    pub name: String,
    /// The cluster that it is stamped with.
    pub cluster_id: Option<String>,
    /// The node id that it is stamped with.
    pub node_id: Option<NodeId>,
    /// Its node was taken out of the cluster on purpose: nobody needs it to come back.
    pub retired: bool,
    /// Since when it is being deleted.
    pub deleting_since: Option<Timestamp>,
    /// Bytes asked for.
    pub requested: u64,
    /// Bytes there.
    pub capacity: Option<u64>,
    /// Its volume.
    pub volume: Option<String>,
    /// The file system grows only when a pod mounts the volume.
    pub resize_pending: bool,
    /// Why it gets no volume, with what helps.
    pub trouble: Option<String>,
}

/// How a node is reached and called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The id of its volume.
    pub id: NodeId,
    /// host:port of its peer door.
    pub peer_address: String,
    /// host:port of its client door.
    pub client_address: String,
    /// The name of its pod.
    pub name: String,
}

/// What a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Role {
    #[default]
    Unknown,
    Leader,
    Follower,
    Candidate,
    Learner,
}

/// What an admin door said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Door {
    /// Who answers.
    pub node: Node,
    /// The cluster that it belongs to; `None` until it belongs to one.
    pub cluster_id: Option<String>,
    /// Its server name.
    pub server_name: String,
    /// Its version of chatd.
    pub version: String,
    /// Its volume holds nothing.
    pub empty: bool,
    /// What it thinks it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Whom it follows; 0 for nobody.
    pub leader: NodeId,
    /// The membership that it knows.
    pub membership: Membership,
    /// As leader: since when a quorum has not acknowledged, age of the message included.
    pub quorum_ack: Option<Duration>,
    /// As leader: how far the others are.
    pub progress: BTreeMap<NodeId, Progress>,
    /// What its readiness probe says.
    pub ready: bool,
    /// And why not.
    pub not_ready_reason: String,
    /// Its volume is so full that people's writes would use the reserve.
    pub storage_short: bool,
}

/// How far a member is, as the leader knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last entry that it is known to have; 0 before it was ever heard.
    pub matched: u64,
    /// Entries behind the leader's last.
    pub lag: u64,
    /// Since when it was not heard of; `None` if never.
    pub contact: Option<Duration>,
}

/// A Raft membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// More than one while a change is under way: a decision needs a majority of each.
    pub voter_sets: Vec<BTreeSet<NodeId>>,
    /// Members without a vote.
    pub learners: BTreeSet<NodeId>,
    /// How they are reached.
    pub nodes: BTreeMap<NodeId, Node>,
}

impl Membership {
    /// All that have a vote in any set.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.voter_sets.iter().flatten().copied().collect()
    }

    /// Whether a node belongs to it, with a vote or without.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.learners.contains(&id) || self.voter_sets.iter().any(|set| set.contains(&id))
    }

    /// There are voters: a cluster has been made.
    #[must_use]
    pub fn is_made(&self) -> bool {
        !self.voters().is_empty()
    }

    /// A change is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.voter_sets.len() > 1
    }

    /// The pod that a node was last known to be.
    #[must_use]
    pub fn name(&self, id: NodeId) -> Option<&str> {
        self.nodes.get(&id).map(|node| node.name.as_str())
    }
}

impl Slot {
    /// What is the matter with it, in words, and what helps where that is known.
    #[must_use]
    pub fn explain(&self) -> String {
        let why = match (&self.pod, &self.door) {
            (None, _) => self.with_notice("is not there yet"),
            (Some(PodView { deleting: true, trouble: Some(trouble), .. }), _) => trouble.clone(),
            (Some(pod), _) if pod.deleting => "is being deleted".to_owned(),
            (Some(PodView { trouble: Some(trouble), .. }), None) => self.with_claim(trouble),
            (Some(PodView { address: None, .. }), None) => self.with_notice("has no address yet"),
            (Some(pod), None) => self.with_notice(&format!("does not answer on its admin port yet{}", pod.place())),
            (Some(_), Some(door)) if !door.ready => format!("is not ready: {}", door.not_ready_reason),
            (Some(pod), Some(_)) if !pod.ready => "is not seen as ready by Kubernetes yet".to_owned(),
            (Some(_), Some(_)) => "does not keep up with the leader".to_owned(),
        };
        format!("{} {why}", self.name)
    }

    /// The failure will not pass by waiting, as far as can be told from outside.
    #[must_use]
    pub fn is_in_trouble(&self) -> bool {
        let pod_is = |pod: &PodView| pod.trouble.is_some() && self.door.is_none();
        self.pod.as_ref().is_some_and(pod_is)
            || (self.door.is_none() && self.notice.is_some())
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
    fn place(&self) -> String {
        self.node.as_ref().map(|node| format!(" (it is on node {node})")).unwrap_or_default()
    }
}

impl Observed {
    /// The places of the spec and the slots beyond them.
    pub fn all_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().chain(&self.beyond)
    }

    /// The slot whose door answers for a node.
    #[must_use]
    pub fn slot_of(&self, id: NodeId) -> Option<&Slot> {
        self.all_slots().find(|slot| slot.door.as_ref().is_some_and(|door| door.node.id == id))
    }

    /// The doors that answer, also beyond the places of the spec.
    pub fn doors(&self) -> impl Iterator<Item = (&Slot, &Door)> {
        self.all_slots().filter_map(|slot| slot.door.as_ref().map(|door| (slot, door)))
    }

    /// What the pod with the highest term knows of the membership: better than nothing while there is no leader.
    #[must_use]
    pub fn newest_membership(&self) -> Option<&Membership> {
        let known = self.doors().filter(|(_, door)| door.membership.is_made());
        known.max_by_key(|(_, door)| door.term).map(|(_, door)| &door.membership)
    }
}
