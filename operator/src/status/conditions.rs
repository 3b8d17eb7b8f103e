use super::{ApplyState, ConditionReason, PlanOutcome, operation, sight::ClusterVisibility, whole_seconds};
use crate::{
    apply::WriteRefusal,
    cluster::ValidCluster,
    observed::{MemberSlot, ObservedState},
    quorum::{self, Leader},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use quorate_crd::{OperationStatus, condition};
use std::collections::BTreeMap;

/// Truth value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConditionStatus {
    True,
    False,
    /// The state could not be observed.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Condition that has no timestamps yet.
#[derive(Clone, Debug)]
struct ConditionDraft {
    truth: ConditionStatus,
    reason: ConditionReason,
    message: String,
}

impl ConditionDraft {
    fn holds(&self) -> bool {
        self.truth == ConditionStatus::True
    }
}

fn draft_condition(
    truth: impl Into<ConditionStatus>,
    reason: ConditionReason,
    message: impl Into<String>,
) -> ConditionDraft {
    ConditionDraft { truth: truth.into(), reason, message: message.into() }
}

pub(super) fn cluster_conditions(
    cluster: &ValidCluster,
    observed: &ObservedState,
    leader: Option<Leader<'_>>,
    sight: &ClusterVisibility,
    outcome: &PlanOutcome,
    operation: Option<&OperationStatus>,
) -> Vec<Condition> {
    let storage = storage_healthy(observed, leader);
    let ready = ready_condition(cluster, observed, leader, sight, outcome, &storage);
    let stalled = stalled_condition(cluster, observed, outcome, operation, &ready);
    let reconciling = reconciling_condition(cluster, outcome, operation, &ready, &stalled);
    let findings = [
        (condition::AVAILABLE, available_condition(observed, leader, sight)),
        (condition::READY, ready),
        (condition::RECONCILING, reconciling),
        (condition::STALLED, stalled),
        (condition::STORAGE_HEALTHY, storage),
    ];
    let keeps = |kind: &str| match kind {
        // Nothing is reported about what has not been tried yet: the previous condition stands, with the generation
        // that it was about.
        condition::READY | condition::RECONCILING | condition::STALLED => {
            outcome.application == ApplyState::Pending || *sight == ClusterVisibility::Brief && !stands_apart(outcome)
        }
        condition::AVAILABLE => *sight == ClusterVisibility::Brief,
        _ => false,
    };
    let told = findings.into_iter().map(|(kind, finding)| {
        let old = observed.previous.conditions.iter().find(|old| old.type_ == kind);
        match old.filter(|_| keeps(kind)) {
            Some(old) => old.clone(),
            None => stamp_condition(cluster.generation, observed, kind, finding),
        }
    });
    told.collect()
}

/// Returns `true` if the outcome does not depend on anything that pods say.
fn stands_apart(outcome: &PlanOutcome) -> bool {
    outcome.blocked.is_some() || !outcome.application.refusals().is_empty()
}

fn available_condition(
    observed: &ObservedState,
    leader: Option<Leader<'_>>,
    sight: &ClusterVisibility,
) -> ConditionDraft {
    if let Some(leader) = leader {
        // No term in the message, because it would change at each election.
        return draft_condition(
            true,
            ConditionReason::QuorumServes,
            format!("{} is the leader and serves writes with a quorum", leader.slot.name),
        );
    }
    match (sight, &observed.marker) {
        (ClusterVisibility::Lost(why), _) => {
            draft_condition(ConditionStatus::Unknown, ConditionReason::NotObserved, why.clone())
        }
        (ClusterVisibility::Brief, _) => draft_condition(
            ConditionStatus::Unknown,
            ConditionReason::NotObserved,
            "the pods have not answered the operator yet",
        ),
        (ClusterVisibility::Clear, Some(marker)) if marker.initialized => {
            draft_condition(false, ConditionReason::NoLeader, "there is no leader with a quorum, so writes wait")
        }
        (ClusterVisibility::Clear, _) => {
            draft_condition(false, ConditionReason::NotInitialized, "the cluster has not been initialized yet")
        }
    }
}

fn ready_condition(
    cluster: &ValidCluster,
    observed: &ObservedState,
    leader: Option<Leader<'_>>,
    sight: &ClusterVisibility,
    outcome: &PlanOutcome,
    storage: &ConditionDraft,
) -> ConditionDraft {
    if let Some(blocked) = &outcome.blocked {
        return draft_condition(false, ConditionReason::Blocked(blocked.reason), blocked.message.clone());
    }
    if cluster.spec.paused {
        return draft_condition(
            false,
            ConditionReason::Paused,
            "spec.paused is true: the operator does not check whether the cluster matches the spec",
        );
    }
    if let Some(message) = refusal_message(outcome.application.refusals()) {
        return draft_condition(false, ConditionReason::ObjectRefused, message);
    }
    match sight {
        ClusterVisibility::Lost(why) => {
            return draft_condition(ConditionStatus::Unknown, ConditionReason::NotObserved, why.clone());
        }
        ClusterVisibility::Brief => {
            return draft_condition(
                ConditionStatus::Unknown,
                ConditionReason::NotObserved,
                "the pods have not answered the operator yet",
            );
        }
        ClusterVisibility::Clear => {}
    }
    if let Some(operation) = &outcome.operation {
        return draft_condition(false, ConditionReason::Operation(operation.kind), operation.message.clone());
    }
    if outcome.application == ApplyState::Pending {
        return draft_condition(false, ConditionReason::Applying, "not every object matches the spec yet");
    }
    let Some(leader) = leader else { return draft_condition(false, ConditionReason::NoLeader, "there is no leader") };
    let lacking = members_lacking(observed, leader).or_else(|| votes_lacking(cluster, observed, leader));
    if let Some(lacking) = lacking {
        return lacking;
    }
    if !storage.holds() {
        return draft_condition(false, storage.reason, storage.message.clone());
    }
    let replicas = cluster.spec.replicas;
    draft_condition(
        true,
        ConditionReason::AllMembersReady,
        with_warnings(cluster, format!("{replicas} of {replicas} members vote and are ready")),
    )
}

fn members_lacking(observed: &ObservedState, leader: Leader<'_>) -> Option<ConditionDraft> {
    let healthy = quorum::healthy_voters(observed, leader);
    let is_whole = |slot: &&MemberSlot| slot.answer.as_ref().is_some_and(|answer| healthy.contains(&answer.node.id));
    let lacking: Vec<String> = observed.slots.iter().filter(|slot| !is_whole(slot)).map(MemberSlot::explain).collect();
    (!lacking.is_empty()).then(|| draft_condition(false, ConditionReason::MembersNotReady, lacking.join("; ")))
}

/// Returns a finding if the voters are not those that the spec asks for. All pods may be healthy and the cluster still
/// tolerate fewer failures, because voters that have no pod count in every majority.
fn votes_lacking(cluster: &ValidCluster, observed: &ObservedState, leader: Leader<'_>) -> Option<ConditionDraft> {
    let membership = &leader.answer.membership;
    let wanted = usize::try_from(cluster.spec.replicas).unwrap_or_default();
    let voters = membership.voters().len();
    if membership.is_joint() {
        return Some(draft_condition(false, ConditionReason::VotersChanging, "a membership change is in progress"));
    }
    if voters != wanted {
        return Some(draft_condition(
            false,
            ConditionReason::VotersDiffer,
            format!("{voters} nodes vote, but the spec asks for {wanted}"),
        ));
    }
    let tolerance = quorum::fault_tolerance(membership, &quorum::healthy_voters(observed, leader));
    let should = (cluster.spec.replicas - 1) / 2;
    let message = || format!("the cluster tolerates {tolerance} more failures, but should tolerate {should}");
    (tolerance < should).then(|| draft_condition(false, ConditionReason::FaultToleranceLow, message()))
}

/// Appends warnings about the parts of the spec that are overruled, so that nothing written is silently ignored.
fn with_warnings(cluster: &ValidCluster, message: String) -> String {
    cluster.warnings().into_iter().fold(message, |message, warning| format!("{message}; {warning}"))
}

fn refusal_message(refusals: &[WriteRefusal]) -> Option<String> {
    if refusals.is_empty() {
        return None;
    }
    let words: Vec<&str> = refusals.iter().map(|refusal| refusal.words.as_str()).collect();
    Some(format!(
        "{}. The operator retries at least every 30 s and does everything else meanwhile; fix the spec or whatever refuses it",
        words.join("; ")
    ))
}

/// Returns the `Reconciling` condition. It never says "done" beside a cluster that is not ready: either something is in
/// progress, or an administrator is needed, or the state is unknown.
fn reconciling_condition(
    cluster: &ValidCluster,
    outcome: &PlanOutcome,
    operation: Option<&OperationStatus>,
    ready: &ConditionDraft,
    stalled: &ConditionDraft,
) -> ConditionDraft {
    if cluster.spec.paused && outcome.blocked.is_none() {
        return draft_condition(false, ConditionReason::Paused, "spec.paused is true: the operator changes nothing");
    }
    if stalled.holds() {
        return draft_condition(
            false,
            ConditionReason::Stalled,
            "waiting for an administrator: the Stalled condition says what to do",
        );
    }
    if ready.truth == ConditionStatus::Unknown {
        return ready.clone();
    }
    match (&outcome.operation, operation) {
        (Some(planned), Some(told)) => {
            draft_condition(true, ConditionReason::Operation(planned.kind), told.message.clone())
        }
        _ if ready.holds() => draft_condition(false, ConditionReason::Done, "everything matches the spec"),
        _ => ConditionDraft { truth: ConditionStatus::True, ..ready.clone() },
    }
}

fn stalled_condition(
    cluster: &ValidCluster,
    observed: &ObservedState,
    outcome: &PlanOutcome,
    operation: Option<&OperationStatus>,
    ready: &ConditionDraft,
) -> ConditionDraft {
    if let Some(blocked) = &outcome.blocked {
        return draft_condition(true, ConditionReason::Blocked(blocked.reason), blocked.message.clone());
    }
    let lasting: Vec<WriteRefusal> = outcome.application.refusals().iter().filter(|one| one.lasts).cloned().collect();
    if let Some(message) = refusal_message(&lasting) {
        return draft_condition(true, ConditionReason::ObjectRefused, message);
    }
    // Not if it is unknown: an operator that sees nothing cannot say that nothing progresses.
    if ready.truth == ConditionStatus::False
        && !cluster.spec.paused
        && let Some(since) = stalled_since(cluster, observed, operation)
    {
        let message = format!(
            "no progress for longer than spec.progressDeadline ({}), since {since}: {}",
            cluster.spec.progress_deadline, ready.message
        );
        return draft_condition(true, ConditionReason::ProgressDeadlineExceeded, message);
    }
    draft_condition(false, ConditionReason::Working, "no manual action is needed")
}

/// Returns the time of the last progress, if that is too long ago: of the operation in progress, or else the time since
/// which the cluster is not ready.
fn stalled_since(
    cluster: &ValidCluster,
    observed: &ObservedState,
    operation: Option<&OperationStatus>,
) -> Option<jiff::Timestamp> {
    if let Some(operation) = operation {
        return operation::overdue_since(cluster, observed, operation);
    }
    let ready = observed.previous.conditions.iter().find(|old| old.type_ == condition::READY)?;
    // A new generation of the spec has the whole deadline for itself.
    let same = ready.status == "False" && ready.observed_generation == Some(cluster.generation);
    let since = ready.last_transition_time.0;
    (same && operation::is_overdue(cluster, observed, since)).then_some(since)
}

fn storage_healthy(observed: &ObservedState, leader: Option<Leader<'_>>) -> ConditionDraft {
    let doomed: Vec<&str> = observed
        .slots
        .iter()
        .filter(|slot| slot.claim.as_ref().is_some_and(|claim| claim.deleting_since.is_some()))
        .map(|slot| slot.name.as_str())
        .collect();
    if !doomed.is_empty() {
        let message = format!(
            "the claims of {} are being deleted: their volumes will be wiped when those pods terminate, so do not restart them",
            doomed.join(", ")
        );
        return draft_condition(false, ConditionReason::ClaimBeingDeleted, message);
    }
    let pending = observed.slots.iter().find(|slot| slot.claim.as_ref().is_some_and(|claim| claim.resize_pending));
    if let Some(slot) = pending {
        let message = format!("the file system on the volume of {} grows when its pod next mounts it", slot.name);
        return draft_condition(false, ConditionReason::FileSystemResizePending, message);
    }
    let unbound = observed.slots.iter().find(|slot| slot.claim.as_ref().is_none_or(|claim| claim.volume.is_none()));
    if let Some(slot) = unbound {
        let why = slot.claim.as_ref().and_then(|claim| claim.trouble.as_ref());
        let why = why.map(|trouble| format!(": its claim {trouble}")).unwrap_or_default();
        return draft_condition(false, ConditionReason::VolumeMissing, format!("{} has no volume yet{why}", slot.name));
    }
    let short = |slot: &&MemberSlot| slot.answer.as_ref().is_some_and(|answer| answer.storage_short);
    let short: Vec<&str> = observed.slots.iter().filter(short).map(|slot| slot.name.as_str()).collect();
    if !short.is_empty() {
        let message = format!(
            "the volumes of {} are nearly full, and user writes are refused before they fill up: raise spec.storage.size or \
             purge history",
            short.join(", ")
        );
        return draft_condition(false, ConditionReason::VolumesNearlyFull, message);
    }
    draft_condition(
        true,
        ConditionReason::VolumesBound,
        match shared_node(observed, leader) {
            Some((node, pods)) => format!("every volume is bound; {} share node {node}", pods.join(" and ")),
            None => "every volume is bound".to_owned(),
        },
    )
}

/// Returns a node that takes more than one voter with it when it fails, and the pods on it.
fn shared_node<'a>(observed: &'a ObservedState, leader: Option<Leader<'_>>) -> Option<(&'a str, Vec<&'a str>)> {
    let voters = leader.map(|leader| leader.answer.membership.voters()).unwrap_or_default();
    let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for slot in &observed.slots {
        let is_voter = slot.answer.as_ref().is_some_and(|answer| voters.contains(&answer.node.id));
        if let Some(node) = slot.pod.as_ref().and_then(|pod| pod.node.as_deref()).filter(|_| is_voter) {
            nodes.entry(node).or_default().push(&slot.name);
        }
    }
    nodes.into_iter().find(|(_, pods)| pods.len() > 1)
}

fn stamp_condition(generation: i64, observed: &ObservedState, kind: &str, finding: ConditionDraft) -> Condition {
    let status = match finding.truth {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    // By the API conventions, lastTransitionTime changes with the status and not with reason or message.
    let old = observed.previous.conditions.iter().find(|old| old.type_ == kind && old.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.as_str().to_owned(),
        // The API server accepts no more characters.
        message: finding.message.chars().take(32_768).collect(),
        observed_generation: Some(generation),
        last_transition_time: old
            .map_or_else(|| Time(whole_seconds(observed.now)), |old| old.last_transition_time.clone()),
    }
}
