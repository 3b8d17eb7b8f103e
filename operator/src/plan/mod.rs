//! `plan`: from what was seen to what is to be done. A total, pure function, and the heart of the operator.
//!
//! A plan holds the objects as they should be, chores that disturb nobody, and at most one [`Step`] that does. Steps are
//! taken one at a time and everything is looked at again between them, so a killed operator loses nothing and two
//! operators that overlap for a moment do no harm: each step is idempotent or compares before it swaps.
//!
//! What holds, and is tried in `model/`: from anything observed, repeating the steps comes to rest; no step takes away a
//! voter or a pod where that would leave fewer healthy voters than a majority; and if some spec lets every pod start, the
//! plan reaches it, whatever state the pods are in.

mod bootstrap;
mod member;
#[cfg(test)]
mod model;
mod owners;
mod places;
mod preconditions;
mod rollout;
mod storage;
mod succession;

use crate::{
    build::{Carried, Resources, resources},
    cluster::Cluster,
    observed::{Marker, Node, NodeId, Observed, OwnedObject, PeerTls, Role},
    quorum::{self, Leader},
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeSet;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The objects as they should be; `None` while nothing may be touched.
    pub resources: Option<Box<Resources>>,
    /// Small writes that disturb nobody.
    pub chores: Vec<Chore>,
    /// The one thing to do that disturbs.
    pub step: Option<Step>,
    /// What is under way, in words, for the status.
    pub operation: Option<Operation>,
    /// What only a person can resolve.
    pub blocked: Option<Blocked>,
}

/// A write that disturbs nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Make the Secrets of the peer door, or make them again.
    IssuePeerTls,
    /// Write on a claim whose data its volume holds.
    StampClaim {
        /// The claim.
        claim: String,
        /// The cluster.
        cluster_id: String,
        /// The node.
        node_id: NodeId,
    },
    /// Write on a claim that its node was taken out of the cluster on purpose.
    RetireClaim {
        /// The claim.
        claim: String,
        /// The node.
        node_id: NodeId,
    },
    /// Ask for a larger volume.
    GrowClaim {
        /// The claim.
        claim: String,
        /// The size.
        size: String,
    },
    /// Label a pod with its role.
    LabelRole {
        /// The pod.
        pod: String,
        /// `leader`, `follower` or `learner`.
        role: &'static str,
    },
    /// Give an object its owner, or take it away.
    SetOwner {
        /// The object.
        object: OwnedObject,
        /// Whether the ChatCluster is to own it.
        owned: bool,
    },
    /// Remove a configuration that nothing refers to.
    PruneConfig {
        /// The ConfigMap.
        name: String,
    },
}

/// The one thing that disturbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the marker; fails if there is one.
    CreateMarker(Marker),
    /// Write the marker anew; fails if it was changed meanwhile.
    UpdateMarker(Marker),
    /// Make the cluster.
    Initialize {
        /// The pod to ask.
        pod: String,
        /// The identity in the marker.
        cluster_id: String,
        /// The voters in the marker.
        voters: Vec<Node>,
    },
    /// Let a fresh node receive the log.
    AddLearner {
        /// The leader's pod.
        leader: String,
        /// The node.
        node: Node,
        /// The cluster.
        cluster_id: String,
    },
    /// One joint change to exactly these voters.
    ChangeMembership {
        /// The leader's pod.
        leader: String,
        /// The voters wanted.
        voters: BTreeSet<NodeId>,
        /// The voters there are, as far as the plan knows.
        expected: BTreeSet<NodeId>,
        /// Learners that will never vote.
        remove_learners: BTreeSet<NodeId>,
    },
    /// Hand leadership to another.
    TransferLeader {
        /// The leader's pod.
        leader: String,
        /// The successor.
        to: NodeId,
    },
    /// Let the pod with this ordinal, and those above, have the new revision. Carried out by applying the StatefulSet.
    SetPartition(i32),
    /// Let pods that are made anew have the new revision, whatever their ordinal, and restart none. Carried out by
    /// applying the StatefulSet.
    RenewOnDelete,
    /// Delete a pod that counts for no quorum, so that its successor has the new revision.
    ReplacePod {
        /// Its name.
        pod: String,
        /// Its uid: no other pod is meant.
        uid: String,
    },
    /// Delete a pod so that it gets a fresh volume.
    DeletePod {
        /// Its name.
        pod: String,
        /// Its uid: no other pod is meant.
        uid: String,
    },
}

