//! Voters without a slot: a ChatCluster that was deleted and recreated with fewer replicas finds more voters than it
//! has slots for.
//!
//! All their pods are started first, because a majority of the *old* voters has to agree to any change. Then the voters
//! beyond the slots of the spec are removed one at a time: lost voters first, because each of them costs fault
//! tolerance and gives nothing, and live ones when all slots hold healthy voters. The pods follow the voters: the
//! StatefulSet never has fewer than the voters need.

use super::{NextMove, Operation, OperationKind, OperationStep, PlanChore, member, succession};
use crate::{
    cluster::ValidCluster,
    observed::{MemberSlot, NodeId, ObservedState, RaftMembership},
    quorum::{self, Leader},
};
use std::{cmp::Reverse, collections::BTreeSet};

const KIND: OperationKind = OperationKind::RemoveMember;

/// Returns the number of pods to run. Without a leader it is never lower than the current number, because nobody knows
/// yet which nodes vote.
pub(super) fn pod_count(cluster: &ValidCluster, observed: &ObservedState) -> i32 {
    let wanted = cluster.spec.replicas;
    let highest = |holds: &dyn Fn(&MemberSlot) -> bool| {
        observed.beyond.iter().filter(|slot| holds(slot)).map(|slot| slot.ordinal.saturating_add(1)).max()
    };
    match quorum::find_leader(observed) {
        Some(leader) => {
            let voters = leader.answer.membership.voters();
            highest(&|slot| is_of(slot, &voters, &leader.answer.membership)).unwrap_or(wanted)
        }
        None => {
            let there = observed.stateful_set.as_ref().map_or(wanted, |set| set.replicas);
            highest(&|slot| may_hold_a_voter(slot, observed)).unwrap_or(wanted).max(there)
        }
    }
    .max(wanted)
}

/// Returns `true` if the slot's pod answers for one of these nodes, or if its volume belongs to one.
fn is_of(slot: &MemberSlot, nodes: &BTreeSet<NodeId>, membership: &RaftMembership) -> bool {
    if let Some(answer) = &slot.answer {
        return nodes.contains(&answer.node.id);
    }
    let named = nodes.iter().any(|id| membership.name(*id) == Some(slot.name.as_str()));
    let stamped = slot.claim.as_ref().and_then(|claim| claim.node_id);
    // The annotation belongs to the volume; the name is only that of the pod in which the node last ran.
    stamped.map_or(named, |id| nodes.contains(&id)) && volume_stays(slot)
}

fn volume_stays(slot: &MemberSlot) -> bool {
    // The finalizer `kubernetes.io/pvc-protection` keeps a deleted claim for as long as a pod uses it.
    slot.claim.as_ref().is_some_and(|claim| claim.deleting_since.is_none() || slot.pod.is_some())
}

fn may_hold_a_voter(slot: &MemberSlot, observed: &ObservedState) -> bool {
    let Some(claim) = slot.claim.as_ref().filter(|_| volume_stays(slot)) else { return false };
    let ours = match (&claim.cluster_id, &observed.marker) {
        (Some(id), Some(marker)) => *id == marker.cluster_id,
        // Without the marker nobody knows whose data it is, and a pod too many does no harm.
        (Some(_), None) => true,
        (None, _) => false,
    };
    let named = observed.newest_membership().is_some_and(|membership| is_of(slot, &membership.voters(), membership));
    (ours || named) && !claim.retired
}

/// Returns the voters that have no slot: their ordinal is beyond the spec, or nobody knows where they were, or their
/// slot belongs to another voter by now. A voter that answers from a slot of the spec is never returned.
pub(super) fn homeless_voters(observed: &ObservedState, membership: &RaftMembership) -> BTreeSet<NodeId> {
    let voters = membership.voters();
    let has_slot = |id: &NodeId| match observed.slot_of(*id) {
        Some(answers) => observed.slots.iter().any(|slot| slot.name == answers.name),
        None => observed.slots.iter().any(|slot| {
            let taken = slot.answer.as_ref().is_some_and(|answer| voters.contains(&answer.node.id));
            membership.name(*id) == Some(slot.name.as_str()) && !taken
        }),
    };
    voters.iter().copied().filter(|id| !has_slot(id)).collect()
}

/// Removes the next voter that has no slot, if that is safe.
pub(super) fn remove_voter(_: &ValidCluster, observed: &ObservedState, leader: Leader<'_>) -> NextMove {
    let membership = &leader.answer.membership;
    let healthy = quorum::healthy_voters(observed, leader);
    let ordinal = |id: &NodeId| observed.slot_of(*id).map(|slot| slot.ordinal);
    let leads = |id: &NodeId| *id == leader.answer.node.id;
    // Lost voters first, then the highest ordinal; the leader last, so that leadership moves at most once.
    let homeless = homeless_voters(observed, membership);
    let next = homeless.iter().copied().min_by_key(|id| (healthy.contains(id), leads(id), Reverse(ordinal(id))));
    let Some(id) = next else { return NextMove::default() };
    let successor =
        succession::trusted_successor(observed, leader, |id| healthy.contains(&id) && !homeless.contains(&id));
    // Each removed voter leaves less to spare for the restarts that produce a successor.
    let leads_on = homeless.iter().any(leads) && successor.is_none();
    if leads_on || (healthy.contains(&id) && slot_to_fill(observed, &healthy).is_some()) {
        return NextMove::default();
    }
    let mut voters = membership.voters();
    voters.remove(&id);
    let after = RaftMembership { voter_sets: vec![voters.clone()], ..RaftMembership::default() };
    let agrees = |membership: &RaftMembership| quorum::keeps_majority(membership, &healthy, &BTreeSet::new());
    if !agrees(membership) || !agrees(&after) {
        return NextMove::default();
    }
    let who = describe_node(observed, membership, id);
    if leads(&id) {
        let Some(successor) = successor else { return NextMove::default() };
        let message = format!("transferring leadership away from {who} before removing its vote");
        return NextMove::take(
            successor.hand_over(leader),
            removal_operation(OperationStep::TransferLeader, &who, message),
        );
    }
    let message = format!("{who} is beyond the {} replicas of the spec: removing its vote", observed.slots.len());
    NextMove::take(
        member::change_membership(leader, voters, BTreeSet::new()),
        removal_operation(OperationStep::RemoveVoter, &who, message),
    )
}

