//! Volumes: growing them, and replacing one whose claim is being deleted.

use super::{NextMove, Operation, OperationKind, OperationStep, PlanChore, PlanStep, succession};
use crate::{
    cluster::ValidCluster,
    observed::{ClaimView, MemberSlot, NodeId, ObservedState},
    quorum::{self, Leader},
};
use std::collections::BTreeSet;

/// Time given to whoever deleted a claim to delete its pod next, as is usual. Only after that the operator does so.
const PATIENCE_SECONDS: i64 = 30;

/// Replaces a pod whose claim is being deleted. Such a claim keeps its data until its pod ends, and the next ordinary
/// restart wipes the volume. The pod is therefore never restarted for anything else; when all others are healthy, it is
/// replaced on purpose.
pub(super) fn replace_volume(_: &ValidCluster, observed: &ObservedState, leader: Leader<'_>) -> NextMove {
    let doomed = observed.slots.iter().filter(|slot| is_doomed_voter(slot, leader));
    // The leader last, so that leadership moves at most once.
    let doomed = doomed.min_by_key(|slot| (slot.ordinal == leader.slot.ordinal, slot.ordinal));
    let Some(slot) = doomed else { return NextMove::default() };
    let Some((pod, answer)) = slot.pod.as_ref().zip(slot.answer.as_ref()) else { return NextMove::default() };
    let about = |step, message| Operation {
        kind: OperationKind::ReplaceVolume,
        step,
        member: Some(slot.name.clone()),
        message,
    };

    let patient = slot
        .claim
        .as_ref()
        .and_then(|claim| claim.deleting_since)
        .is_some_and(|since| observed.now.as_second().saturating_sub(since.as_second()) < PATIENCE_SECONDS);
    if pod.deleting || patient {
        let message =
            format!("the claim of {} is being deleted: its volume is wiped when the pod terminates", slot.name);
        return NextMove::wait(about(OperationStep::WaitForPod, message));
    }
    let others = others_that_must_be_healthy(leader, answer.node.id);
    let healthy = quorum::healthy_voters(observed, leader);
    let gone = BTreeSet::from([answer.node.id]);
    // Without others this volume is the only copy of the data.
    if others.is_empty()
        || !others.is_subset(&healthy)
        || !quorum::keeps_majority(&leader.answer.membership, &healthy, &gone)
    {
        let message = format!(
            "the claim of {} is being deleted: do not restart this pod, because that wipes its volume; the operator replaces it once all other voters are healthy",
            slot.name
        );
        return NextMove::wait(about(OperationStep::WaitForOthers, message));
    }
    if leader.answer.node.id == answer.node.id {
        let Some(successor) = succession::trusted_successor(observed, leader, |_| true) else {
            return NextMove::default();
        };
        let message = format!("transferring leadership away from {} before it is replaced", slot.name);
        return NextMove::take(successor.hand_over(leader), about(OperationStep::TransferLeader, message));
    }
    let step = PlanStep::DeletePod { pod: slot.name.clone(), uid: pod.uid.clone() };
    NextMove::take(step, about(OperationStep::DeletePod, format!("replacing {} and its volume", slot.name)))
}

fn is_doomed_voter(slot: &MemberSlot, leader: Leader<'_>) -> bool {
    slot.claim.as_ref().is_some_and(|claim| claim.deleting_since.is_some())
        && slot.answer.as_ref().is_some_and(|answer| leader.answer.membership.voters().contains(&answer.node.id))
}

fn others_that_must_be_healthy(leader: Leader<'_>, but: NodeId) -> BTreeSet<NodeId> {
    let mut others = leader.answer.membership.voters();
    others.remove(&but);
    others
}

/// Reports that volumes are still smaller than the spec asks for. Nothing waits for this, because a file system may
/// grow only when its pod restarts.
pub(super) fn wait_for_growth(cluster: &ValidCluster, observed: &ObservedState, _: Leader<'_>) -> NextMove {
    let small = |slot: &&MemberSlot| {
        slot.claim.as_ref().and_then(|claim| claim.capacity).is_some_and(|capacity| capacity < cluster.storage_bytes)
    };
    let Some(slot) = observed.slots.iter().find(small) else { return NextMove::default() };
    let pending = slot.claim.as_ref().is_some_and(|claim| claim.resize_pending);
    let why = if pending { "; its file system grows when the pod restarts" } else { "" };
    let message = format!("waiting for the volume of {} to reach {}{why}", slot.name, cluster.spec.storage.size.0);
    NextMove::wait(Operation {
        kind: OperationKind::GrowVolumes,
        step: OperationStep::WaitForVolume,
        member: Some(slot.name.clone()),
        message,
    })
}

/// Returns the chores for claims that request less than the spec. Claims created later come from the first claim
/// template, so this is checked for ever, not once.
pub(super) fn growth_chores(cluster: &ValidCluster, observed: &ObservedState) -> Vec<PlanChore> {
    let small = |claim: &&ClaimView| claim.deleting_since.is_none() && claim.requested < cluster.storage_bytes;
    let claims = observed.slots.iter().filter_map(|slot| slot.claim.as_ref()).filter(small);
    claims
        .map(|claim| PlanChore::GrowClaim { claim: claim.name.clone(), size: cluster.spec.storage.size.0.clone() })
        .collect()
}
