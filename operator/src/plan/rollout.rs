//! Rollout of a new revision: one pod at a time, with leadership moved off the pod first, and pods that cannot start as
//! they are before all others.
//!
//! The StatefulSet controller does not know what a quorum is: it deletes the next pod when the last one is Ready, or
//! even while another is not. The partition therefore rests at `replicas`, and is lowered by one ordinal when that is
//! safe. Nor does the controller help a broken pod below the partition, or below another broken pod: such a pod gets
//! the new revision by [`mend_broken`], out of turn.

mod leaderless;
mod mend;

pub(super) use leaderless::{before_initialisation, without_leader};
pub(super) use mend::mend_broken;

use super::{NextMove, Operation, OperationKind, OperationStep, PlanStep, places, succession};
use crate::{
    cluster::ValidCluster,
    observed::{MemberSlot, NodeId, ObservedState, StatefulSetView},
    quorum::{self, Leader},
};
use mend::{back_to_partition, gets_newest, is_outdated, renew_pod};
use std::collections::BTreeSet;

const KIND: OperationKind = OperationKind::Rollout;

/// Restarts the next outdated pod when all others can spare it. Called while there is a leader.
pub(super) fn roll_out(cluster: &ValidCluster, observed: &ObservedState, leader: Leader<'_>) -> NextMove {
    let Some(set) = settled_stateful_set(observed) else {
        let message = "waiting for the StatefulSet controller to observe the change".to_owned();
        return NextMove::wait(rollout_operation(OperationStep::WaitForStatefulSet, None, message));
    };
    let found = next_restart(cluster, observed, leader, set);
    match found.step {
        // The step relies on the StatefulSet's setting to create new pods from the new revision.
        Some(PlanStep::ReplacePod { .. }) => found,
        _ => back_to_partition(observed, set).unwrap_or(found),
    }
}

fn next_restart(
    cluster: &ValidCluster,
    observed: &ObservedState,
    leader: Leader<'_>,
    set: &StatefulSetView,
) -> NextMove {
    let healthy = quorum::healthy_voters(observed, leader);
    let is_healthy = |slot: &MemberSlot| slot.answer.as_ref().is_some_and(|answer| healthy.contains(&answer.node.id));
    let stays = |slot: &MemberSlot| !places::is_leaving(observed, leader, slot);
    let to_restart = |slot: &MemberSlot| slot.pod.is_some() && is_outdated(slot, set) && stays(slot);
    let outdated = || hosted_slots(observed, set).filter(|slot| to_restart(slot));
    let ends = |slot: &&MemberSlot| slot.pod.as_ref().is_some_and(|pod| pod.deleting);
    let hands_over = succession::best_successor(observed, leader, |_| true).is_some_and(|best| best.is_restarted);
    let must_lead_on = |slot: &MemberSlot| slot.ordinal == leader.slot.ordinal && !hands_over;
    // Unhealthy pods first, because restarting them costs nothing; then the highest ordinal, as the StatefulSet
    // controller does. The leader waits until there is a restarted pod to hand over to: leadership then moves once, and
    // never to a pod of an old revision that may not be able to lead.
    let order = |slot: &&MemberSlot| (!is_healthy(slot), !must_lead_on(slot), slot.ordinal);
    let target = outdated().filter(|slot| !ends(slot)).max_by_key(order);
    let Some(target) = target else {
        let Some(slot) = outdated().next() else { return finish_rollout(observed, set, &is_healthy) };
        return NextMove::wait(rollout_operation(OperationStep::WaitForPod, Some(slot), slot.explain()));
    };
    if is_doomed(target) {
        let message = format!("{} must not be restarted while its claim is being deleted", target.name);
        return NextMove::wait(rollout_operation(OperationStep::WaitForVolume, Some(target), message));
    }
    // The StatefulSet controller restarts this pod by itself.
    if !set.on_delete && target.ordinal >= set.partition {
        let message = format!("waiting for {} to restart", target.name);
        return NextMove::wait(rollout_operation(OperationStep::WaitForPod, Some(target), message));
    }
    let is_unwell = |slot: &MemberSlot| !is_healthy(slot) && stays(slot);
    if let Some(slot) = must_be_healthy_first(observed, set, target, !is_healthy(target), &is_unwell) {
        let message = format!("waiting to restart {}: {}", target.name, slot.explain());
        return NextMove::wait(rollout_operation(OperationStep::WaitForOthers, Some(slot), message));
    }
    restart_pod(cluster, observed, leader, set, target)
}

fn settled_stateful_set(observed: &ObservedState) -> Option<&StatefulSetView> {
    observed.stateful_set.as_ref().filter(|set| set.settled)
}

