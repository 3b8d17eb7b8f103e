//! `status`: what is reported about the cluster, computed purely from what was observed and what became of the plan;
//! [`patch_status`] writes it.

mod conditions;
mod members;
mod operation;
mod patch;
mod reason;
mod sight;

pub(crate) use members::MemberRole;
pub use operation::replacement_duration;
pub use patch::{PatchError, patch_status, patch_unreadable, stalled_status, unobserved_status};
pub use reason::ConditionReason;

use crate::{
    apply::WriteRefusal,
    cluster::ValidCluster,
    names,
    observed::{MemberSlot, ObservedState},
    plan::{Blocked, Operation},
    quorum::{self, Leader},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use quorate_crd::{ChatClusterStatus, LeaderStatus, RaftStatus, StorageStatus, condition};
use sight::ClusterVisibility;

/// Outcome of a plan.
#[derive(Clone, Debug, Default)]
pub struct PlanOutcome {
    /// Operation in progress, if any.
    pub operation: Option<Operation>,
    /// Problem that only an administrator can resolve.
    pub blocked: Option<Blocked>,
    /// Reason why the step failed, if it did.
    pub failed: Option<String>,
    /// Result of applying the objects.
    pub application: ApplyState,
}

/// Result of applying the desired objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyState {
    /// Some objects are not written yet, so it is unknown whether they will be accepted.
    Pending,
    /// All objects were tried, and these writes were refused.
    Tried(Vec<WriteRefusal>),
}

impl ApplyState {
    /// Returns the result of an application without refusals.
    #[must_use]
    pub fn done() -> Self {
        Self::Tried(Vec::new())
    }

    /// Returns the result of an application with these refusals. A transient refusal is not reported until it has
    /// lasted.
    #[must_use]
    pub fn of(refusals: &[WriteRefusal]) -> Self {
        let told: Vec<WriteRefusal> = refusals.iter().filter(|refusal| refusal.is_told()).cloned().collect();
        if told.is_empty() && !refusals.is_empty() { Self::Pending } else { Self::Tried(told) }
    }

    fn refusals(&self) -> &[WriteRefusal] {
        match self {
            Self::Pending => &[],
            Self::Tried(refusals) => refusals,
        }
    }
}

impl Default for ApplyState {
    fn default() -> Self {
        Self::done()
    }
}

/// Computes the status of a cluster.
#[must_use]
pub fn compute_status(cluster: &ValidCluster, observed: &ObservedState, outcome: &PlanOutcome) -> ChatClusterStatus {
    let outcome = &with_reasons(observed, outcome);
    let sight = sight::cluster_visibility(observed);
    // Pods that answer for a ChatCluster that was never initialized belong to a former one of the same name, and are
    // ending.
    let was_made = observed.marker.is_some() || observed.previous.cluster_id.is_some();
    let leader = quorum::find_leader(observed).filter(|_| was_made);
    let pods = observed.slots.iter().filter(|slot| slot.pod.is_some()).count();
    let ready = observed.slots.iter().filter(|slot| has_ready_pod(slot)).count();
    let operation = operation::operation_status(cluster, observed, leader, outcome);
    let conditions = conditions::cluster_conditions(cluster, observed, leader, &sight, outcome, operation.as_ref());
    ChatClusterStatus {
        // Until everything has been tried, the status is about the former generation of the spec.
        observed_generation: match outcome.application {
            ApplyState::Pending => observed.previous.observed_generation,
            ApplyState::Tried(_) => cluster.generation,
        },
        replicas: Some(count_to_i32(pods)),
        ready_replicas: Some(count_to_i32(ready)),
        ready: Some(format!("{ready}/{}", cluster.spec.replicas)),
        selector: Some(names::selector_text(&cluster.name)),
        version: oldest_version(observed),
        cluster_id: observed.marker.as_ref().map(|marker| marker.cluster_id.clone()),
        storage: storage_status(cluster, observed),
        leader: match sight {
            // Kept although not observed: an operator that has just started must not report the loss of a leader that
            // serves.
            ClusterVisibility::Brief => observed.previous.leader.clone(),
            _ => leader.map(|leader| leader_status(observed, leader)),
        },
        raft: match sight {
            // The last known figures stand while nothing contradicts them; the conditions say that they are not
            // observed.
            ClusterVisibility::Brief | ClusterVisibility::Lost(_) => observed.previous.raft.clone(),
            ClusterVisibility::Clear => {
                leader.map(|leader| raft_status(observed, leader)).or_else(|| without_leader(observed))
            }
        },
        members: members::member_statuses(observed, leader),
        operation,
        conditions,
    }
}

