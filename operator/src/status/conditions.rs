use super::{Outcome, whole_seconds};
use crate::{
    cluster::Cluster,
    observed::{Observed, Slot},
    quorum::{self, Leader},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use quorate_crd::condition;
use std::collections::BTreeMap;

/// A condition before it has times.
struct Finding {
    holds: bool,
    reason: &'static str,
    message: String,
}

fn finding(holds: bool, reason: &'static str, message: impl Into<String>) -> Finding {
    Finding { holds, reason, message: message.into() }
}

pub(super) fn conditions(
    cluster: &Cluster,
    observed: &Observed,
    leader: Option<Leader<'_>>,
    outcome: &Outcome,
) -> Vec<Condition> {
    let storage = storage_healthy(observed, leader);
    let findings = [
        (condition::AVAILABLE, available(observed, leader)),
        (condition::READY, ready(cluster, observed, leader, outcome, &storage)),
        (condition::RECONCILING, reconciling(cluster, outcome)),
        (condition::STALLED, stalled(outcome)),
        (condition::STORAGE_HEALTHY, storage),
    ];
    findings.into_iter().map(|(kind, finding)| stamp(cluster.generation, observed, kind, finding)).collect()
}

fn available(observed: &Observed, leader: Option<Leader<'_>>) -> Finding {
    if let Some(leader) = leader {
        // No term in the message: it would be written anew at each election.
        return finding(true, "QuorumServes", format!("{} leads and a quorum serves writes", leader.slot.name));
    }
    match &observed.marker {
        Some(marker) if marker.initialized => finding(false, "NoLeader", "no leader with a quorum: writes wait"),
        _ => finding(false, "NotInitialized", "the cluster has not been made yet"),
    }
}

fn ready(
    cluster: &Cluster,
    observed: &Observed,
    leader: Option<Leader<'_>>,
    outcome: &Outcome,
    storage: &Finding,
) -> Finding {
    if let Some(blocked) = &outcome.blocked {
        return finding(false, blocked.reason, blocked.message.clone());
    }
    if cluster.spec.paused {
        return finding(false, "Paused", "spec.paused is true: whether all is as specified is not looked at");
    }
    if let Some(operation) = &outcome.operation {
        return finding(false, operation.kind, operation.message.clone());
    }
    let Some(leader) = leader else { return finding(false, "NoLeader", "there is no leader") };
    let healthy = quorum::healthy_voters(observed, leader);
    let is_whole = |slot: &&Slot| slot.door.as_ref().is_some_and(|door| healthy.contains(&door.node.id));
    let lacking: Vec<String> = observed.slots.iter().filter(|slot| !is_whole(slot)).map(Slot::explain).collect();
    if !lacking.is_empty() {
        return finding(false, "MembersNotReady", lacking.join("; "));
    }
    if !storage.holds {
        return finding(false, storage.reason, storage.message.clone());
    }
    let replicas = cluster.spec.replicas;
    finding(true, "AllMembersReady", format!("{replicas} of {replicas} members vote and are ready"))
}

fn reconciling(cluster: &Cluster, outcome: &Outcome) -> Finding {
    match &outcome.operation {
        _ if cluster.spec.paused => finding(false, "Paused", "spec.paused is true: nothing is changed"),
        Some(operation) => finding(true, operation.kind, operation.message.clone()),
        None if outcome.blocked.is_some() => finding(false, "Stalled", "nothing goes on until a person has helped"),
        None => finding(false, "Done", "everything is as the spec says"),
    }
}

fn stalled(outcome: &Outcome) -> Finding {
    match &outcome.blocked {
        Some(blocked) => finding(true, blocked.reason, blocked.message.clone()),
        None => finding(false, "Working", "nothing needs a person"),
    }
}

fn storage_healthy(observed: &Observed, leader: Option<Leader<'_>>) -> Finding {
    let voters = leader.map(|leader| leader.door.membership.voters()).unwrap_or_default();
    let doomed: Vec<&str> = observed
        .slots
        .iter()
        .filter(|slot| slot.claim.as_ref().is_some_and(|claim| claim.deleting_since.is_some()))
        .map(|slot| slot.name.as_str())
        .collect();
    if !doomed.is_empty() {
        let message = format!(
            "the claims of {} are being deleted: their volumes are wiped when those pods end; do not restart them",
            doomed.join(", ")
        );
        return finding(false, "ClaimBeingDeleted", message);
    }
    let pending = observed.slots.iter().find(|slot| slot.claim.as_ref().is_some_and(|claim| claim.resize_pending));
    if let Some(slot) = pending {
        let message = format!("the volume of {} grows when its pod mounts it", slot.name);
        return finding(false, "FileSystemResizePending", message);
    }
    let unbound = observed.slots.iter().find(|slot| slot.claim.as_ref().is_none_or(|claim| claim.volume.is_none()));
    if let Some(slot) = unbound {
        return finding(false, "VolumeMissing", format!("{} has no volume yet", slot.name));
    }
    let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for slot in &observed.slots {
        let is_voter = slot.door.as_ref().is_some_and(|door| voters.contains(&door.node.id));
        if let Some(node) = slot.pod.as_ref().and_then(|pod| pod.node.as_deref()).filter(|_| is_voter) {
            nodes.entry(node).or_default().push(&slot.name);
        }
    }
    let shared = nodes.iter().find(|(_, pods)| pods.len() > 1);
    finding(
        true,
        "VolumesBound",
        match shared {
            Some((node, pods)) => format!("every volume is there; {} share node {node}", pods.join(" and ")),
            None => "every volume is there".to_owned(),
        },
    )
}

fn stamp(generation: i64, observed: &Observed, kind: &str, finding: Finding) -> Condition {
    let status = if finding.holds { "True" } else { "False" };
    let old = observed.previous.conditions.iter().find(|old| old.type_ == kind && old.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.to_owned(),
        // The API server takes no more.
        message: finding.message.chars().take(32_768).collect(),
        observed_generation: Some(generation),
        last_transition_time: old
            .map_or_else(|| Time(whole_seconds(observed.now)), |old| old.last_transition_time.clone()),
    }
}
