//! Rolling a new revision out: one pod at a time, from the highest ordinal down, the leader's place moved first.
//!
//! The StatefulSet controller does not know what a quorum is: it deletes the next pod when the last one is Ready, or even
//! while another is not. So the partition rests at `replicas`, and is lowered by one ordinal when that is safe.

use super::{Move, Operation, Step};
use crate::{
    cluster::Cluster,
    observed::{NodeId, Observed, Slot, StatefulSetView},
    quorum::{self, Leader},
};
use std::collections::BTreeSet;

const KIND: &str = "Rollout";

/// With a leader: lower the partition when all others can spare the pod.
pub(super) fn plan(cluster: &Cluster, observed: &Observed, leader: Leader<'_>) -> Move {
    let Some(set) = observed.stateful_set.as_ref().filter(|set| set.settled) else {
        let message = "waiting for the StatefulSet controller to see the change".to_owned();
        return Move::wait(operation("WaitForStatefulSet", None, message));
    };
    let Some(target) = highest_outdated(observed, set) else { return rest(cluster, set) };
    if target.ordinal >= set.partition {
        return Move::wait(operation("WaitForPod", Some(target), format!("waiting for {} to restart", target.name)));
    }
    if target.claim.as_ref().is_some_and(|claim| claim.deleting_since.is_some()) {
        let message = format!("{} must not be restarted while its claim is being deleted", target.name);
        return Move::wait(operation("WaitForVolume", Some(target), message));
    }
    let healthy = quorum::healthy_voters(observed, leader);
    let is_healthy = |slot: &Slot| slot.door.as_ref().is_some_and(|door| healthy.contains(&door.node.id));
    if let Some(slot) = observed.slots.iter().find(|slot| slot.ordinal != target.ordinal && !is_healthy(slot)) {
        let message = format!("waiting for {} to be healthy before {} is restarted", slot.name, target.name);
        return Move::wait(operation("WaitForOthers", Some(slot), message));
    }
    let gone: BTreeSet<NodeId> = target.door.iter().map(|door| door.node.id).collect();
    let single = cluster.spec.replicas == 1;
    if !single && !quorum::survives(&leader.door.membership, &healthy, &gone) {
        let message = format!("restarting {} now would lose the quorum", target.name);
        return Move::wait(operation("WaitForQuorum", Some(target), message));
    }
    if !single && leader.slot.ordinal == target.ordinal {
        return move_leadership(observed, leader, target, set);
    }
    let about = operation("RestartPod", Some(target), format!("restarting {} with the new revision", target.name));
    Move::take(Step::SetPartition(target.ordinal), about)
}

fn highest_outdated<'a>(observed: &'a Observed, set: &StatefulSetView) -> Option<&'a Slot> {
    let outdated = |slot: &&Slot| slot.pod.as_ref().is_some_and(|pod| pod.revision != set.update_revision);
    observed.slots.iter().filter(outdated).max_by_key(|slot| slot.ordinal)
}

/// To a pod that has its restart behind it, so that leadership moves once; else to any other.
fn move_leadership(observed: &Observed, leader: Leader<'_>, from: &Slot, set: &StatefulSetView) -> Move {
    let done = |slot: &Slot| slot.pod.as_ref().is_some_and(|pod| pod.revision == set.update_revision);
    let voters = leader.door.membership.voters();
    let candidates = observed.slots.iter().filter(|slot| slot.ordinal != from.ordinal);
    let best = candidates
        .filter_map(|slot| slot.door.as_ref().map(|door| (slot, door.node.id)))
        .filter(|(_, id)| voters.contains(id))
        .min_by_key(|(slot, _)| (!done(slot), slot.ordinal));
    let Some((to, id)) = best else { return Move::default() };
    let message = format!("moving leadership from {} to {} before the restart", from.name, to.name);
    let step = Step::TransferLeader { leader: leader.slot.name.clone(), to: id };
    Move::take(step, operation("TransferLeader", Some(from), message))
}

/// All pods have the revision: back to rest, where a lost pod comes back as it was.
fn rest(cluster: &Cluster, set: &StatefulSetView) -> Move {
    let replicas = cluster.spec.replicas;
    if set.partition >= replicas {
        return Move::default();
    }
    if set.current_revision != set.update_revision {
        // Raised too early, the controller would count the old revision as current and bring lost pods back with it.
        let message = "waiting for the StatefulSet controller to take the revision for current".into();
        return Move::wait(operation("Complete", None, message));
    }
    Move::take(Step::SetPartition(replicas), operation("Complete", None, "all pods have the new revision".into()))
}

/// Before there is a cluster nothing can be lost: let all pods have the newest revision.
pub(super) fn before_initialisation(_: &Cluster, observed: &Observed) -> Move {
    let Some(set) = observed.stateful_set.as_ref().filter(|set| set.settled && set.partition > 0) else {
        return Move::default();
    };
    if highest_outdated(observed, set).is_none() {
        return Move::default();
    }
    let message = "no cluster has been made yet: giving all pods the new revision".into();
    Move::take(Step::SetPartition(0), operation("RestartPod", None, message))
}

/// Without a leader: wait for one. Only a pod that cannot start as it is may be given the new revision, because it
/// contributes nothing to a quorum that way.
pub(super) fn without_leader(_: &Cluster, observed: &Observed) -> Move {
    let set = observed.stateful_set.as_ref().filter(|set| set.settled);
    if let Some((set, slot)) = set.and_then(|set| highest_outdated(observed, set).map(|slot| (set, slot)))
        && slot.ordinal < set.partition
        && slot.door.is_none()
        && slot.pod.as_ref().is_some_and(|pod| !pod.ready && pod.trouble.is_some())
    {
        let message = format!("there is no leader and {}: giving it the new revision", slot.explain());
        return Move::take(Step::SetPartition(slot.ordinal), operation("RestartPod", Some(slot), message));
    }
    let silent: Vec<String> = observed.slots.iter().filter(|slot| slot.door.is_none()).map(Slot::explain).collect();
    let message = match silent.is_empty() {
        true => "all pods answer, no leader is elected yet".to_owned(),
        false => format!("no leader: {}", silent.join("; ")),
    };
    Move::wait(Operation { kind: "Recover", step: "WaitForLeader", member: None, message })
}

/// The new template is about to be applied: from now on the cluster is not as the spec says.
pub(super) fn begins() -> Operation {
    operation("ApplyTemplate", None, "the spec has changed what pods are made from".to_owned())
}

fn operation(step: &'static str, slot: Option<&Slot>, message: String) -> Operation {
    Operation { kind: KIND, step, member: slot.map(|slot| slot.name.clone()), message }
}