/// Returns `true` if the status says that everything matches the spec.
#[must_use]
pub fn is_ready(status: &ChatClusterStatus) -> bool {
    status.conditions.iter().any(|found| found.type_ == condition::READY && found.status == "True")
}

/// Appends the reasons why pods are in trouble to the operation in progress, because it waits for them.
fn with_reasons(observed: &ObservedState, outcome: &PlanOutcome) -> PlanOutcome {
    let mut outcome = outcome.clone();
    if let Some(operation) = &mut outcome.operation {
        for slot in observed.slots.iter().filter(|slot| slot.is_in_trouble()) {
            let why = slot.explain();
            if !operation.message.contains(&why) {
                operation.message = format!("{}; {why}", operation.message);
            }
        }
    }
    outcome
}

fn has_ready_pod(slot: &MemberSlot) -> bool {
    slot.pod.as_ref().is_some_and(|pod| pod.ready && !pod.deleting)
}

fn count_to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Converts a term. At one election a second, a term that does not fit would take 292 billion years.
fn term_to_i64(term: u64) -> i64 {
    i64::try_from(term).unwrap_or(i64::MAX)
}

/// Returns the oldest version among the pods that answer, so that an upgrade shows when it is over.
fn oldest_version(observed: &ObservedState) -> Option<String> {
    let versions = observed.answers().map(|(_, answer)| answer.version.clone());
    let oldest = versions.min_by_key(|version| {
        version.split(['.', '-', '+']).map(|part| part.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>()
    });
    oldest.or_else(|| observed.previous.version.clone())
}

/// Returns the size that all volumes have reached, or the previous one until they reach more.
fn storage_status(cluster: &ValidCluster, observed: &ObservedState) -> Option<StorageStatus> {
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

fn leader_status(observed: &ObservedState, leader: Leader<'_>) -> LeaderStatus {
    let node_id = leader.answer.node.id.to_string();
    let term = term_to_i64(leader.answer.term);
    let same = observed.previous.leader.as_ref().filter(|old| old.node_id == node_id && old.term == term);
    LeaderStatus {
        name: leader.slot.name.clone(),
        node_id,
        term,
        since: same.map_or(Time(whole_seconds(observed.now)), |old| old.since.clone()),
    }
}

/// Truncates a time to whole seconds. metav1 times have no fraction; with one, each status would differ from what the
/// API server keeps of it.
pub(crate) fn whole_seconds(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn raft_status(observed: &ObservedState, leader: Leader<'_>) -> RaftStatus {
    let membership = &leader.answer.membership;
    let voters = membership.voters().len();
    let healthy = quorum::healthy_voters(observed, leader);
    RaftStatus {
        term: term_to_i64(leader.answer.term),
        voters: count_to_i32(voters),
        learners: count_to_i32(membership.learners.len()),
        quorum: count_to_i32(quorum::majority(voters)),
        fault_tolerance: quorum::fault_tolerance(membership, &healthy),
    }
}

fn without_leader(observed: &ObservedState) -> Option<RaftStatus> {
    let highest = observed.answers().map(|(_, answer)| term_to_i64(answer.term)).max().unwrap_or_default();
    // Negative whatever the last figures were: without a leader the majority counts as lost.
    observed.previous.raft.clone().map(|old| RaftStatus { term: old.term.max(highest), fault_tolerance: -1, ..old })
}

#[cfg(test)]
mod tests;