impl Step {
    /// Whether it was decided by which pod has which revision.
    fn follows_revisions(&self) -> bool {
        matches!(self, Self::SetPartition(_) | Self::RenewOnDelete | Self::ReplacePod { .. })
    }

    /// Its kind, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CreateMarker(_) => "create_marker",
            Self::UpdateMarker(_) => "update_marker",
            Self::Initialize { .. } => "initialize",
            Self::AddLearner { .. } => "add_learner",
            Self::ChangeMembership { .. } => "change_membership",
            Self::TransferLeader { .. } => "transfer_leader",
            Self::SetPartition(_) => "set_partition",
            Self::RenewOnDelete => "renew_on_delete",
            Self::ReplacePod { .. } => "replace_pod",
            Self::DeletePod { .. } => "delete_pod",
        }
    }
}

/// What is under way, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// `Initialize`, `Recover`, `ReplaceMember`, `RemoveMember`, `ReplaceVolume`, `Rollout` or `GrowVolumes`.
    pub kind: &'static str,
    /// What is done or waited for.
    pub step: &'static str,
    /// The pod that it is about.
    pub member: Option<String>,
    /// What it waits for, or does.
    pub message: String,
}

/// What only a person can resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// For machines.
    pub reason: &'static str,
    /// What to do.
    pub message: String,
}

/// What one part of the plan found to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Move {
    step: Option<Step>,
    operation: Option<Operation>,
}

impl Move {
    fn wait(operation: Operation) -> Self {
        Self { step: None, operation: Some(operation) }
    }

    fn take(step: Step, operation: Operation) -> Self {
        Self { step: Some(step), operation: Some(operation) }
    }
}

/// Decides what is to be done.
#[must_use]
pub fn plan(cluster: &Cluster, observed: &Observed) -> Plan {
    let mut plan = Plan { resources: None, chores: Vec::new(), step: None, operation: None, blocked: None };
    if let Some(first) = observed.conflicts.first() {
        plan.blocked = Some(Blocked {
            reason: "NameConflict",
            message: format!(
                "{first} exists and does not belong to this ChatCluster: delete or rename it, or give the ChatCluster another name (what is left of a deleted ChatCluster of this name goes by itself)"
            ),
        });
        return plan;
    }
    if cluster.spec.paused {
        return plan;
    }
    if let Some(blocked) = preconditions::other_server_name(cluster, observed) {
        plan.blocked = Some(blocked);
        return plan;
    }
    let template_is_new = template_is_new(cluster, observed);
    match decide(cluster, observed) {
        // The revisions that were seen are out of date.
        Ok(Move { step: Some(step), operation }) if step.follows_revisions() && template_is_new => {
            plan.operation = operation;
        }
        Ok(Move { step, operation }) => (plan.step, plan.operation) = (step, operation),
        Err(blocked) => plan.blocked = Some(blocked),
    }
    if plan.operation.is_none() && plan.blocked.is_none() && template_is_new {
        plan.operation = Some(rollout::begins());
    }
    plan.chores = chores(cluster, observed, template_is_new);
    plan.resources = Some(Box::new(objects(cluster, observed, plan.step.as_ref(), template_is_new)));
    plan
}

/// In this order: there must be a cluster before it can be mended, and it must be whole before pods are restarted.
fn decide(cluster: &Cluster, observed: &Observed) -> Result<Move, Blocked> {
    let Some(marker) = observed.marker.as_ref().filter(|marker| marker.initialized) else {
        let found = bootstrap::plan(cluster, observed)?;
        // Nothing is there to be lost yet, so a wrong image is put right at once.
        let broken = rollout::before_initialisation(cluster, observed);
        return Ok(if found.step.is_none() && broken.step.is_some() { broken } else { found });
    };
    bootstrap::refuse_strangers(observed, marker)?;
    let Some(leader) = quorum::leader(observed) else {
        bootstrap::refuse_data_loss(cluster, observed, marker)?;
        bootstrap::refuse_lost_majority(observed, marker)?;
        return Ok(rollout::without_leader(cluster, observed));
    };
    // Pods that cannot start come first, because anything else may wait for them; what only waits comes last, because
    // nothing may wait for it.
    let parts = [
        rollout::mend,
        member::plan,
        places::plan,
        storage::plan,
        rollout::plan,
        places::waiting,
        member::waiting,
        storage::grow,
    ];
    let found = parts.iter().map(|part| part(cluster, observed, leader)).find(|found| found.operation.is_some());
    Ok(found.unwrap_or_default())
}

