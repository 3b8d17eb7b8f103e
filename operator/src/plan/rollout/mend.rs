//! Repair of pods that cannot start as they are. They get the new revision first, whatever their ordinal, because they
//! count for no quorum and everything else would wait for them.
//!
//! The partition cannot say "this low ordinal and no higher one". While a repair lasts, the StatefulSet is therefore
//! told to restart nothing and to create new pods from the new revision (`OnDelete`), and the broken pod is deleted.

use super::{hosted, is_doomed, operation, settled};
use crate::{
    cluster::Cluster,
    observed::{Observed, Slot, StatefulSetView},
    plan::{Move, OperationStep, Step, places},
    quorum::Leader,
};

/// Time after which an absent pod counts as one that cannot be created. A missing pod is usually created within a
/// second; one that is missing for this long is refused as it is, by a quota or a webhook.
const ABSENT_SECONDS: i64 = 30;

/// Time that a broken pod is given to come back as it was, say after a crash or on another node, while a pod of the new
/// revision does not start either, because the revision may be at fault.
const DOUBT_SECONDS: i64 = 60;

/// Gives the new revision to a pod that is broken without it.
pub(in crate::plan) fn mend(_: &Cluster, observed: &Observed, leader: Leader<'_>) -> Move {
    let stays = |slot: &Slot| !places::is_leaving(observed, leader, slot);
    settled(observed).and_then(|set| mend_one(observed, set, &stays, false)).unwrap_or_default()
}

/// Repairs one of the pods that `may` be recreated. `patient` means that enough time has passed, whatever this pod's
/// own history is.
pub(super) fn mend_one(
    observed: &Observed,
    set: &StatefulSetView,
    may: &dyn Fn(&Slot) -> bool,
    patient: bool,
) -> Option<Move> {
    let broken = hosted(observed, set).filter(|slot| is_broken(slot) && is_outdated(slot, set) && may(slot));
    // The end of the pod would wipe a claim that is being deleted.
    let slot = broken.filter(|slot| !is_doomed(slot)).max_by_key(|slot| slot.ordinal)?;
    let in_doubt = hosted(observed, set).any(|slot| !is_outdated(slot, set) && is_broken(slot));
    let needed = match (in_doubt, &slot.pod) {
        (true, _) => DOUBT_SECONDS,
        (false, None) => ABSENT_SECONDS,
        (false, Some(_)) => 0,
    };
    if !patient && waited_for(slot, observed) < needed {
        return Some(Move::wait(operation(OperationStep::WaitForPod, Some(slot), slot.explain())));
    }
    Some(renew(set, slot, format!("{}: giving it the new revision", slot.explain())))
}

/// Returns `true` if the slot runs nothing that could count for a quorum, and may not recover by itself. A pod that is
/// being deleted is not meant: nothing can be done about it, and its successor will be examined.
fn is_broken(slot: &Slot) -> bool {
    match &slot.pod {
        None => true,
        Some(pod) => !pod.deleting && !pod.ready && slot.door.is_none() && pod.trouble.is_some(),
    }
}

/// Returns the number of seconds for which the status has said that this pod is waited for. An absent pod has no
/// timestamp of its own.
fn waited_for(slot: &Slot, observed: &Observed) -> i64 {
    let said = observed.previous.operation.as_ref().filter(|said| said.member.as_ref() == Some(&slot.name));
    said.map_or(0, |said| observed.now.as_second().saturating_sub(said.started_at.0.as_second()))
}

/// Returns `true` if the slot has, or would get, a pod of another revision than the newest.
pub(super) fn is_outdated(slot: &Slot, set: &StatefulSetView) -> bool {
    match &slot.pod {
        Some(pod) => pod.revision != set.update_revision,
        None => !gets_newest(slot, set),
    }
}

/// Returns `true` if the slot's next pod gets the newest revision.
pub(super) fn gets_newest(slot: &Slot, set: &StatefulSetView) -> bool {
    set.on_delete || slot.ordinal >= set.partition || set.current_revision == set.update_revision
}

/// Has the pod recreated from the newest revision. The caller has checked that this is safe.
///
/// The operator deletes the pod itself and does not lower the partition: with a lower partition the StatefulSet
/// controller would go on by itself when pods become Ready, without asking who leads by then.
pub(super) fn renew(set: &StatefulSetView, slot: &Slot, message: String) -> Move {
    let about = |step| operation(step, Some(slot), message.clone());
    match &slot.pod {
        _ if !gets_newest(slot, set) => Move::take(Step::RenewOnDelete, about(OperationStep::PrepareRestart)),
        Some(pod) => {
            let step = Step::ReplacePod { pod: slot.name.clone(), uid: pod.uid.clone() };
            Move::take(step, about(OperationStep::RestartPod))
        }
        None => Move::wait(about(OperationStep::WaitForPod)),
    }
}

/// Returns to the rolling update once no pod waits to be recreated, so that lost pods come back as they were again. The
/// partition is above all outdated pods, so that the change itself restarts none.
pub(super) fn back_to_partition(observed: &Observed, set: &StatefulSetView) -> Option<Move> {
    if !set.on_delete || hosted(observed, set).any(|slot| is_under_way(slot, set)) {
        return None;
    }
    let outdated = hosted(observed, set).filter(|slot| is_outdated(slot, set));
    let above = outdated.map(|slot| slot.ordinal.saturating_add(1)).max().unwrap_or_default();
    let message = "the pods that could not start have the new revision".to_owned();
    Some(Move::take(Step::SetPartition(above), operation(OperationStep::EndRestarts, None, message)))
}

fn is_under_way(slot: &Slot, set: &StatefulSetView) -> bool {
    match &slot.pod {
        None => true,
        Some(pod) => is_outdated(slot, set) && (pod.deleting || is_broken(slot)),
    }
}
