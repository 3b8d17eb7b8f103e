//! Rollout of a new revision: one pod at a time, with leadership moved off the pod first, and pods that cannot start as
//! they are before all others.
//!
//! The StatefulSet controller does not know what a quorum is: it deletes the next pod when the last one is Ready, or
//! even while another is not. The partition therefore rests at `replicas`, and is lowered by one ordinal when that is
//! safe. Nor does the controller help a broken pod below the partition, or below another broken pod: such a pod gets
//! the new revision by [`mend`], out of turn.

mod leaderless;
mod mend;

pub(super) use leaderless::{before_initialisation, without_leader};
pub(super) use mend::mend;

use super::{Move, Operation, OperationKind, OperationStep, Step, places, succession};
use crate::{
    cluster::Cluster,
    observed::{NodeId, Observed, Slot, StatefulSetView},
    quorum::{self, Leader},
};
use mend::{back_to_partition, gets_newest, is_outdated, renew};
use std::collections::BTreeSet;

const KIND: OperationKind = OperationKind::Rollout;

/// Restarts the next outdated pod when all others can spare it. Called while there is a leader.
pub(super) fn plan(cluster: &Cluster, observed: &Observed, leader: Leader<'_>) -> Move {
    let Some(set) = settled(observed) else {
        let message = "waiting for the StatefulSet controller to observe the change".to_owned();
        return Move::wait(operation(OperationStep::WaitForStatefulSet, None, message));
    };
    let found = next_restart(cluster, observed, leader, set);
    match found.step {
        // The step relies on the StatefulSet's setting to create new pods from the new revision.
        Some(Step::ReplacePod { .. }) => found,
        _ => back_to_partition(observed, set).unwrap_or(found),
    }
}

fn next_restart(cluster: &Cluster, observed: &Observed, leader: Leader<'_>, set: &StatefulSetView) -> Move {
    let healthy = quorum::healthy_voters(observed, leader);
    let is_healthy = |slot: &Slot| slot.door.as_ref().is_some_and(|door| healthy.contains(&door.node.id));
    let stays = |slot: &Slot| !places::is_leaving(observed, leader, slot);
    let to_restart = |slot: &Slot| slot.pod.is_some() && is_outdated(slot, set) && stays(slot);
    let outdated = || hosted(observed, set).filter(|slot| to_restart(slot));
    let ends = |slot: &&Slot| slot.pod.as_ref().is_some_and(|pod| pod.deleting);
    let hands_over = succession::best(observed, leader, |_| true).is_some_and(|best| best.is_restarted);
    let must_lead_on = |slot: &Slot| slot.ordinal == leader.slot.ordinal && !hands_over;
    // Unhealthy pods first, because restarting them costs nothing; then the highest ordinal, as the StatefulSet
    // controller does. The leader waits until there is a restarted pod to hand over to: leadership then moves once, and
    // never to a pod of an old revision that may not be able to lead.
    let order = |slot: &&Slot| (!is_healthy(slot), !must_lead_on(slot), slot.ordinal);
    let target = outdated().filter(|slot| !ends(slot)).max_by_key(order);
    let Some(target) = target else {
        let Some(slot) = outdated().next() else { return rest(observed, set, &is_healthy) };
        return Move::wait(operation(OperationStep::WaitForPod, Some(slot), slot.explain()));
    };
    if is_doomed(target) {
        let message = format!("{} must not be restarted while its claim is being deleted", target.name);
        return Move::wait(operation(OperationStep::WaitForVolume, Some(target), message));
    }
    if !set.on_delete && target.ordinal >= set.partition {
        let message = format!("waiting for {} to restart", target.name);
        return Move::wait(operation(OperationStep::WaitForPod, Some(target), message));
    }
    let is_unwell = |slot: &Slot| !is_healthy(slot) && stays(slot);
    if let Some(slot) = must_be_healthy_first(observed, set, target, !is_healthy(target), &is_unwell) {
        let message = format!("waiting to restart {}: {}", target.name, slot.explain());
        return Move::wait(operation(OperationStep::WaitForOthers, Some(slot), message));
    }
    restart(cluster, observed, leader, set, target)
}

fn settled(observed: &Observed) -> Option<&StatefulSetView> {
    observed.stateful_set.as_ref().filter(|set| set.settled)
}

