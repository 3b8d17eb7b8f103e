//! `status`: what is told about the cluster. Pure, from what was seen and what became of the plan; [`patch`] writes it.

mod conditions;
mod members;
mod patch;

pub use patch::{PatchError, patch, stalled};

use crate::{
    cluster::Cluster,
    names,
    observed::{Observed, Slot},
    plan::{Blocked, Operation},
    quorum::{self, Leader},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use quorate_crd::{ChatClusterStatus, LeaderStatus, OperationStatus, RaftStatus, StorageStatus};
use std::time::Duration;

/// What the plan came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is under way.
    pub operation: Option<Operation>,
    /// What only a person can resolve.
    pub blocked: Option<Blocked>,
    /// Why the step was not taken.
    pub failed: Option<String>,
}

/// The status of a cluster.
#[must_use]
pub fn status(cluster: &Cluster, observed: &Observed, outcome: &Outcome) -> ChatClusterStatus {
    let leader = quorum::leader(observed);
    let pods = observed.slots.iter().filter(|slot| slot.pod.is_some()).count();
    let ready = observed.slots.iter().filter(|slot| is_ready(slot)).count();
    ChatClusterStatus {
        observed_generation: cluster.generation,
        replicas: Some(count(pods)),
        ready_replicas: Some(count(ready)),
        ready: Some(format!("{ready}/{}", cluster.spec.replicas)),
        selector: Some(names::selector_text(&cluster.name)),
        version: version(observed),
        cluster_id: observed.marker.as_ref().map(|marker| marker.cluster_id.clone()),
        storage: storage(cluster, observed),
        leader: leader.map(|leader| leader_status(observed, leader)),
        raft: leader.map(|leader| raft(observed, leader)).or_else(|| without_leader(observed)),
        members: members::members(observed, leader),
        operation: outcome.operation.as_ref().map(|operation| operation_status(observed, outcome, operation)),
        conditions: conditions::conditions(cluster, observed, leader, outcome),
    }
}

fn is_ready(slot: &Slot) -> bool {
    slot.pod.as_ref().is_some_and(|pod| pod.ready && !pod.deleting)
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Node terms fit; a term that does not would take 292 million years of elections a second.
fn term(term: u64) -> i64 {
    i64::try_from(term).unwrap_or(i64::MAX)
}

/// The oldest that answers, so that an upgrade shows when it is over.
fn version(observed: &Observed) -> Option<String> {
    let versions = observed.doors().map(|(_, door)| door.version.clone());
    let oldest = versions.min_by_key(|version| {
        version.split(['.', '-', '+']).map(|part| part.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>()
    });
    oldest.or_else(|| observed.previous.version.clone())
}

/// What all volumes have reached; until they reach more, what they had.
fn storage(cluster: &Cluster, observed: &Observed) -> Option<StorageStatus> {
    let reached = !observed.slots.is_empty()
        && observed.slots.iter().all(|slot| {
            let claim = slot.claim.as_ref().and_then(|claim| claim.capacity);
            claim.is_some_and(|capacity| capacity >= cluster.storage_bytes)
        });
    if reached {
        return Some(StorageStatus { size: cluster.spec.storage.size.0.clone() });
    }
    observed.previous.storage.clone()
}

fn leader_status(observed: &Observed, leader: Leader<'_>) -> LeaderStatus {
    let node_id = leader.door.node.id.to_string();
    let term = term(leader.door.term);
    let same = observed.previous.leader.as_ref().filter(|old| old.node_id == node_id && old.term == term);
    LeaderStatus {
        name: leader.slot.name.clone(),
        node_id,
        term,
        since: same.map_or(Time(whole_seconds(observed.now)), |old| old.since.clone()),
    }
}

/// metav1 times have no fraction: with one, each status would differ from what the API server keeps of it.
pub(crate) fn whole_seconds(time: k8s_openapi::jiff::Timestamp) -> k8s_openapi::jiff::Timestamp {
    k8s_openapi::jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn raft(observed: &Observed, leader: Leader<'_>) -> RaftStatus {
    let membership = &leader.door.membership;
    let voters = membership.voters().len();
    let healthy = quorum::healthy_voters(observed, leader);
    RaftStatus {
        term: term(leader.door.term),
        voters: count(voters),
        learners: count(membership.learners.len()),
        quorum: count(quorum::majority(voters)),
        fault_tolerance: quorum::fault_tolerance(membership, &healthy),
    }
}

fn without_leader(observed: &Observed) -> Option<RaftStatus> {
    let highest = observed.doors().map(|(_, door)| term(door.term)).max().unwrap_or_default();
    observed.previous.raft.clone().map(|old| RaftStatus { term: old.term.max(highest), fault_tolerance: -1, ..old })
}

fn operation_status(observed: &Observed, outcome: &Outcome, operation: &Operation) -> OperationStatus {
    let same = observed
        .previous
        .operation
        .as_ref()
        .filter(|old| old.r#type == operation.kind && old.member == operation.member);
    let tried = same.filter(|old| old.step == operation.step);
    let attempts = tried.map_or(0, |old| old.attempts);
    // What the last try came to stands until the next one has ended: the status is written before each try, too.
    let last_words = tried.filter(|old| old.attempts > 0 && old.message.starts_with(&operation.message));
    OperationStatus {
        r#type: operation.kind.to_owned(),
        step: operation.step.to_owned(),
        member: operation.member.clone(),
        started_at: same.map_or(Time(whole_seconds(observed.now)), |old| old.started_at.clone()),
        attempts: attempts.saturating_add(i32::from(outcome.failed.is_some())),
        message: match (&outcome.failed, last_words) {
            (Some(error), _) => format!("{}; tried, and {error}", operation.message),
            (None, Some(old)) => old.message.clone(),
            (None, None) => operation.message.clone(),
        },
    }
}

/// How long a member or its volume has been being replaced.
#[must_use]
pub fn replacing(status: &ChatClusterStatus, now: Timestamp) -> Option<Duration> {
    let operation = status.operation.as_ref()?;
    let replaces = matches!(operation.r#type.as_str(), "ReplaceMember" | "ReplaceVolume");
    // A clock that was set back makes nothing last less than no time.
    replaces.then(|| Duration::try_from(now.duration_since(operation.started_at.0)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
