//! Making the cluster, exactly once.
//!
//! A cluster is made only if *all* pods answer that their volumes are empty and no claim is stamped with a cluster. The
//! marker is written first, and created, not applied: of two operators one fails. From the moment that any pod has been
//! seen to belong to the cluster, the marker says so and no cluster is ever made again under this name, whatever
//! becomes of the status, the volumes or the ChatCluster.

use super::{Blocked, Move, Operation, Step};
use crate::{
    cluster::Cluster,
    names,
    observed::{Door, Marker, Node, Observed, Slot},
};
use std::collections::BTreeSet;

const KIND: &str = "Initialize";

/// Without an initialised marker: make the cluster, or adopt the one that is there.
pub(super) fn plan(cluster: &Cluster, observed: &Observed) -> Result<Move, Blocked> {
    if let Some(found) = existing_cluster(observed)? {
        return adopt(cluster, observed, found);
    }
    if let Some(waiting) = waits_for_pods(observed) {
        return Ok(waiting);
    }
    refuse_stamped_claims(observed)?;
    Ok(match &observed.marker {
        None => create_marker(cluster, observed),
        Some(marker) => initialize(cluster, observed, marker),
    })
}

/// The one cluster that pods say they belong to.
fn existing_cluster(observed: &Observed) -> Result<Option<String>, Blocked> {
    let ids: BTreeSet<&String> = observed.doors().filter_map(|(_, door)| door.cluster_id.as_ref()).collect();
    match (ids.len(), ids.first()) {
        (0 | 1, first) => Ok(first.map(|id| (*id).clone())),
        _ => Err(Blocked {
            reason: "MixedClusters",
            message: format!(
                "the volumes hold data of different clusters ({}): keep the claims of one and move the others away",
                ids.into_iter().cloned().collect::<Vec<_>>().join(", ")
            ),
        }),
    }
}

/// The pods know better than a marker that is lost or late.
fn adopt(cluster: &Cluster, observed: &Observed, found: String) -> Result<Move, Blocked> {
    let about = operation("RecordCluster", None, format!("recording that cluster {found} exists"));
    match &observed.marker {
        None => {
            let marker = Marker {
                cluster_id: found,
                server_name: cluster.spec.server_name.clone(),
                initialized: true,
                voters: BTreeSet::new(),
                resource_version: None,
            };
            Ok(Move::take(Step::CreateMarker(marker), about))
        }
        Some(marker) if marker.cluster_id == found => {
            Ok(Move::take(Step::UpdateMarker(Marker { initialized: true, ..marker.clone() }), about))
        }
        Some(marker) => Err(foreign(&found, &marker.cluster_id, "its volumes")),
    }
}

fn waits_for_pods(observed: &Observed) -> Option<Move> {
    let silent: Vec<String> = observed.slots.iter().filter(|slot| slot.door.is_none()).map(explain).collect();
    if silent.is_empty() {
        return None;
    }
    let message = format!("waiting for all pods to answer before a cluster is made: {}", silent.join("; "));
    Some(Move::wait(operation("WaitForPods", None, message)))
}

/// What keeps a pod from answering, in words.
pub(super) fn explain(slot: &Slot) -> String {
    let why = match &slot.pod {
        None => "is not there yet",
        Some(pod) if pod.deleting => "is being deleted",
        Some(pod) => pod.trouble.as_deref().unwrap_or(match pod.address {
            None => "has no address yet",
            Some(_) => "does not answer on its admin port yet",
        }),
    };
    format!("{} {why}", slot.name)
}

fn refuse_stamped_claims(observed: &Observed) -> Result<(), Blocked> {
    let stamped = observed.slots.iter().find_map(|slot| {
        let claim = slot.claim.as_ref()?;
        claim.cluster_id.as_ref().map(|id| (claim, id))
    });
    match stamped {
        None => Ok(()),
        Some((claim, id)) => Err(Blocked {
            reason: "DataLost",
            message: format!(
                "claim {} is marked as holding cluster {id}, but all volumes are empty: restore the volumes, or, if the data may be forgotten, remove the annotation {} from the claims and a new cluster is made",
                claim.name,
                quorate_crd::annotation::CLUSTER_ID
            ),
        }),
    }
}

fn create_marker(cluster: &Cluster, observed: &Observed) -> Move {
    let marker = fresh_marker(cluster, observed, None);
    let about =
        operation("WriteMarker", None, format!("all volumes are empty: choosing cluster id {}", marker.cluster_id));
    Move::take(Step::CreateMarker(marker), about)
}

fn fresh_marker(cluster: &Cluster, observed: &Observed, resource_version: Option<String>) -> Marker {
    Marker {
        cluster_id: observed.fresh_cluster_id.clone(),
        server_name: cluster.spec.server_name.clone(),
        initialized: false,
        voters: observed.doors().map(|(_, door)| door.node.id).collect(),
        resource_version,
    }
}

fn initialize(cluster: &Cluster, observed: &Observed, marker: &Marker) -> Move {
    let voters: Vec<Node> = observed.doors().map(|(_, door)| door.node.clone()).collect();
    let ids: BTreeSet<_> = voters.iter().map(|node| node.id).collect();
    if ids != marker.voters || marker.server_name != cluster.spec.server_name {
        // A volume was replaced before anything was made. With a fresh id, so that an order that is still under way for
        // the former one meets nobody.
        let marker = fresh_marker(cluster, observed, marker.resource_version.clone());
        let about =
            operation("WriteMarker", None, "the volumes changed before the cluster was made: choosing anew".into());
        return Move::take(Step::UpdateMarker(marker), about);
    }
    // Always the same pod for the same voters, so that two operators ask the same one.
    let Some(slot) = observed.slots.first() else { return Move::default() };
    let about = operation("Initialize", Some(slot.name.clone()), format!("making cluster {}", marker.cluster_id));
    Move::take(Step::Initialize { pod: slot.name.clone(), cluster_id: marker.cluster_id.clone(), voters }, about)
}

/// A pod of another cluster under an existing one: nothing is done until it is gone.
pub(super) fn refuse_strangers(observed: &Observed, marker: &Marker) -> Result<(), Blocked> {
    let stranger = |door: &Door| door.cluster_id.clone().filter(|id| *id != marker.cluster_id);
    match observed.doors().find_map(|(slot, door)| stranger(door).map(|id| (slot, id))) {
        None => Ok(()),
        Some((slot, id)) => Err(foreign(&id, &marker.cluster_id, &format!("the volume of pod {}", slot.name))),
    }
}

fn foreign(found: &str, expected: &str, whose: &str) -> Blocked {
    Blocked {
        reason: "ForeignVolume",
        message: format!(
            "{whose} holds data of cluster {found}, not of {expected}: move that claim away; an empty volume is joined again by itself"
        ),
    }
}

/// All answer, and none remembers: making a cluster now would hide the loss.
pub(super) fn refuse_data_loss(cluster: &Cluster, observed: &Observed, marker: &Marker) -> Result<(), Blocked> {
    let all_answer = observed.slots.iter().all(|slot| slot.door.is_some());
    let none_remembers = observed.doors().all(|(_, door)| door.cluster_id.is_none());
    if !(all_answer && none_remembers) {
        return Ok(());
    }
    Err(Blocked {
        reason: "DataLost",
        message: format!(
            "all volumes of cluster {} are empty: restore them from a backup, or, if the data may be forgotten, delete ConfigMap {} and a new cluster is made",
            marker.cluster_id,
            names::marker(&cluster.name)
        ),
    })
}

fn operation(step: &'static str, member: Option<String>, message: String) -> Operation {
    Operation { kind: KIND, step, member, message }
}
