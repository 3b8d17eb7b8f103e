//! `plan`: decides what to do, based on what was observed. A total, pure function, and the heart of the operator.
//!
//! A plan holds the desired objects, non-disruptive chores, and at most one disruptive [`PlanStep`]. Steps are taken
//! one at a time and everything is observed again between them, so a killed operator loses nothing and two operators
//! that overlap for a moment do no harm: each step is idempotent or a compare-and-swap.
//!
//! The tests in `model/` check the invariants: from any observation, repeating the steps comes to rest; no step removes
//! a voter or a pod where that would leave fewer healthy voters than a majority; and if some spec lets every pod start,
//! the plan reaches it, whatever state the pods are in.

mod bootstrap;
mod member;
#[cfg(test)]
mod model;
mod operation;
mod owners;
mod places;
mod preconditions;
mod rollout;
mod storage;
mod succession;

pub use operation::{Blocked, BlockedReason, Operation, OperationKind, OperationStep};

use crate::{
    build::{CarriedState, DesiredResources, build_resources},
    cluster::ValidCluster,
    observed::{ClusterMarker, NodeId, ObservedState, OwnedObject, PeerTls, RaftNode, RaftRole},
    quorum::{self, Leader},
};
use std::collections::BTreeSet;

/// Actions that the operator is to take.
#[derive(Clone, Debug)]
pub struct ReconcilePlan {
    /// Desired objects; `None` while nothing may be changed.
    pub resources: Option<Box<DesiredResources>>,
    /// Small writes that disrupt nothing.
    pub chores: Vec<PlanChore>,
    /// Disruptive step, at most one per plan.
    pub step: Option<PlanStep>,
    /// Operation in progress, in words for the status.
    pub operation: Option<Operation>,
    /// Problem that only an administrator can resolve.
    pub blocked: Option<Blocked>,
}

/// Non-disruptive write, such as a label or an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanChore {
    /// Issue or renew the Secrets of the peer listener.
    IssuePeerTls,
    /// Annotate a claim with the cluster and the node whose data its volume holds.
    StampClaim {
        /// Name of the claim.
        claim: String,
        /// Id of the cluster.
        cluster_id: String,
        /// Id of the node.
        node_id: NodeId,
    },
    /// Annotate a claim whose node was deliberately removed from the cluster.
    RetireClaim {
        /// Name of the claim.
        claim: String,
        /// Id of the removed node.
        node_id: NodeId,
    },
    /// Request a larger volume.
    GrowClaim {
        /// Name of the claim.
        claim: String,
        /// Size to request, as a Kubernetes quantity.
        size: String,
    },
    /// Label a pod with its role.
    LabelRole {
        /// Name of the pod.
        pod: String,
        /// Role of the pod.
        role: PodRole,
    },
    /// Add the ChatCluster as the owner of an object, or remove it.
    SetOwner {
        /// Object whose owner changes.
        object: OwnedObject,
        /// `true` if the ChatCluster is to own the object.
        owned: bool,
    },
    /// Delete a configuration that nothing refers to.
    PruneConfig {
        /// Name of the ConfigMap.
        name: String,
    },
}

/// Role that a pod is labelled with, by which the leader's Service selects its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodRole {
    /// The pod leads.
    Leader,
    /// The pod has a vote and does not lead.
    Follower,
    /// The pod has no vote.
    Learner,
}

impl PodRole {
    /// Returns the role as the label has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Learner => "learner",
        }
    }
}

/// Disruptive action, of which a plan has at most one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanStep {
    /// Create the marker; fails if there is one.
    CreateMarker(ClusterMarker),
    /// Replace the marker; fails if it has changed since it was read.
    UpdateMarker(ClusterMarker),
    /// Initialize the cluster on one of its pods.
    Initialize {
        /// Name of the pod to ask.
        pod: String,
        /// Cluster id in the marker.
        cluster_id: String,
        /// Nodes that the marker names as voters.
        voters: Vec<RaftNode>,
    },
    /// Add a fresh node as a learner, so that it receives the log.
    AddLearner {
        /// Name of the leader's pod.
        leader: String,
        /// Node to add as a learner.
        node: RaftNode,
        /// Id of the cluster.
        cluster_id: String,
    },
    /// Change the voters to exactly this set, in one joint change.
    ChangeMembership {
        /// Name of the leader's pod.
        leader: String,
        /// Voters after the change.
        voters: BTreeSet<NodeId>,
        /// Voters before the change, as far as the plan knows.
        expected: BTreeSet<NodeId>,
        /// Learners to remove, because they will never vote.
        remove_learners: BTreeSet<NodeId>,
    },
    /// Transfer leadership to another voter.
    TransferLeader {
        /// Name of the leader's pod.
        leader: String,
        /// Node id of the successor.
        to: NodeId,
    },
    /// Give the new revision to the pods from this ordinal on. Carried out by applying the StatefulSet.
    SetPartition(i32),
    /// Give the new revision to recreated pods, whatever their ordinal, and restart none. Carried out by applying the
    /// StatefulSet.
    RenewOnDelete,
    /// Delete a pod that counts for no quorum, so that its successor gets the new revision.
    ReplacePod {
        /// Name of the pod.
        pod: String,
        /// Uid of the pod, so that no other pod is deleted.
        uid: String,
    },
    /// Delete a pod so that it gets a fresh volume.
    DeletePod {
        /// Name of the pod.
        pod: String,
        /// Uid of the pod, so that no other pod is deleted.
        uid: String,
    },
}

