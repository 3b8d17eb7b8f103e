//! Initialization of the cluster, exactly once.
//!
//! A cluster is initialized only if *all* pods answer that their volumes are empty and no claim is annotated with a
//! cluster id. The marker is written first, and created rather than applied, so that of two operators one fails. Once
//! any pod has been seen to belong to the cluster, the marker says so and no cluster is ever initialized again under
//! this name, whatever becomes of the status, the volumes or the ChatCluster.

use super::{Blocked, BlockedReason, NextMove, Operation, OperationKind, OperationStep, PlanStep};
use crate::{
    cluster::ValidCluster,
    names,
    observed::{AdminStatus, ClaimView, ClusterMarker, MemberSlot, NodeId, ObservedState, RaftMembership, RaftNode},
    quorum::majority,
};
use std::collections::BTreeSet;

const KIND: OperationKind = OperationKind::Initialize;

/// Initializes the cluster, or adopts the one that is there, while the marker does not say that it is initialized.
pub(super) fn bootstrap_cluster(cluster: &ValidCluster, observed: &ObservedState) -> Result<NextMove, Blocked> {
    let named = named_cluster(observed)?;
    if let Some(found) = named.as_ref().filter(|_| observed.answers().any(|(_, answer)| answer.membership.is_made())) {
        return adopt_cluster(cluster, observed, found.clone());
    }
    if let Some(waiting) = waits_for_pods(observed) {
        return Ok(waiting);
    }
    refuse_stamped_claims(observed, named.as_ref())?;
    match (&observed.marker, named) {
        (Some(marker), Some(found)) if marker.cluster_id != found => {
            Err(foreign_volume(&found, &marker.cluster_id, "one of the volumes"))
        }
        (Some(marker), named) => Ok(initialize_cluster(cluster, observed, marker, named)),
        (None, named) => Ok(create_marker(cluster, observed, named)),
    }
}

/// Returns the one cluster id that pods report. A pod takes the id before it has members, so a crash between the two
/// leaves an id without a cluster; the request to initialize it is then repeated.
fn named_cluster(observed: &ObservedState) -> Result<Option<String>, Blocked> {
    let ids: BTreeSet<&String> = observed.answers().filter_map(|(_, answer)| answer.cluster_id.as_ref()).collect();
    match (ids.len(), ids.first()) {
        (0 | 1, first) => Ok(first.map(|id| (*id).clone())),
        _ => Err(Blocked {
            reason: BlockedReason::MixedClusters,
            message: format!(
                "the volumes hold data of different clusters ({}): keep the claims of one and move the others away",
                ids.into_iter().cloned().collect::<Vec<_>>().join(", ")
            ),
        }),
    }
}

/// Adopts the cluster that the pods report, because they know better than a marker that is lost or late.
fn adopt_cluster(cluster: &ValidCluster, observed: &ObservedState, found: String) -> Result<NextMove, Blocked> {
    let about =
        bootstrap_operation(OperationStep::RecordCluster, None, format!("recording that cluster {found} exists"));
    match &observed.marker {
        None => {
            let marker = ClusterMarker {
                cluster_id: found,
                server_name: cluster.spec.server_name.clone(),
                initialized: true,
                // Only an initialization needs them.
                voters: BTreeSet::new(),
                resource_version: None,
            };
            Ok(NextMove::take(PlanStep::CreateMarker(marker), about))
        }
        Some(marker) if marker.cluster_id == found => {
            Ok(NextMove::take(PlanStep::UpdateMarker(ClusterMarker { initialized: true, ..marker.clone() }), about))
        }
        Some(marker) => Err(foreign_volume(&found, &marker.cluster_id, "one of the volumes")),
    }
}

fn waits_for_pods(observed: &ObservedState) -> Option<NextMove> {
    let silent: Vec<String> =
        observed.slots.iter().filter(|slot| slot.answer.is_none()).map(MemberSlot::explain).collect();
    if silent.is_empty() {
        return None;
    }
    let message = format!("waiting for all pods to answer before the cluster is initialized: {}", silent.join("; "));
    Some(NextMove::wait(bootstrap_operation(OperationStep::WaitForPods, None, message)))
}

