//! Rollout without a leader. Nobody can write in that state, so a restart interrupts nothing: after some patience every
//! pod gets the new revision. Before the cluster is initialized, every pod gets it at once.

use super::{
    back_to_partition, hosted_slots, is_doomed, is_outdated, mend::mend_one, renew_pod, rollout_operation,
    settled_stateful_set,
};
use crate::{
    cluster::ValidCluster,
    observed::{MemberSlot, ObservedState, StatefulSetView},
    plan::{NextMove, Operation, OperationKind, OperationStep},
};
use quorate_crd::condition;

/// Time without a leader after which waiting is pointless. A leader is elected within a second once a majority is
/// there, and a pod that was drained is back on another node within a minute.
const PATIENCE_SECONDS: i64 = 60;

/// Gives all pods the newest revision before the cluster is initialized, when nothing can be lost.
///
/// The operator deletes the pods itself: no pod is Ready before there is a cluster, and the StatefulSet controller goes
/// on to the next pod only when the last one is.
pub(in crate::plan) fn before_initialisation(_: &ValidCluster, observed: &ObservedState) -> NextMove {
    let Some(set) = settled_stateful_set(observed) else { return NextMove::default() };
    renew_all(observed, set, "the cluster is not initialized yet").unwrap_or_default()
}

/// Helps pods that cannot start, then waits for a leader, then gives up waiting. Called while there is no leader.
pub(in crate::plan) fn without_leader(_: &ValidCluster, observed: &ObservedState) -> NextMove {
    let Some(set) = settled_stateful_set(observed) else { return NextMove::wait(wait_for_leader(observed)) };
    let patient = leaderless_for(observed) >= PATIENCE_SECONDS;
    if let Some(mended) = mend_one(observed, set, &|_| true, patient) {
        return mended;
    }
    // Before any pod is renewed that is not broken: pods that are Ready may be serving, and only the operator is cut
    // off.
    if let Some(unseen) = hosted_slots(observed, set).find(|slot| is_unseen(slot)) {
        let message = format!(
            "{} is ready but does not answer the operator on its peer port: does a NetworkPolicy block the operator?",
            unseen.name
        );
        return NextMove::wait(recovery_operation(OperationStep::WaitForPod, Some(unseen), message));
    }
    if patient && let Some(renewed) = renew_in_turn(observed, set) {
        return renewed;
    }
    back_to_partition(observed, set).unwrap_or_else(|| NextMove::wait(wait_for_leader(observed)))
}

/// Returns `true` if the pod may well be serving, even leading, and only the operator cannot see it.
fn is_unseen(slot: &MemberSlot) -> bool {
    slot.answer.is_none() && slot.pod.as_ref().is_some_and(|pod| pod.ready && !pod.deleting)
}

/// Returns the number of seconds for which the status has said that there is no leader.
fn leaderless_for(observed: &ObservedState) -> i64 {
    // The status outlives this process: a restarted operator does not begin to wait again.
    let said = observed.previous.conditions.iter().find(|said| said.type_ == condition::AVAILABLE);
    let since = said.filter(|said| said.status != "True").map(|said| said.last_transition_time.0.as_second());
    since.map_or(0, |since| observed.now.as_second().saturating_sub(since))
}

/// Renews outdated pods one after the other: the first that starts may be what a leader needs, and then the rest is
/// restarted in order.
fn renew_in_turn(observed: &ObservedState, set: &StatefulSetView) -> Option<NextMove> {
    let starting = |slot: &&MemberSlot| {
        !is_outdated(slot, set)
            && slot.answer.is_none()
            && slot.pod.as_ref().is_some_and(|pod| !pod.deleting && pod.trouble.is_none())
    };
    match hosted_slots(observed, set).find(starting) {
        Some(slot) => Some(NextMove::wait(recovery_operation(
            OperationStep::WaitForPod,
            Some(slot),
            format!("no leader: {}", slot.explain()),
        ))),
        None => renew_all(observed, set, "there is no leader, so nothing is interrupted"),
    }
}

fn renew_all(observed: &ObservedState, set: &StatefulSetView, why: &str) -> Option<NextMove> {
    let can_end = |slot: &&MemberSlot| slot.pod.as_ref().is_none_or(|pod| !pod.deleting) && !is_doomed(slot);
    let outdated = hosted_slots(observed, set).filter(|slot| is_outdated(slot, set));
    let slot = outdated.filter(can_end).max_by_key(|slot| slot.ordinal)?;
    let message = format!("{why}: giving {} the new revision", slot.name);
    Some(renew_pod(set, slot, message))
}

fn wait_for_leader(observed: &ObservedState) -> Operation {
    let silent: Vec<String> =
        observed.all_slots().filter(|slot| slot.answer.is_none()).map(MemberSlot::explain).collect();
    let message = if silent.is_empty() {
        "all pods answer, but no leader is elected yet".to_owned()
    } else {
        format!("no leader: {}", silent.join("; "))
    };
    recovery_operation(OperationStep::WaitForLeader, None, message)
}

fn recovery_operation(step: OperationStep, slot: Option<&MemberSlot>, message: String) -> Operation {
    Operation { kind: OperationKind::Recover, ..rollout_operation(step, slot, message) }
}
