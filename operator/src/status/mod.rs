//! `status`: what is told about the cluster. Pure, from what was seen and what became of the plan; [`patch`] writes it.

mod conditions;
mod members;
mod operation;
mod patch;
mod sight;

pub use operation::replacing;
pub use patch::{PatchError, patch, patch_unreadable, stalled, unobserved};

use crate::{
    apply::Refusal,
    cluster::Cluster,
    names,
    observed::{Observed, Slot},
    plan::{Blocked, Operation},
    quorum::{self, Leader},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use quorate_crd::{ChatClusterStatus, LeaderStatus, RaftStatus, StorageStatus, condition};
use sight::Sight;

/// What the plan came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is under way.
    pub operation: Option<Operation>,
    /// What only a person can resolve.
    pub blocked: Option<Blocked>,
    /// Why the step was not taken.
    pub failed: Option<String>,
    /// What became of the objects.
    pub application: Application,
}

/// What became of the objects that are to be as the spec says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Application {
    /// Not all are written yet: whether they will be taken is not known.
    Pending,
    /// All were tried; these were not taken.
    Tried(Vec<Refusal>),
}

impl Application {
    /// All are as they should be.
    #[must_use]
    pub fn done() -> Self {
        Self::Tried(Vec::new())
    }

    /// With what was refused; what passes by itself is no news until it has not passed.
    #[must_use]
    pub fn of(refusals: &[Refusal]) -> Self {
        let told: Vec<Refusal> = refusals.iter().filter(|refusal| refusal.is_told()).cloned().collect();
        if told.is_empty() && !refusals.is_empty() { Self::Pending } else { Self::Tried(told) }
    }

    fn refusals(&self) -> &[Refusal] {
        match self {
            Self::Pending => &[],
            Self::Tried(refusals) => refusals,
        }
    }
}

impl Default for Application {
    fn default() -> Self {
        Self::done()
    }
}

/// The status of a cluster.
#[must_use]
pub fn status(cluster: &Cluster, observed: &Observed, outcome: &Outcome) -> ChatClusterStatus {
    let outcome = &with_reasons(observed, outcome);
    let sight = sight::of(observed);
    // Pods that answer for a ChatCluster that was never made are those of a former one of its name, which are ending.
    let was_made = observed.marker.is_some() || observed.previous.cluster_id.is_some();
    let leader = quorum::leader(observed).filter(|_| was_made);
    let pods = observed.slots.iter().filter(|slot| slot.pod.is_some()).count();
    let ready = observed.slots.iter().filter(|slot| has_ready_pod(slot)).count();
    let operation = operation::status(cluster, observed, leader, outcome);
    let conditions = conditions::conditions(cluster, observed, leader, &sight, outcome, operation.as_ref());
    ChatClusterStatus {
        // Until everything is tried, what is told about the spec is about the former one.
        observed_generation: match outcome.application {
            Application::Pending => observed.previous.observed_generation,
            Application::Tried(_) => cluster.generation,
        },
        replicas: Some(count(pods)),
        ready_replicas: Some(count(ready)),
        ready: Some(format!("{ready}/{}", cluster.spec.replicas)),
        selector: Some(names::selector_text(&cluster.name)),
        version: version(observed),
        cluster_id: observed.marker.as_ref().map(|marker| marker.cluster_id.clone()),
        storage: storage(cluster, observed),
        leader: match sight {
            Sight::Brief => observed.previous.leader.clone(),
            _ => leader.map(|leader| leader_status(observed, leader)),
        },
        raft: match sight {
            Sight::Brief | Sight::Lost(_) => observed.previous.raft.clone(),
            Sight::Clear => leader.map(|leader| raft(observed, leader)).or_else(|| without_leader(observed)),
        },
        members: members::members(observed, leader),
        operation,
        conditions,
    }
}

/// Whether it says that all is as the spec says.
#[must_use]
pub fn is_ready(status: &ChatClusterStatus) -> bool {
    status.conditions.iter().any(|found| found.type_ == condition::READY && found.status == "True")
}

/// The reasons why pods do not do what is waited for belong to whatever is waited for.
fn with_reasons(observed: &Observed, outcome: &Outcome) -> Outcome {
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

fn has_ready_pod(slot: &Slot) -> bool {
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

#[cfg(test)]
mod tests;