fn refuse_stamped_claims(observed: &ObservedState, named: Option<&String>) -> Result<(), Blocked> {
    let stamped = observed.all_slots().find_map(|slot| {
        let claim = slot.claim.as_ref()?;
        claim.cluster_id.as_ref().filter(|id| Some(*id) != named).map(|id| (claim, id))
    });
    match stamped {
        None => Ok(()),
        Some((claim, id)) => Err(Blocked {
            reason: BlockedReason::DataLost,
            message: format!(
                "claim {} is annotated as holding data of cluster {id}, but all volumes are empty: restore the volumes or, if the data is expendable, remove the annotation {} from the claims to initialize a new cluster",
                claim.name,
                quorate_crd::annotation::CLUSTER_ID
            ),
        }),
    }
}

fn create_marker(cluster: &ValidCluster, observed: &ObservedState, named: Option<String>) -> NextMove {
    let marker = new_marker(cluster, observed, named, None);
    let message = format!("all volumes are empty: choosing cluster id {}", marker.cluster_id);
    NextMove::take(PlanStep::CreateMarker(marker), bootstrap_operation(OperationStep::WriteMarker, None, message))
}

/// Returns a marker with a fresh id, so that a request that is still in flight for a former marker reaches nobody. If a
/// pod has already taken an id, that id is kept, because the pod would refuse another.
fn new_marker(
    cluster: &ValidCluster,
    observed: &ObservedState,
    named: Option<String>,
    resource_version: Option<String>,
) -> ClusterMarker {
    ClusterMarker {
        cluster_id: named.unwrap_or_else(|| observed.fresh_cluster_id.clone()),
        server_name: cluster.spec.server_name.clone(),
        initialized: false,
        voters: first_voters(observed).map(|node| node.id).collect(),
        resource_version,
    }
}

/// Returns the nodes that answer from the slots of the spec.
fn first_voters(observed: &ObservedState) -> impl Iterator<Item = &RaftNode> {
    observed.slots.iter().filter_map(|slot| slot.answer.as_ref()).map(|answer| &answer.node)
}

fn initialize_cluster(
    cluster: &ValidCluster,
    observed: &ObservedState,
    marker: &ClusterMarker,
    named: Option<String>,
) -> NextMove {
    let voters: Vec<RaftNode> = first_voters(observed).cloned().collect();
    let ids: BTreeSet<_> = voters.iter().map(|node| node.id).collect();
    // A volume that was replaced has another node id: a first membership with the old one would count a voter that
    // never comes.
    if ids != marker.voters || marker.server_name != cluster.spec.server_name {
        let marker = new_marker(cluster, observed, named, marker.resource_version.clone());
        let message = "the volumes changed before the cluster was initialized: rewriting the marker".to_owned();
        return NextMove::take(
            PlanStep::UpdateMarker(marker),
            bootstrap_operation(OperationStep::WriteMarker, None, message),
        );
    }
    // The pod that was asked before, or else always the same one, so that two operators ask the same pod.
    let asked = observed.answers().find(|(_, answer)| answer.cluster_id.is_some()).map(|(slot, _)| slot);
    let Some(slot) = asked.or(observed.slots.first()) else { return NextMove::default() };
    let about = bootstrap_operation(
        OperationStep::Initialize,
        Some(slot.name.clone()),
        format!("initializing cluster {}", marker.cluster_id),
    );
    NextMove::take(
        PlanStep::Initialize { pod: slot.name.clone(), cluster_id: marker.cluster_id.clone(), voters },
        about,
    )
}

/// Blocks while a pod of the initialized cluster holds data of another one: nothing is done until it is gone.
pub(super) fn refuse_strangers(observed: &ObservedState, marker: &ClusterMarker) -> Result<(), Blocked> {
    let stranger = |answer: &AdminStatus| answer.cluster_id.clone().filter(|id| *id != marker.cluster_id);
    match observed.answers().find_map(|(slot, answer)| stranger(answer).map(|id| (slot, id))) {
        None => Ok(()),
        Some((slot, id)) => Err(foreign_volume(&id, &marker.cluster_id, &format!("the volume of pod {}", slot.name))),
    }
}

