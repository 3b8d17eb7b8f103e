//! Replacement of a member whose volume is gone.
//!
//! An empty volume has a fresh node id, because a voter that forgot its vote and its log must not vote under its old
//! id. The fresh node therefore first receives the log as a learner, and when it has caught up, one joint change swaps
//! it for the old id (Raft dissertation, section 4.3). There are never four voters of which one is dead.

use super::{NextMove, Operation, OperationKind, OperationStep, PlanStep, places};
use crate::{
    cluster::ValidCluster,
    observed::{AdminStatus, MemberSlot, NodeId, ObservedState, RaftMembership},
    quorum::{self, Leader, MAX_LAG},
};
use std::collections::BTreeSet;

const KIND: OperationKind = OperationKind::ReplaceMember;

pub(super) fn replace_member(_: &ValidCluster, observed: &ObservedState, leader: Leader<'_>) -> NextMove {
    let membership = &leader.answer.membership;
    if membership.is_joint() {
        return finish_joint_change(leader);
    }
    // Only slots of the spec: a node that answers from beyond them is on its way out.
    let answers = observed.slots.iter().filter_map(|slot| slot.answer.as_ref().map(|answer| (slot, answer)));
    let mut fresh: Vec<(&MemberSlot, &AdminStatus)> =
        answers.filter(|(slot, answer)| is_fresh(slot, answer, leader)).collect();
    // Nodes that are learners already come first, so that one is replaced at a time.
    fresh.sort_by_key(|(_, answer)| !membership.learners.contains(&answer.node.id));
    match fresh.first() {
        Some((slot, answer)) if membership.learners.contains(&answer.node.id) => {
            promote_learner(observed, leader, slot, answer)
        }
        Some((slot, answer)) => add_learner(leader, slot, answer),
        None => remove_stale_learners(observed, leader).unwrap_or_default(),
    }
}

/// Returns `true` if the node answers, has no vote, and belongs to this cluster or to none.
fn is_fresh(slot: &MemberSlot, answer: &AdminStatus, leader: Leader<'_>) -> bool {
    // A pod that is ending still answers for a moment, and its volume may go with it.
    let stays = slot.pod.as_ref().is_some_and(|pod| !pod.deleting);
    let ours = answer.cluster_id.is_none() || answer.cluster_id == leader.answer.cluster_id;
    stays && ours && !leader.answer.membership.voters().contains(&answer.node.id)
}

/// Finishes a joint change. A leader that is lost between the two halves of a change leaves it to its successor to
/// finish.
fn finish_joint_change(leader: Leader<'_>) -> NextMove {
    let membership = &leader.answer.membership;
    // A joint membership lists the old voters first and the new ones last.
    let voters = membership.voter_sets.last().cloned().unwrap_or_default();
    let about = replacement_operation(
        OperationStep::FinishChange,
        None,
        "finishing a membership change that is in progress".into(),
    );
    NextMove::take(change_membership(leader, voters, BTreeSet::new()), about)
}

fn add_learner(leader: Leader<'_>, slot: &MemberSlot, answer: &AdminStatus) -> NextMove {
    let about = replacement_operation(
        OperationStep::AddLearner,
        Some(slot),
        format!("{} has a fresh volume (node {}): sending it the log", slot.name, answer.node.id),
    );
    let step = PlanStep::AddLearner {
        leader: leader.slot.name.clone(),
        node: answer.node.clone(),
        cluster_id: leader.answer.cluster_id.clone().unwrap_or_default(),
    };
    NextMove::take(step, about)
}