fn objects(cluster: &Cluster, observed: &Observed, step: Option<&Step>, template_is_new: bool) -> Resources {
    let view = observed.stateful_set.as_ref();
    let mut carried = view.map(|view| view.carried.clone()).unwrap_or_default();
    let width = places::width(cluster, observed);
    carried.replicas = Some(width);
    carried.fragile = places::is_fragile(observed, width);
    if let Some(view) = view {
        (carried.partition, carried.on_delete) = match step {
            // A new template starts from rest: else the StatefulSet controller restarts at once all pods above an old
            // partition, leader or not.
            _ if template_is_new => (Some(width), false),
            Some(Step::SetPartition(partition)) => (Some(*partition), false),
            Some(Step::RenewOnDelete) => (None, true),
            _ => (Some(view.partition), view.on_delete),
        };
    }
    let mut resources = resources(cluster, &carried);
    resources.keep_configs(cluster, &observed.configs);
    resources
}

fn template_is_new(cluster: &Cluster, observed: &Observed) -> bool {
    observed.stateful_set.as_ref().is_some_and(|set| template_changes(cluster, &set.carried))
}

fn template_changes(cluster: &Cluster, carried: &Carried) -> bool {
    let recorded = carried.recorded.as_ref();
    recorded != Some(&crate::build::template(cluster, recorded).record())
}

fn chores(cluster: &Cluster, observed: &Observed, template_is_new: bool) -> Vec<Chore> {
    let mut chores = Vec::new();
    if observed.peer_tls != PeerTls::Present {
        chores.push(Chore::IssuePeerTls);
    }
    chores.extend(roles(observed));
    chores.extend(stamps(observed));
    chores.extend(owners::chores(cluster, observed));
    chores.extend(places::retirements(observed));
    chores.extend(storage::growth(cluster, observed));
    let rolled_out = !template_is_new
        && observed.stateful_set.as_ref().is_some_and(|set| set.settled && set.current_revision == set.update_revision);
    if rolled_out {
        let current = crate::build::config_name(cluster);
        let unused = observed.configs.iter().filter(|config| config.exists && !config.used && config.name != current);
        chores.extend(unused.map(|config| Chore::PruneConfig { name: config.name.clone() }));
    }
    chores
}

/// Only while there is a leader: without one the old labels are as good as any.
fn roles(observed: &Observed) -> Vec<Chore> {
    let Some(leader) = quorum::leader(observed) else { return Vec::new() };
    let wanted = observed.all_slots().filter_map(|slot| {
        let pod = slot.pod.as_ref()?;
        let role = role(slot.door.as_ref().map(|door| (door.node.id, door.role)), leader, pod.role.as_deref())?;
        (pod.role.as_deref() != Some(role)).then(|| Chore::LabelRole { pod: slot.name.clone(), role })
    });
    let mut chores: Vec<Chore> = wanted.collect();
    // The former leader first: two pods behind the leader's Service are worse than none.
    chores.sort_by_key(|chore| matches!(chore, Chore::LabelRole { role: "leader", .. }));
    chores
}

fn role(door: Option<(NodeId, Role)>, leader: Leader<'_>, label: Option<&str>) -> Option<&'static str> {
    match door {
        Some((id, _)) if id == leader.door.node.id => Some("leader"),
        Some((id, _)) if leader.door.membership.voters().contains(&id) => Some("follower"),
        Some(_) => Some("learner"),
        // It does not answer, and somebody else leads.
        None => (label == Some("leader")).then_some("follower"),
    }
}

fn stamps(observed: &Observed) -> Vec<Chore> {
    let Some(marker) = &observed.marker else { return Vec::new() };
    observed
        .doors()
        .filter(|(_, door)| door.cluster_id.as_ref() == Some(&marker.cluster_id))
        .filter_map(|(slot, door)| {
            let claim = slot.claim.as_ref().filter(|claim| claim.deleting_since.is_none())?;
            let has_place = observed.slots.iter().any(|place| place.name == slot.name);
            let stamped = claim.cluster_id.as_ref() == Some(&marker.cluster_id)
                && claim.node_id == Some(door.node.id)
                // A volume that was retired and has a place again is needed again.
                && !(claim.retired && has_place);
            (!stamped).then(|| Chore::StampClaim {
                claim: claim.name.clone(),
                cluster_id: marker.cluster_id.clone(),
                node_id: door.node.id,
            })
        })
        .collect()
}

/// Parses what the API server has checked, for messages.
pub(crate) fn size_text(size: &Quantity) -> String {
    size.0.clone()
}