fn foreign_volume(found: &str, expected: &str, whose: &str) -> Blocked {
    Blocked {
        reason: BlockedReason::ForeignVolume,
        message: format!(
            "{whose} holds data of cluster {found}, not of {expected}: move that claim away; a pod with an empty volume then joins by itself"
        ),
    }
}

/// Blocks if all pods answer and none remembers the cluster, because initializing one would hide the loss.
pub(super) fn refuse_data_loss(
    cluster: &ValidCluster,
    observed: &ObservedState,
    marker: &ClusterMarker,
) -> Result<(), Blocked> {
    // One that does not answer may be the one that remembers.
    let all_answer = observed.slots.iter().all(|slot| slot.answer.is_some());
    let none_remembers = observed.answers().all(|(_, answer)| answer.cluster_id.is_none());
    if !(all_answer && none_remembers) {
        return Ok(());
    }
    Err(Blocked {
        reason: BlockedReason::DataLost,
        message: format!(
            "all volumes of cluster {} are empty: restore them from a backup or, if the data is expendable, delete ConfigMap {} to initialize a new cluster",
            marker.cluster_id,
            names::marker_name(&cluster.name)
        ),
    })
}

/// Blocks if a majority of the voters has no volume left: no leader will ever be elected, and no plan brings the
/// volumes back.
pub(super) fn refuse_lost_majority(observed: &ObservedState, marker: &ClusterMarker) -> Result<(), Blocked> {
    let Some(membership) = observed.newest_membership() else { return Ok(()) };
    let lost = |id: &NodeId| observed.slot_of(*id).is_none() && !may_come_back(observed, marker, membership, *id);
    let all_lost: Vec<NodeId> = membership.voters().into_iter().filter(lost).collect();
    let lives = |set: &BTreeSet<NodeId>| set.iter().filter(|id| !all_lost.contains(id)).count() >= majority(set.len());
    if membership.voter_sets.iter().all(lives) {
        return Ok(());
    }
    let voters = membership.voters().len();
    let names = all_lost.iter().map(|id| match membership.name(*id) {
        Some(name) if !name.is_empty() => format!("{name} (node {id})"),
        _ => format!("node {id}"),
    });
    Err(Blocked {
        reason: BlockedReason::QuorumLost,
        message: format!(
            "{} of the {voters} voters of cluster {} have lost their volumes, and a majority is {}: {}. Restore their volumes as claims {}; until then no leader can be elected and the operator does nothing more",
            all_lost.len(),
            marker.cluster_id,
            majority(voters),
            names.collect::<Vec<_>>().join(", "),
            claims_of(observed, membership, &all_lost),
        ),
    })
}

/// Returns `true` if the volume of the node may still exist: a claim is annotated with the node, or the claim of its
/// pod is not known to hold another node's data.
fn may_come_back(observed: &ObservedState, marker: &ClusterMarker, membership: &RaftMembership, id: NodeId) -> bool {
    let keeps = |claim: &ClaimView| claim.cluster_id.as_ref().is_none_or(|cluster| *cluster == marker.cluster_id);
    observed.all_slots().filter_map(|slot| Some((slot, slot.claim.as_ref()?))).filter(|(_, claim)| keeps(claim)).any(
        |(slot, claim)| match (claim.node_id, &slot.answer) {
            // Its pod answers as another node, so the volume is not the one that is missing.
            (_, Some(_)) => false,
            (Some(stamped), None) => stamped == id,
            (None, None) => membership.name(id) == Some(slot.name.as_str()),
        },
    )
}

fn claims_of(observed: &ObservedState, membership: &RaftMembership, nodes: &[NodeId]) -> String {
    let prefix = format!("{}-", names::DATA);
    let named = nodes.iter().filter_map(|id| membership.name(*id)).filter(|name| !name.is_empty());
    let claims: Vec<String> = named.map(|name| format!("{prefix}{name}")).collect();
    if claims.is_empty() {
        format!("{prefix}{}", observed.slots.first().map(|slot| slot.name.as_str()).unwrap_or_default())
    } else {
        claims.join(", ")
    }
}

fn bootstrap_operation(step: OperationStep, member: Option<String>, message: String) -> Operation {
    Operation { kind: KIND, step, member, message }
}