impl PlanStep {
    /// Returns `true` if the step was decided by which pod has which revision.
    fn follows_revisions(&self) -> bool {
        matches!(self, Self::SetPartition(_) | Self::RenewOnDelete | Self::ReplacePod { .. })
    }

    /// Returns the kind of the step, for metrics.
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

/// Result of one part of the plan: a step with its operation, an operation that waits, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NextMove {
    step: Option<PlanStep>,
    operation: Option<Operation>,
}

impl NextMove {
    fn wait(operation: Operation) -> Self {
        Self { step: None, operation: Some(operation) }
    }

    fn take(step: PlanStep, operation: Operation) -> Self {
        Self { step: Some(step), operation: Some(operation) }
    }
}

/// Decides what the operator does next.
#[must_use]
pub fn make_plan(cluster: &ValidCluster, observed: &ObservedState) -> ReconcilePlan {
    let mut plan = ReconcilePlan { resources: None, chores: Vec::new(), step: None, operation: None, blocked: None };
    if let Some(first) = observed.conflicts.first() {
        plan.blocked = Some(Blocked {
            reason: BlockedReason::NameConflict,
            message: format!(
                "{first} already exists and does not belong to this ChatCluster: delete or rename it, or give the ChatCluster another name (leftovers of a deleted ChatCluster of the same name are garbage-collected)"
            ),
        });
        return plan;
    }
    // After the conflicts, which are reported even while nothing is changed.
    if cluster.spec.paused {
        return plan;
    }
    if let Some(blocked) = preconditions::other_server_name(cluster, observed) {
        plan.blocked = Some(blocked);
        return plan;
    }
    let unusable = preconditions::unusable_secrets(cluster, observed);
    // Pods that do not exist yet would only wait for the Secret. Those that exist must be looked after meanwhile.
    if unusable.is_some() && observed.stateful_set.is_none() {
        plan.blocked = unusable;
        return plan;
    }
    let template_is_new = template_is_new(cluster, observed);
    match next_move(cluster, observed) {
        // The observed revisions are out of date.
        Ok(NextMove { step: Some(step), operation }) if step.follows_revisions() && template_is_new => {
            plan.operation = operation;
        }
        Ok(NextMove { step, operation }) => (plan.step, plan.operation) = (step, operation),
        Err(blocked) => plan.blocked = Some(blocked),
    }
    if plan.operation.is_none() && plan.blocked.is_none() && template_is_new {
        plan.operation = Some(rollout::template_operation());
    }
    // After any other problem, which is more urgent: it is about the data.
    plan.blocked = plan.blocked.or(unusable);
    plan.chores = plan_chores(cluster, observed, template_is_new);
    plan.resources = Some(Box::new(desired_resources(cluster, observed, plan.step.as_ref(), template_is_new)));
    plan
}

/// Asks the parts of the plan in order and returns the first answer: the cluster must exist before it can be repaired,
/// and pods that cannot start and members that are lost come before the rollout.
fn next_move(cluster: &ValidCluster, observed: &ObservedState) -> Result<NextMove, Blocked> {
    let Some(marker) = observed.marker.as_ref().filter(|marker| marker.initialized) else {
        let found = bootstrap::bootstrap_cluster(cluster, observed)?;
        // Nothing can be lost yet, so a wrong image is corrected at once.
        let broken = rollout::before_initialisation(cluster, observed);
        return Ok(if found.step.is_none() && broken.step.is_some() { broken } else { found });
    };
    bootstrap::refuse_strangers(observed, marker)?;
    let Some(leader) = quorum::find_leader(observed) else {
        bootstrap::refuse_data_loss(cluster, observed, marker)?;
        bootstrap::refuse_lost_majority(observed, marker)?;
        return Ok(rollout::without_leader(cluster, observed));
    };
    // Pods that cannot start come first, because anything else may wait for them; parts that only wait come last,
    // because nothing may wait for them.
    let parts = [
        rollout::mend_broken,
        member::replace_member,
        places::remove_voter,
        storage::replace_volume,
        rollout::roll_out,
        places::wait_for_removal,
        member::wait_for_voters,
        storage::wait_for_growth,
    ];
    let found = parts.iter().map(|part| part(cluster, observed, leader)).find(|found| found.operation.is_some());
    Ok(found.unwrap_or_default())
}