/// Returns the slots that the StatefulSet has a pod for.
fn hosted_slots<'a>(
    observed: &'a ObservedState,
    set: &StatefulSetView,
) -> impl Iterator<Item = &'a MemberSlot> + use<'a> {
    let replicas = set.replicas;
    observed.all_slots().filter(move |slot| slot.ordinal < replicas)
}

/// Returns `true` if the volume is deleted when the pod ends.
fn is_doomed(slot: &MemberSlot) -> bool {
    slot.pod.is_some() && slot.claim.as_ref().is_some_and(|claim| claim.deleting_since.is_some())
}

/// Returns a slot that must become healthy before `target` is restarted. A healthy target needs all other pods to be
/// healthy. An unhealthy one, which can be spared, needs only those that already have the new revision: while one of
/// them is unhealthy, the revision itself may be at fault.
fn must_be_healthy_first<'a>(
    observed: &'a ObservedState,
    set: &StatefulSetView,
    target: &MemberSlot,
    spare: bool,
    is_unwell: &dyn Fn(&MemberSlot) -> bool,
) -> Option<&'a MemberSlot> {
    hosted_slots(observed, set)
        .filter(|slot| slot.ordinal != target.ordinal && is_unwell(slot))
        .find(|slot| !spare || !is_outdated(slot, set))
}

fn restart_pod(
    cluster: &ValidCluster,
    observed: &ObservedState,
    leader: Leader<'_>,
    set: &StatefulSetView,
    target: &MemberSlot,
) -> NextMove {
    // Voters that keep up form the quorum, whether they are ready for users or not.
    let following = quorum::following_voters(observed, leader);
    let gone: BTreeSet<NodeId> = target.answer.iter().map(|answer| answer.node.id).collect();
    // Nobody can take over from a single voter, so its restart is an interruption whenever it comes.
    let single = cluster.spec.replicas == 1 && leader.answer.membership.voters().len() == 1;
    if !single && !quorum::keeps_majority(&leader.answer.membership, &following, &gone) {
        let message = format!("restarting {} now would lose the quorum", target.name);
        return NextMove::wait(rollout_operation(OperationStep::WaitForQuorum, Some(target), message));
    }
    if !single && leader.slot.ordinal == target.ordinal {
        return move_leadership(observed, leader, target);
    }
    let message = format!("restarting {} with the new revision", target.name);
    // The pods above have the revision already: lower the partition as usual, and the StatefulSet controller deletes
    // the pod.
    let is_highest =
        hosted_slots(observed, set).all(|other| other.ordinal <= target.ordinal || !is_outdated(other, set));
    if is_highest && !gets_newest(target, set) {
        return NextMove::take(
            PlanStep::SetPartition(target.ordinal),
            rollout_operation(OperationStep::RestartPod, Some(target), message),
        );
    }
    renew_pod(set, target, message)
}

fn move_leadership(observed: &ObservedState, leader: Leader<'_>, from: &MemberSlot) -> NextMove {
    let Some(successor) = succession::best_successor(observed, leader, |_| true) else { return NextMove::default() };
    let message = format!("transferring leadership from {} to {} before the restart", from.name, successor.slot.name);
    NextMove::take(successor.hand_over(leader), rollout_operation(OperationStep::TransferLeader, Some(from), message))
}

/// Returns to the rest state once all pods have the revision, so that a lost pod comes back as it was.
fn finish_rollout(
    observed: &ObservedState,
    set: &StatefulSetView,
    is_healthy: &dyn Fn(&MemberSlot) -> bool,
) -> NextMove {
    if !set.on_delete && set.partition >= set.replicas {
        return NextMove::default();
    }
    if set.current_revision != set.update_revision {
        // If the partition were raised too early, the controller would count the old revision as current and bring lost
        // pods back with it.
        let unwell = hosted_slots(observed, set).find(|slot| !is_healthy(slot));
        let message = unwell.map_or_else(
            || "waiting for the StatefulSet controller to make the new revision current".into(),
            |slot| format!("all pods have the new revision; {}", slot.explain()),
        );
        return NextMove::wait(rollout_operation(OperationStep::Complete, unwell, message));
    }
    NextMove::take(
        PlanStep::SetPartition(set.replicas),
        rollout_operation(OperationStep::Complete, None, "all pods have the new revision".into()),
    )
}

/// Returns the operation for a new template that is about to be applied, from when on the cluster does not match the
/// spec.
pub(super) fn template_operation() -> Operation {
    rollout_operation(
        OperationStep::ApplyTemplate,
        None,
        "the pod template has changed and is about to be applied".to_owned(),
    )
}

fn rollout_operation(step: OperationStep, slot: Option<&MemberSlot>, message: String) -> Operation {
    Operation { kind: KIND, step, member: slot.map(|slot| slot.name.clone()), message }
}