fn promote_learner(observed: &ObservedState, leader: Leader<'_>, slot: &MemberSlot, answer: &AdminStatus) -> NextMove {
    let id = answer.node.id;
    let membership = &leader.answer.membership;
    // At 0 the leader has not heard from the learner, and a small lag only says that the log is short.
    let Some(progress) = leader.answer.progress.get(&id).filter(|progress| progress.matched > 0) else {
        let message = format!("waiting for the leader to hear from {} (node {id})", slot.name);
        return NextMove::wait(replacement_operation(OperationStep::CatchUp, Some(slot), message));
    };
    if progress.lag > MAX_LAG {
        // Without the lag: it changes all the time, and the status is no place for that.
        let message = format!("{} (node {id}) is more than {MAX_LAG} entries behind", slot.name);
        return NextMove::wait(replacement_operation(OperationStep::CatchUp, Some(slot), message));
    }
    let gone = superseded_voters(observed, membership, slot);
    let mut voters: BTreeSet<NodeId> = membership.voters().difference(&gone).copied().collect();
    voters.insert(id);
    // The swap needs a majority of the voters before and after; without one it would hang, but do no harm.
    let mut healthy = quorum::healthy_voters(observed, leader);
    let before = quorum::keeps_majority(membership, &healthy, &BTreeSet::new());
    healthy.insert(id);
    let after = RaftMembership { voter_sets: vec![voters.clone()], ..RaftMembership::default() };
    if !before || !quorum::keeps_majority(&after, &healthy, &BTreeSet::new()) {
        let message = format!("{} has caught up; waiting until a majority is healthy", slot.name);
        return NextMove::wait(replacement_operation(OperationStep::WaitForQuorum, Some(slot), message));
    }
    let old: Vec<String> = gone.iter().map(NodeId::to_string).collect();
    let in_place = if old.is_empty() { String::new() } else { format!(" in place of {}", old.join(", ")) };
    let message = format!("{} has caught up: giving node {id} a vote{in_place}", slot.name);
    let about = replacement_operation(OperationStep::SwapVoter, Some(slot), message);
    let mut stale = stale_learners(observed, membership);
    // Its name in the membership may be that of a former pod, which makes it look stale.
    stale.remove(&id);
    NextMove::take(change_membership(leader, voters, stale), about)
}

/// Returns the voters that the node in this slot replaces: those that the slot's pod was before, or else one that is
/// lost and has no slot, so that there are never four voters of which one is dead. A voter that answers is never
/// returned.
fn superseded_voters(observed: &ObservedState, membership: &RaftMembership, slot: &MemberSlot) -> BTreeSet<NodeId> {
    let lost = |id: &NodeId| observed.slot_of(*id).is_none();
    let was_here = |id: &NodeId| membership.name(*id) == Some(slot.name.as_str());
    let before: BTreeSet<NodeId> = membership.voters().into_iter().filter(|id| was_here(id) && lost(id)).collect();
    if !before.is_empty() {
        return before;
    }
    places::homeless_voters(observed, membership).into_iter().filter(lost).take(1).collect()
}

/// Returns the learners that have no slot, or whose pod answers under another id because their volume is lost.
fn stale_learners(observed: &ObservedState, membership: &RaftMembership) -> BTreeSet<NodeId> {
    let stale = |id: &NodeId| {
        let name = membership.name(*id).unwrap_or_default();
        match observed.slots.iter().find(|slot| slot.name == name) {
            None => true,
            Some(slot) => slot.answer.as_ref().is_some_and(|answer| answer.node.id != *id),
        }
    };
    membership.learners.iter().copied().filter(stale).collect()
}

fn remove_stale_learners(observed: &ObservedState, leader: Leader<'_>) -> Option<NextMove> {
    let membership = &leader.answer.membership;
    let stale = stale_learners(observed, membership);
    if stale.is_empty() {
        return None;
    }
    let ids: Vec<String> = stale.iter().map(NodeId::to_string).collect();
    let about = replacement_operation(
        OperationStep::RemoveLearner,
        None,
        format!("removing learners whose volumes are gone: {}", ids.join(", ")),
    );
    Some(NextMove::take(change_membership(leader, membership.voters(), stale), about))
}

/// Reports that not every voter answers when nothing can be done about it.
pub(super) fn wait_for_voters(_: &ValidCluster, observed: &ObservedState, leader: Leader<'_>) -> NextMove {
    let answering: BTreeSet<NodeId> = observed.answers().map(|(_, answer)| answer.node.id).collect();
    if leader.answer.membership.voters().is_subset(&answering) {
        return NextMove::default();
    }
    let silent: Vec<&MemberSlot> = observed.slots.iter().filter(|slot| slot.answer.is_none()).collect();
    let words: Vec<String> = silent.iter().map(|slot| slot.explain()).collect();
    if words.is_empty() {
        return NextMove::default();
    }
    let mut about = replacement_operation(OperationStep::WaitForPod, silent.first().copied(), words.join("; "));
    about.kind = OperationKind::Recover;
    NextMove::wait(about)
}

/// Returns the step that changes the voters to exactly this set, in one joint change.
pub(super) fn change_membership(
    leader: Leader<'_>,
    voters: BTreeSet<NodeId>,
    remove_learners: BTreeSet<NodeId>,
) -> PlanStep {
    PlanStep::ChangeMembership {
        leader: leader.slot.name.clone(),
        voters,
        expected: leader.answer.membership.voters(),
        remove_learners,
    }
}

fn replacement_operation(step: OperationStep, slot: Option<&MemberSlot>, message: String) -> Operation {
    Operation { kind: KIND, step, member: slot.map(|slot| slot.name.clone()), message }
}