/// Reports what the removal waits for. Asked after everything else, because nothing must wait for it.
pub(super) fn wait_for_removal(_: &ValidCluster, observed: &ObservedState, leader: Leader<'_>) -> NextMove {
    let membership = &leader.answer.membership;
    let healthy = quorum::healthy_voters(observed, leader);
    let Some(id) = homeless_voters(observed, membership).into_iter().next_back() else { return NextMove::default() };
    let who = describe_node(observed, membership, id);
    let why = slot_to_fill(observed, &healthy).map_or_else(|| "a majority is not healthy".into(), MemberSlot::explain);
    let message = format!(
        "{} nodes vote, but the spec has {} replicas; {who} keeps its vote for now: {why}",
        membership.voters().len(),
        observed.slots.len()
    );
    NextMove::wait(removal_operation(OperationStep::WaitForOthers, &who, message))
}

/// Returns `true` if the slot is beyond the spec and has no vote. Its pod ends when the StatefulSet may have fewer
/// pods, and nothing waits for it.
pub(super) fn is_leaving(observed: &ObservedState, leader: Leader<'_>, slot: &MemberSlot) -> bool {
    let has_slot = observed.slots.iter().any(|wanted| wanted.ordinal == slot.ordinal);
    let membership = &leader.answer.membership;
    let votes = is_of(slot, &membership.voters(), membership);
    !has_slot && !votes
}

/// Returns a slot of the spec that holds no healthy voter.
fn slot_to_fill<'a>(observed: &'a ObservedState, healthy: &BTreeSet<NodeId>) -> Option<&'a MemberSlot> {
    let holds = |slot: &&MemberSlot| slot.answer.as_ref().is_some_and(|answer| healthy.contains(&answer.node.id));
    observed.slots.iter().find(|slot| !holds(slot))
}

fn describe_node(observed: &ObservedState, membership: &RaftMembership, id: NodeId) -> String {
    let slot = observed.slot_of(id).map(|slot| slot.name.as_str());
    match slot.or_else(|| membership.name(id)).filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => format!("node {id}"),
    }
}

/// Returns the chores that mark the volumes of removed nodes, so that nobody starts a pod for them again.
pub(super) fn retirement_chores(observed: &ObservedState) -> Vec<PlanChore> {
    let (Some(leader), Some(marker)) = (quorum::find_leader(observed), &observed.marker) else { return Vec::new() };
    let membership = &leader.answer.membership;
    let left = |slot: &MemberSlot| {
        let claim = slot.claim.as_ref().filter(|claim| !claim.retired && claim.deleting_since.is_none())?;
        let node_id = claim.node_id.filter(|id| !membership.contains(*id))?;
        let ours = claim.cluster_id.as_ref() == Some(&marker.cluster_id);
        ours.then(|| PlanChore::RetireClaim { claim: claim.name.clone(), node_id })
    };
    observed.beyond.iter().filter_map(left).collect()
}

/// Returns `true` if no pod can be spared for a reason that Kubernetes does not see.
///
/// A PodDisruptionBudget of one counts the pods that are not ready by itself. It knows nothing of voters that have no
/// pod, nor of those whose pod is ready but does not keep up.
pub(super) fn is_fragile(observed: &ObservedState, width: i32) -> bool {
    let leader = quorum::find_leader(observed);
    let Some(membership) = leader.map(|leader| &leader.answer.membership).or_else(|| observed.newest_membership())
    else {
        // Nobody answers: use what was known last.
        return observed.previous.raft.as_ref().is_some_and(|raft| raft.voters > width);
    };
    let voters = membership.voters();
    let mut counted = match leader {
        Some(leader) => quorum::healthy_voters(observed, leader),
        None => voters.iter().copied().filter(|id| observed.slot_of(*id).is_some()).collect(),
    };
    let unready = |slot: &MemberSlot| slot.pod.as_ref().is_none_or(|pod| !pod.ready || pod.deleting);
    let seen = |slot: &MemberSlot| slot.ordinal < width && unready(slot);
    let of = |id: NodeId| {
        observed
            .slot_of(id)
            .or_else(|| observed.all_slots().find(|slot| membership.name(id) == Some(slot.name.as_str())))
    };
    // The budget itself counts these as disrupted, and only what it does not see is to change it.
    counted.extend(voters.iter().filter(|id| of(**id).is_some_and(seen)));
    voters.len() > 1 && quorum::fault_tolerance(membership, &counted) < 1
}

fn removal_operation(step: OperationStep, member: &str, message: String) -> Operation {
    Operation { kind: KIND, step, member: Some(member.to_owned()), message }
}
