use super::{Application, Outcome, operation, sight::Sight, whole_seconds};
use crate::{
    apply::Refusal,
    cluster::Cluster,
    observed::{Observed, Slot},
    quorum::{self, Leader},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use quorate_crd::{OperationStatus, condition};
use std::collections::BTreeMap;

/// Truth value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    True,
    False,
    /// The state could not be observed.
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Condition that has no timestamps yet.
#[derive(Clone, Debug)]
struct Finding {
    truth: Truth,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn holds(&self) -> bool {
        self.truth == Truth::True
    }
}

fn finding(truth: impl Into<Truth>, reason: &'static str, message: impl Into<String>) -> Finding {
    Finding { truth: truth.into(), reason, message: message.into() }
}

pub(super) fn conditions(
    cluster: &Cluster,
    observed: &Observed,
    leader: Option<Leader<'_>>,
    sight: &Sight,
    outcome: &Outcome,
    operation: Option<&OperationStatus>,
) -> Vec<Condition> {
    let storage = storage_healthy(observed, leader);
    let ready = ready(cluster, observed, leader, sight, outcome, &storage);
    let stalled = stalled(cluster, observed, outcome, operation, &ready);
    let reconciling = reconciling(cluster, outcome, operation, &ready, &stalled);
    let findings = [
        (condition::AVAILABLE, available(observed, leader, sight)),
        (condition::READY, ready),
        (condition::RECONCILING, reconciling),
        (condition::STALLED, stalled),
        (condition::STORAGE_HEALTHY, storage),
    ];
    let keeps = |kind: &str| match kind {
        // Nothing is reported about what has not been tried yet: the previous condition stands, with the generation
        // that it was about.
        condition::READY | condition::RECONCILING | condition::STALLED => {
            outcome.application == Application::Pending || *sight == Sight::Brief && !stands_apart(outcome)
        }
        condition::AVAILABLE => *sight == Sight::Brief,
        _ => false,
    };
    let told = findings.into_iter().map(|(kind, finding)| {
        let old = observed.previous.conditions.iter().find(|old| old.type_ == kind);
        match old.filter(|_| keeps(kind)) {
            Some(old) => old.clone(),
            None => stamp(cluster.generation, observed, kind, finding),
        }
    });
    told.collect()
}

/// Returns `true` if the outcome does not depend on anything that pods say.
fn stands_apart(outcome: &Outcome) -> bool {
    outcome.blocked.is_some() || !outcome.application.refusals().is_empty()
}

fn available(observed: &Observed, leader: Option<Leader<'_>>, sight: &Sight) -> Finding {
    if let Some(leader) = leader {
        // No term in the message, because it would change at each election.
        return finding(
            true,
            "QuorumServes",
            format!("{} is the leader and serves writes with a quorum", leader.slot.name),
        );
    }
    match (sight, &observed.marker) {
        (Sight::Lost(why), _) => finding(Truth::Unknown, "NotObserved", why.clone()),
        (Sight::Brief, _) => finding(Truth::Unknown, "NotObserved", "the pods have not answered the operator yet"),
        (Sight::Clear, Some(marker)) if marker.initialized => {
            finding(false, "NoLeader", "there is no leader with a quorum, so writes wait")
        }
        (Sight::Clear, _) => finding(false, "NotInitialized", "the cluster has not been initialized yet"),
    }
}

fn ready(
    cluster: &Cluster,
    observed: &Observed,
    leader: Option<Leader<'_>>,
    sight: &Sight,
    outcome: &Outcome,
    storage: &Finding,
) -> Finding {
    if let Some(blocked) = &outcome.blocked {
        return finding(false, blocked.reason.as_str(), blocked.message.clone());
    }
    if cluster.spec.paused {
        return finding(
            false,
            "Paused",
            "spec.paused is true: the operator does not check whether the cluster matches the spec",
        );
    }
    if let Some(message) = refused(outcome.application.refusals()) {
        return finding(false, "ObjectRefused", message);
    }
    match sight {
        Sight::Lost(why) => return finding(Truth::Unknown, "NotObserved", why.clone()),
        Sight::Brief => return finding(Truth::Unknown, "NotObserved", "the pods have not answered the operator yet"),
        Sight::Clear => {}
    }
    if let Some(operation) = &outcome.operation {
        return finding(false, operation.kind.as_str(), operation.message.clone());
    }
    if outcome.application == Application::Pending {
        return finding(false, "Applying", "not every object matches the spec yet");
    }
    let Some(leader) = leader else { return finding(false, "NoLeader", "there is no leader") };
    let lacking = members_lacking(observed, leader).or_else(|| votes_lacking(cluster, observed, leader));
    if let Some(lacking) = lacking {
        return lacking;
    }
    if !storage.holds() {
        return finding(false, storage.reason, storage.message.clone());
    }
    let replicas = cluster.spec.replicas;
    finding(
        true,
        "AllMembersReady",
        with_warnings(cluster, format!("{replicas} of {replicas} members vote and are ready")),
    )
}

fn members_lacking(observed: &Observed, leader: Leader<'_>) -> Option<Finding> {
    let healthy = quorum::healthy_voters(observed, leader);
    let is_whole = |slot: &&Slot| slot.door.as_ref().is_some_and(|door| healthy.contains(&door.node.id));
    let lacking: Vec<String> = observed.slots.iter().filter(|slot| !is_whole(slot)).map(Slot::explain).collect();
    (!lacking.is_empty()).then(|| finding(false, "MembersNotReady", lacking.join("; ")))
}

/// Returns a finding if the voters are not those that the spec asks for. All pods may be healthy and the cluster still
/// tolerate fewer failures, because voters that have no pod count in every majority.
fn votes_lacking(cluster: &Cluster, observed: &Observed, leader: Leader<'_>) -> Option<Finding> {
    let membership = &leader.door.membership;
    let wanted = usize::try_from(cluster.spec.replicas).unwrap_or_default();
    let voters = membership.voters().len();
    if membership.is_joint() {
        return Some(finding(false, "VotersChanging", "a membership change is in progress"));
    }
    if voters != wanted {
        return Some(finding(false, "VotersDiffer", format!("{voters} nodes vote, but the spec asks for {wanted}")));
    }
    let tolerance = quorum::fault_tolerance(membership, &quorum::healthy_voters(observed, leader));
    let should = (cluster.spec.replicas - 1) / 2;
    let message = || format!("the cluster tolerates {tolerance} more failures, but should tolerate {should}");
    (tolerance < should).then(|| finding(false, "FaultToleranceLow", message()))
}

/// Appends warnings about the parts of the spec that are overruled, so that nothing written is silently ignored.
fn with_warnings(cluster: &Cluster, message: String) -> String {
    cluster.warnings().into_iter().fold(message, |message, warning| format!("{message}; {warning}"))
}

fn refused(refusals: &[Refusal]) -> Option<String> {
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
fn reconciling(
    cluster: &Cluster,
    outcome: &Outcome,
    operation: Option<&OperationStatus>,
    ready: &Finding,
    stalled: &Finding,
) -> Finding {
    if cluster.spec.paused && outcome.blocked.is_none() {
        return finding(false, "Paused", "spec.paused is true: the operator changes nothing");
    }
    if stalled.holds() {
        return finding(false, "Stalled", "waiting for an administrator: the Stalled condition says what to do");
    }
    if ready.truth == Truth::Unknown {
        return ready.clone();
    }
    match (&outcome.operation, operation) {
        (Some(planned), Some(told)) => finding(true, planned.kind.as_str(), told.message.clone()),
        _ if ready.holds() => finding(false, "Done", "everything matches the spec"),
        _ => Finding { truth: Truth::True, ..ready.clone() },
    }
}

fn stalled(
    cluster: &Cluster,
    observed: &Observed,
    outcome: &Outcome,
    operation: Option<&OperationStatus>,
    ready: &Finding,
) -> Finding {
    if let Some(blocked) = &outcome.blocked {
        return finding(true, blocked.reason.as_str(), blocked.message.clone());
    }
    let lasting: Vec<Refusal> = outcome.application.refusals().iter().filter(|one| one.lasts).cloned().collect();
    if let Some(message) = refused(&lasting) {
        return finding(true, "ObjectRefused", message);
    }
    if ready.truth == Truth::False
        && !cluster.spec.paused
        && let Some(since) = overdue(cluster, observed, operation)
    {
        let message = format!(
            "no progress for longer than spec.progressDeadline ({}), since {since}: {}",
            cluster.spec.progress_deadline, ready.message
        );
        return finding(true, "ProgressDeadlineExceeded", message);
    }
    finding(false, "Working", "no manual action is needed")
}

/// Returns the time of the last progress, if that is too long ago: of the operation in progress, or else the time since
/// which the cluster is not ready.
fn overdue(
    cluster: &Cluster,
    observed: &Observed,
    operation: Option<&OperationStatus>,
) -> Option<k8s_openapi::jiff::Timestamp> {
    if let Some(operation) = operation {
        return operation::overdue(cluster, observed, operation);
    }
    let ready = observed.previous.conditions.iter().find(|old| old.type_ == condition::READY)?;
    let same = ready.status == "False" && ready.observed_generation == Some(cluster.generation);
    let since = ready.last_transition_time.0;
    (same && operation::is_overdue(cluster, observed, since)).then_some(since)
}

fn storage_healthy(observed: &Observed, leader: Option<Leader<'_>>) -> Finding {
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
        return finding(false, "ClaimBeingDeleted", message);
    }
    let pending = observed.slots.iter().find(|slot| slot.claim.as_ref().is_some_and(|claim| claim.resize_pending));
    if let Some(slot) = pending {
        let message = format!("the file system on the volume of {} grows when its pod next mounts it", slot.name);
        return finding(false, "FileSystemResizePending", message);
    }
    let unbound = observed.slots.iter().find(|slot| slot.claim.as_ref().is_none_or(|claim| claim.volume.is_none()));
    if let Some(slot) = unbound {
        let why = slot.claim.as_ref().and_then(|claim| claim.trouble.as_ref());
        let why = why.map(|trouble| format!(": its claim {trouble}")).unwrap_or_default();
        return finding(false, "VolumeMissing", format!("{} has no volume yet{why}", slot.name));
    }
    let short = |slot: &&Slot| slot.door.as_ref().is_some_and(|door| door.storage_short);
    let short: Vec<&str> = observed.slots.iter().filter(short).map(|slot| slot.name.as_str()).collect();
    if !short.is_empty() {
        let message = format!(
            "the volumes of {} are nearly full, and user writes are refused before they fill up: raise spec.storage.size or \
             purge history",
            short.join(", ")
        );
        return finding(false, "VolumesNearlyFull", message);
    }
    finding(
        true,
        "VolumesBound",
        match shared_node(observed, leader) {
            Some((node, pods)) => format!("every volume is bound; {} share node {node}", pods.join(" and ")),
            None => "every volume is bound".to_owned(),
        },
    )
}

/// Returns a node that takes more than one voter with it when it fails, and the pods on it.
fn shared_node<'a>(observed: &'a Observed, leader: Option<Leader<'_>>) -> Option<(&'a str, Vec<&'a str>)> {
    let voters = leader.map(|leader| leader.door.membership.voters()).unwrap_or_default();
    let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for slot in &observed.slots {
        let is_voter = slot.door.as_ref().is_some_and(|door| voters.contains(&door.node.id));
        if let Some(node) = slot.pod.as_ref().and_then(|pod| pod.node.as_deref()).filter(|_| is_voter) {
            nodes.entry(node).or_default().push(&slot.name);
        }
    }
    nodes.into_iter().find(|(_, pods)| pods.len() > 1)
}

fn stamp(generation: i64, observed: &Observed, kind: &str, finding: Finding) -> Condition {
    let status = match finding.truth {
        Truth::True => "True",
        Truth::False => "False",
        Truth::Unknown => "Unknown",
    };
    let old = observed.previous.conditions.iter().find(|old| old.type_ == kind && old.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.to_owned(),
        // The API server accepts no more characters.
        message: finding.message.chars().take(32_768).collect(),
        observed_generation: Some(generation),
        last_transition_time: old
            .map_or_else(|| Time(whole_seconds(observed.now)), |old| old.last_transition_time.clone()),
    }
}