/// Returns the slots that the StatefulSet has a pod for.
fn hosted<'a>(observed: &'a Observed, set: &StatefulSetView) -> impl Iterator<Item = &'a Slot> + use<'a> {
    let replicas = set.replicas;
    observed.all_slots().filter(move |slot| slot.ordinal < replicas)
}

/// Returns `true` if the volume is deleted when the pod ends.
fn is_doomed(slot: &Slot) -> bool {
    slot.pod.is_some() && slot.claim.as_ref().is_some_and(|claim| claim.deleting_since.is_some())
}

/// Returns a slot that must become healthy before `target` is restarted. A healthy target needs all other pods to be
/// healthy. An unhealthy one, which can be spared, needs only those that already have the new revision: while one of
/// them is unhealthy, the revision itself may be at fault.
fn must_be_healthy_first<'a>(
    observed: &'a Observed,
    set: &StatefulSetView,
    target: &Slot,
    spare: bool,
    is_unwell: &dyn Fn(&Slot) -> bool,
) -> Option<&'a Slot> {
    hosted(observed, set)
        .filter(|slot| slot.ordinal != target.ordinal && is_unwell(slot))
        .find(|slot| !spare || !is_outdated(slot, set))
}

fn restart(cluster: &Cluster, observed: &Observed, leader: Leader<'_>, set: &StatefulSetView, target: &Slot) -> Move {
    // Voters that keep up form the quorum, whether they are ready for users or not.
    let following = quorum::following_voters(observed, leader);
    let gone: BTreeSet<NodeId> = target.door.iter().map(|door| door.node.id).collect();
    let single = cluster.spec.replicas == 1 && leader.door.membership.voters().len() == 1;
    if !single && !quorum::survives(&leader.door.membership, &following, &gone) {
        let message = format!("restarting {} now would lose the quorum", target.name);
        return Move::wait(operation(OperationStep::WaitForQuorum, Some(target), message));
    }
    if !single && leader.slot.ordinal == target.ordinal {
        return move_leadership(observed, leader, target);
    }
    let message = format!("restarting {} with the new revision", target.name);
    // The pods above have the revision already: lower the partition as usual, and the StatefulSet controller deletes
    // the pod.
    let is_highest = hosted(observed, set).all(|other| other.ordinal <= target.ordinal || !is_outdated(other, set));
    if is_highest && !gets_newest(target, set) {
        return Move::take(
            Step::SetPartition(target.ordinal),
            operation(OperationStep::RestartPod, Some(target), message),
        );
    }
    renew(set, target, message)
}

fn move_leadership(observed: &Observed, leader: Leader<'_>, from: &Slot) -> Move {
    let Some(successor) = succession::best(observed, leader, |_| true) else { return Move::default() };
    let message = format!("transferring leadership from {} to {} before the restart", from.name, successor.slot.name);
    Move::take(successor.hand_over(leader), operation(OperationStep::TransferLeader, Some(from), message))
}

/// Returns to the rest state once all pods have the revision, so that a lost pod comes back as it was.
fn rest(observed: &Observed, set: &StatefulSetView, is_healthy: &dyn Fn(&Slot) -> bool) -> Move {
    if !set.on_delete && set.partition >= set.replicas {
        return Move::default();
    }
    if set.current_revision != set.update_revision {
        // If the partition were raised too early, the controller would count the old revision as current and bring lost
        // pods back with it.
        let unwell = hosted(observed, set).find(|slot| !is_healthy(slot));
        let message = unwell.map_or_else(
            || "waiting for the StatefulSet controller to make the new revision current".into(),
            |slot| format!("all pods have the new revision; {}", slot.explain()),
        );
        return Move::wait(operation(OperationStep::Complete, unwell, message));
    }
    Move::take(
        Step::SetPartition(set.replicas),
        operation(OperationStep::Complete, None, "all pods have the new revision".into()),
    )
}

/// Returns the operation for a new template that is about to be applied, from when on the cluster does not match the
/// spec.
pub(super) fn begins() -> Operation {
    operation(OperationStep::ApplyTemplate, None, "the pod template has changed and is about to be applied".to_owned())
}

fn operation(step: OperationStep, slot: Option<&Slot>, message: String) -> Operation {
    Operation { kind: KIND, step, member: slot.map(|slot| slot.name.clone()), message }
}