fn desired_resources(
    cluster: &ValidCluster,
    observed: &ObservedState,
    step: Option<&PlanStep>,
    template_is_new: bool,
) -> DesiredResources {
    let view = observed.stateful_set.as_ref();
    let mut carried = view.map(|view| view.carried.clone()).unwrap_or_default();
    let width = places::pod_count(cluster, observed);
    carried.replicas = Some(width);
    carried.fragile = places::is_fragile(observed, width);
    if let Some(view) = view {
        (carried.partition, carried.on_delete) = match step {
            // A new template starts from the rest state: otherwise the StatefulSet controller would at once restart all
            // pods above an old partition, leader or not.
            _ if template_is_new => (Some(width), false),
            Some(PlanStep::SetPartition(partition)) => (Some(*partition), false),
            Some(PlanStep::RenewOnDelete) => (None, true),
            // Any other plan leaves the setting alone: a changed partition would restart pods.
            _ => (Some(view.partition), view.on_delete),
        };
    }
    let mut resources = build_resources(cluster, &carried);
    resources.keep_configs(cluster, &observed.configs);
    resources
}

fn template_is_new(cluster: &ValidCluster, observed: &ObservedState) -> bool {
    observed.stateful_set.as_ref().is_some_and(|set| template_changes(cluster, &set.carried))
}

fn template_changes(cluster: &ValidCluster, carried: &CarriedState) -> bool {
    let recorded = carried.recorded.as_ref();
    recorded != Some(&crate::build::choose_template(cluster, recorded).record())
}

fn plan_chores(cluster: &ValidCluster, observed: &ObservedState, template_is_new: bool) -> Vec<PlanChore> {
    let mut chores = Vec::new();
    if observed.peer_tls != PeerTls::Present {
        chores.push(PlanChore::IssuePeerTls);
    }
    chores.extend(role_chores(observed));
    chores.extend(stamp_chores(observed));
    chores.extend(owners::owner_chores(cluster, observed));
    chores.extend(places::retirement_chores(observed));
    chores.extend(storage::growth_chores(cluster, observed));
    // Before that, a lost pod may come back with the old revision, which mounts the old configuration.
    let rolled_out = !template_is_new
        && observed.stateful_set.as_ref().is_some_and(|set| set.settled && set.current_revision == set.update_revision);
    if rolled_out {
        let current = crate::build::config_name(cluster);
        let unused = observed.configs.iter().filter(|config| config.exists && !config.used && config.name != current);
        chores.extend(unused.map(|config| PlanChore::PruneConfig { name: config.name.clone() }));
    }
    chores
}

/// Returns the chores that change role labels. Without a leader there are none, because the old labels are as good as
/// any.
fn role_chores(observed: &ObservedState) -> Vec<PlanChore> {
    let Some(leader) = quorum::find_leader(observed) else { return Vec::new() };
    let wanted = observed.all_slots().filter_map(|slot| {
        let pod = slot.pod.as_ref()?;
        let role =
            role_label(slot.answer.as_ref().map(|answer| (answer.node.id, answer.role)), leader, pod.role.as_deref())?;
        (pod.role.as_deref() != Some(role.as_str())).then(|| PlanChore::LabelRole { pod: slot.name.clone(), role })
    });
    let mut chores: Vec<PlanChore> = wanted.collect();
    // The former leader first: two pods behind the leader's Service are worse than none.
    chores.sort_by_key(|chore| matches!(chore, PlanChore::LabelRole { role: PodRole::Leader, .. }));
    chores
}

fn role_label(answer: Option<(NodeId, RaftRole)>, leader: Leader<'_>, label: Option<&str>) -> Option<PodRole> {
    match answer {
        Some((id, _)) if id == leader.answer.node.id => Some(PodRole::Leader),
        Some((id, _)) if leader.answer.membership.voters().contains(&id) => Some(PodRole::Follower),
        Some(_) => Some(PodRole::Learner),
        // The pod does not answer, and another one leads.
        None => (label == Some(PodRole::Leader.as_str())).then_some(PodRole::Follower),
    }
}

fn stamp_chores(observed: &ObservedState) -> Vec<PlanChore> {
    let Some(marker) = &observed.marker else { return Vec::new() };
    observed
        .answers()
        .filter(|(_, answer)| answer.cluster_id.as_ref() == Some(&marker.cluster_id))
        .filter_map(|(slot, answer)| {
            let claim = slot.claim.as_ref().filter(|claim| claim.deleting_since.is_none())?;
            let has_slot = observed.slots.iter().any(|wanted| wanted.name == slot.name);
            let stamped = claim.cluster_id.as_ref() == Some(&marker.cluster_id)
                && claim.node_id == Some(answer.node.id)
                // A retired volume that has a slot of the spec again is needed again.
                && !(claim.retired && has_slot);
            (!stamped).then(|| PlanChore::StampClaim {
                claim: claim.name.clone(),
                cluster_id: marker.cluster_id.clone(),
                node_id: answer.node.id,
            })
        })
        .collect()
}
