//! Repair of pods that cannot start as they are. They get the new revision first, whatever their ordinal, because they
//! count for no quorum and everything else would wait for them.
//!
//! The partition cannot say "this low ordinal and no higher one". While a repair lasts, the StatefulSet is therefore
//! told to restart nothing and to create new pods from the new revision (`OnDelete`), and the broken pod is deleted.

use super::{hosted_slots, is_doomed, rollout_operation, settled_stateful_set};
use crate::{
    cluster::ValidCluster,
    observed::{MemberSlot, ObservedState, StatefulSetView},
    plan::{NextMove, OperationStep, PlanStep, places},
    quorum::Leader,
};

/// Time after which an absent pod counts as one that cannot be created. A missing pod is usually created within a
/// second; one that is missing for this long is refused as it is, by a quota or a webhook.
const ABSENT_SECONDS: i64 = 30;

/// Time that a broken pod is given to come back as it was, say after a crash or on another node, while a pod of the new
/// revision does not start either, because the revision may be at fault.
const DOUBT_SECONDS: i64 = 60;

/// Gives the new revision to a pod that is broken without it.
pub(in crate::plan) fn mend_broken(_: &ValidCluster, observed: &ObservedState, leader: Leader<'_>) -> NextMove {
    let stays = |slot: &MemberSlot| !places::is_leaving(observed, leader, slot);
    settled_stateful_set(observed).and_then(|set| mend_one(observed, set, &stays, false)).unwrap_or_default()
}

/// Repairs one of the pods that `may` be recreated. `patient` means that enough time has passed, whatever this pod's
/// own history is.
pub(super) fn mend_one(
    observed: &ObservedState,
    set: &StatefulSetView,
    may: &dyn Fn(&MemberSlot) -> bool,
    patient: bool,
) -> Option<NextMove> {
    let broken = hosted_slots(observed, set).filter(|slot| is_broken(slot) && is_outdated(slot, set) && may(slot));
    // The end of the pod would wipe a claim that is being deleted.
    let slot = broken.filter(|slot| !is_doomed(slot)).max_by_key(|slot| slot.ordinal)?;
    let in_doubt = hosted_slots(observed, set).any(|slot| !is_outdated(slot, set) && is_broken(slot));
    let needed = match (in_doubt, &slot.pod) {
        (true, _) => DOUBT_SECONDS,
        (false, None) => ABSENT_SECONDS,
        (false, Some(_)) => 0,
    };
    if !patient && waited_for(slot, observed) < needed {
        return Some(NextMove::wait(rollout_operation(OperationStep::WaitForPod, Some(slot), slot.explain())));
    }
    Some(renew_pod(set, slot, format!("{}: giving it the new revision", slot.explain())))
}

/// Returns `true` if the slot runs nothing that could count for a quorum, and may not recover by itself. A pod that is
/// being deleted is not meant: nothing can be done about it, and its successor will be examined.
fn is_broken(slot: &MemberSlot) -> bool {
    match &slot.pod {
        None => true,
        Some(pod) => !pod.deleting && !pod.ready && slot.answer.is_none() && pod.trouble.is_some(),
    }
}

/// Returns the number of seconds for which the status has said that this pod is waited for. An absent pod has no
/// timestamp of its own.
fn waited_for(slot: &MemberSlot, observed: &ObservedState) -> i64 {
    let said = observed.previous.operation.as_ref().filter(|said| said.member.as_ref() == Some(&slot.name));
    said.map_or(0, |said| observed.now.as_second().saturating_sub(said.started_at.0.as_second()))
}

/// Returns `true` if the slot has, or would get, a pod of another revision than the newest.
pub(super) fn is_outdated(slot: &MemberSlot, set: &StatefulSetView) -> bool {
    match &slot.pod {
        Some(pod) => pod.revision != set.update_revision,
        None => !gets_newest(slot, set),
    }
}

/// Returns `true` if the slot's next pod gets the newest revision.
pub(super) fn gets_newest(slot: &MemberSlot, set: &StatefulSetView) -> bool {
    set.on_delete || slot.ordinal >= set.partition || set.current_revision == set.update_revision
}

/// Has the pod recreated from the newest revision. The caller has checked that this is safe.
///
/// The operator deletes the pod itself and does not lower the partition: with a lower partition the StatefulSet
/// controller would go on by itself when pods become Ready, without asking who leads by then.
pub(super) fn renew_pod(set: &StatefulSetView, slot: &MemberSlot, message: String) -> NextMove {
    let about = |step| rollout_operation(step, Some(slot), message.clone());
    match &slot.pod {
        // The setting first, and the pod at a later reconcile: deleted before the controller knows, it would come back
        // as it was.
        _ if !gets_newest(slot, set) => NextMove::take(PlanStep::RenewOnDelete, about(OperationStep::PrepareRestart)),
        Some(pod) => {
            let step = PlanStep::ReplacePod { pod: slot.name.clone(), uid: pod.uid.clone() };
            NextMove::take(step, about(OperationStep::RestartPod))
        }
        None => NextMove::wait(about(OperationStep::WaitForPod)),
    }
}

/// Returns to the rolling update once no pod waits to be recreated, so that lost pods come back as they were again. The
/// partition is above all outdated pods, so that the change itself restarts none.
pub(super) fn back_to_partition(observed: &ObservedState, set: &StatefulSetView) -> Option<NextMove> {
    if !set.on_delete || hosted_slots(observed, set).any(|slot| is_under_way(slot, set)) {
        return None;
    }
    let outdated = hosted_slots(observed, set).filter(|slot| is_outdated(slot, set));
    let above = outdated.map(|slot| slot.ordinal.saturating_add(1)).max().unwrap_or_default();
    let message = "the pods that could not start have the new revision".to_owned();
    Some(NextMove::take(PlanStep::SetPartition(above), rollout_operation(OperationStep::EndRestarts, None, message)))
}

fn is_under_way(slot: &MemberSlot, set: &StatefulSetView) -> bool {
    match &slot.pod {
        None => true,
        Some(pod) => is_outdated(slot, set) && (pod.deleting || is_broken(slot)),
    }
}
