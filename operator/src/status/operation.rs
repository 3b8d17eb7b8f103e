//! Operation in progress, with the time at which it began and the time of its last progress.

use super::{PlanOutcome, count_to_i32, whole_seconds};
use crate::{
    cluster::ValidCluster,
    observed::{MemberSlot, ObservedState},
    plan::{Operation, OperationKind, OperationStep},
    quorum::{self, Leader},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use quorate_crd::{ChatClusterStatus, OperationStatus};
use std::time::Duration;

pub(super) fn operation_status(
    cluster: &ValidCluster,
    observed: &ObservedState,
    leader: Option<Leader<'_>>,
    outcome: &PlanOutcome,
) -> Option<OperationStatus> {
    let operation = outcome.operation.as_ref()?;
    let now = || Time(whole_seconds(observed.now));
    // Another generation of the spec starts another operation.
    let old =
        observed.previous.operation.as_ref().filter(|_| observed.previous.observed_generation == cluster.generation);
    let kind = reported_kind(operation, old);
    let same = old.filter(|old| old.r#type == kind.as_str() && (kind.is_about_all() || old.member == operation.member));
    let tried = same.filter(|old| old.step == operation.step.as_str() && old.member == operation.member);
    let attempts = tried.map_or(0, |old| old.attempts);
    // The result of the last attempt stands until the next one has ended, because the status is written before each
    // attempt, too.
    let last_words = tried.filter(|old| old.attempts > 0 && old.message.starts_with(&operation.message));
    let started_at = same.map_or_else(now, |old| old.started_at.clone());
    // The highest number so far, so that a pod that starts and crashes in turn does not count as progress each time.
    let done = done_pods(observed, leader);
    let before = same.and_then(|old| old.done_pods);
    let progressed_at = same
        .and_then(|old| old.progressed_at.clone())
        .filter(|_| before.is_some_and(|before| done <= before))
        // Not at each reconcile: a status that changes all the time is written all the time.
        .filter(|since| !(is_half_over(cluster, observed, since.0) && is_catching_up(operation, observed, leader)))
        .unwrap_or_else(now);
    Some(OperationStatus {
        r#type: kind.as_str().to_owned(),
        step: operation.step.as_str().to_owned(),
        member: operation.member.clone(),
        started_at,
        progressed_at: Some(progressed_at),
        done_pods: Some(before.map_or(done, |before| before.max(done))),
        attempts: attempts.saturating_add(i32::from(outcome.failed.is_some())),
        message: match (&outcome.failed, last_words) {
            (Some(error), _) => format!("{}; the last attempt failed: {error}", operation.message),
            (None, Some(old)) => old.message.clone(),
            (None, None) => operation.message.clone(),
        },
    })
}

/// Returns the type to report. A pod that restarts during a rollout is absent for a moment, which is part of the
/// rollout and not a recovery from it.
fn reported_kind(operation: &Operation, old: Option<&OperationStatus>) -> OperationKind {
    let rolls_out = old.is_some_and(|old| old.r#type == OperationKind::Rollout.as_str());
    match operation.kind {
        OperationKind::Recover if rolls_out => OperationKind::Rollout,
        kind => kind,
    }
}

/// Returns the number of pods that match the spec and do their part.
fn done_pods(observed: &ObservedState, leader: Option<Leader<'_>>) -> i32 {
    let revision = observed.stateful_set.as_ref().map(|set| set.update_revision.as_str());
    let healthy = leader.map(|leader| quorum::healthy_voters(observed, leader));
    let is_done = |slot: &&MemberSlot| {
        let current = slot.pod.as_ref().is_some_and(|pod| revision.is_none_or(|newest| pod.revision == newest));
        let does = slot
            .answer
            .as_ref()
            .is_some_and(|answer| healthy.as_ref().is_none_or(|healthy| healthy.contains(&answer.node.id)));
        current && does
    };
    count_to_i32(observed.slots.iter().filter(is_done).count())
}

/// Returns `true` if a learner is receiving a long log, which takes its time: while the leader hears of the learner,
/// there is progress.
fn is_catching_up(operation: &Operation, observed: &ObservedState, leader: Option<Leader<'_>>) -> bool {
    const HEARD: Duration = Duration::from_secs(5);
    let slot = observed.slots.iter().find(|slot| Some(&slot.name) == operation.member.as_ref());
    let id = slot.and_then(|slot| slot.answer.as_ref()).map(|answer| answer.node.id);
    let progress = leader.zip(id).and_then(|(leader, id)| leader.answer.progress.get(&id));
    operation.step == OperationStep::CatchUp
        && progress.is_some_and(|progress| progress.matched > 0 && progress.contact.is_some_and(|age| age < HEARD))
}

/// Returns the time of the operation's last progress, if that is longer ago than the spec allows.
pub(super) fn overdue_since(
    cluster: &ValidCluster,
    observed: &ObservedState,
    operation: &OperationStatus,
) -> Option<Timestamp> {
    let since = operation.progressed_at.as_ref().unwrap_or(&operation.started_at).0;
    is_overdue(cluster, observed, since).then_some(since)
}

pub(super) fn is_overdue(cluster: &ValidCluster, observed: &ObservedState, since: Timestamp) -> bool {
    elapsed_since(observed, since) > cluster.times.progress_deadline
}

fn is_half_over(cluster: &ValidCluster, observed: &ObservedState, since: Timestamp) -> bool {
    elapsed_since(observed, since) > cluster.times.progress_deadline / 2
}

/// Returns the time since `since`, or zero if the clock was set back.
fn elapsed_since(observed: &ObservedState, since: Timestamp) -> Duration {
    Duration::try_from(observed.now.duration_since(since)).unwrap_or_default()
}

/// Returns how long the replacement of a member or its volume has been in progress, or `None` if there is none.
#[must_use]
pub fn replacement_duration(status: &ChatClusterStatus, now: Timestamp) -> Option<Duration> {
    let operation = status.operation.as_ref()?;
    let replaces = [OperationKind::ReplaceMember, OperationKind::ReplaceVolume]
        .map(OperationKind::as_str)
        .contains(&operation.r#type.as_str());
    replaces.then(|| Duration::try_from(now.duration_since(operation.started_at.0)).unwrap_or_default())
}
