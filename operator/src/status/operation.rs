//! What is under way, with when it began and when it last came on.

use super::{Outcome, count, whole_seconds};
use crate::{
    cluster::Cluster,
    observed::{Observed, Slot},
    plan::Operation,
    quorum::{self, Leader},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use quorate_crd::{ChatClusterStatus, OperationStatus};
use std::time::Duration;

pub(super) fn status(
    cluster: &Cluster,
    observed: &Observed,
    leader: Option<Leader<'_>>,
    outcome: &Outcome,
) -> Option<OperationStatus> {
    let operation = outcome.operation.as_ref()?;
    let now = || Time(whole_seconds(observed.now));
    // Another spec is another beginning.
    let old =
        observed.previous.operation.as_ref().filter(|_| observed.previous.observed_generation == cluster.generation);
    let kind = kind(operation, old);
    let same = old.filter(|old| old.r#type == kind && (is_about_all(kind) || old.member == operation.member));
    let tried = same.filter(|old| old.step == operation.step && old.member == operation.member);
    let attempts = tried.map_or(0, |old| old.attempts);
    // What the last try came to stands until the next one has ended: the status is written before each try, too.
    let last_words = tried.filter(|old| old.attempts > 0 && old.message.starts_with(&operation.message));
    let started_at = same.map_or_else(now, |old| old.started_at.clone());
    // The most so far, so that a pod that comes up and crashes in turn does not count as progress each time.
    let done = done_pods(observed, leader);
    let before = same.and_then(|old| old.done_pods);
    let progressed_at = same
        .and_then(|old| old.progressed_at.clone())
        .filter(|_| before.is_some_and(|before| done <= before))
        // Not at each look: a status that changes all the time is written all the time.
        .filter(|since| !(is_half_over(cluster, observed, since.0) && is_catching_up(operation, observed, leader)))
        .unwrap_or_else(now);
    Some(OperationStatus {
        r#type: kind.to_owned(),
        step: operation.step.to_owned(),
        member: operation.member.clone(),
        started_at,
        progressed_at: Some(progressed_at),
        done_pods: Some(before.map_or(done, |before| before.max(done))),
        attempts: attempts.saturating_add(i32::from(outcome.failed.is_some())),
        message: match (&outcome.failed, last_words) {
            (Some(error), _) => format!("{}; tried, and {error}", operation.message),
            (None, Some(old)) => old.message.clone(),
            (None, None) => operation.message.clone(),
        },
    })
}

/// A pod that restarts is missed for a moment, in each rollout: that is part of the rollout and no recovery from it.
fn kind(operation: &Operation, old: Option<&OperationStatus>) -> &'static str {
    match (operation.kind, old.map(|old| old.r#type.as_str())) {
        ("Recover", Some("Rollout")) => "Rollout",
        (kind, _) => kind,
    }
}

/// It goes from pod to pod; the others are about one.
fn is_about_all(kind: &str) -> bool {
    matches!(kind, "Rollout" | "Recover" | "Initialize" | "GrowVolumes")
}

/// Pods that are as the spec says and do their part.
fn done_pods(observed: &Observed, leader: Option<Leader<'_>>) -> i32 {
    let revision = observed.stateful_set.as_ref().map(|set| set.update_revision.as_str());
    let healthy = leader.map(|leader| quorum::healthy_voters(observed, leader));
    let is_done = |slot: &&Slot| {
        let current = slot.pod.as_ref().is_some_and(|pod| revision.is_none_or(|newest| pod.revision == newest));
        let does = slot
            .door
            .as_ref()
            .is_some_and(|door| healthy.as_ref().is_none_or(|healthy| healthy.contains(&door.node.id)));
        current && does
    };
    count(observed.slots.iter().filter(is_done).count())
}

/// A long log takes its time: as long as the leader hears of the learner, it comes on.
fn is_catching_up(operation: &Operation, observed: &Observed, leader: Option<Leader<'_>>) -> bool {
    const HEARD: Duration = Duration::from_secs(5);
    let slot = observed.slots.iter().find(|slot| Some(&slot.name) == operation.member.as_ref());
    let id = slot.and_then(|slot| slot.door.as_ref()).map(|door| door.node.id);
    let progress = leader.zip(id).and_then(|(leader, id)| leader.door.progress.get(&id));
    operation.step == "CatchUp"
        && progress.is_some_and(|progress| progress.matched > 0 && progress.contact.is_some_and(|age| age < HEARD))
}

/// Since when what is under way has not come nearer to its end, if that is longer than the spec allows.
pub(super) fn overdue(cluster: &Cluster, observed: &Observed, operation: &OperationStatus) -> Option<Timestamp> {
    let since = operation.progressed_at.as_ref().unwrap_or(&operation.started_at).0;
    is_overdue(cluster, observed, since).then_some(since)
}

pub(super) fn is_overdue(cluster: &Cluster, observed: &Observed, since: Timestamp) -> bool {
    lasted(observed, since) > cluster.times.progress_deadline
}

fn is_half_over(cluster: &Cluster, observed: &Observed, since: Timestamp) -> bool {
    lasted(observed, since) > cluster.times.progress_deadline / 2
}

/// A clock that was set back makes nothing last less than no time.
fn lasted(observed: &Observed, since: Timestamp) -> Duration {
    Duration::try_from(observed.now.duration_since(since)).unwrap_or_default()
}

/// How long a member or its volume has been being replaced.
#[must_use]
pub fn replacing(status: &ChatClusterStatus, now: Timestamp) -> Option<Duration> {
    let operation = status.operation.as_ref()?;
    let replaces = matches!(operation.r#type.as_str(), "ReplaceMember" | "ReplaceVolume");
    replaces.then(|| Duration::try_from(now.duration_since(operation.started_at.0)).unwrap_or_default())
}
