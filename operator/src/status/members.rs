use crate::{
    observed::{Door, Membership, NodeId, Observed, Role, Slot},
    quorum::Leader,
};
use quorate_crd::MemberStatus;
use std::collections::BTreeMap;

/// Returns one entry for each node of the membership, and one for each pod that answers without being a member.
pub(super) fn members(observed: &Observed, leader: Option<Leader<'_>>) -> Vec<MemberStatus> {
    let membership = leader.map(|leader| &leader.door.membership).or_else(|| newest_membership(observed));
    let mut members: BTreeMap<(String, NodeId), MemberStatus> = BTreeMap::new();
    if let Some(membership) = membership {
        for id in membership.voters().into_iter().chain(membership.learners.iter().copied()) {
            let slot = observed.slot_of(id);
            let name =
                slot.map_or_else(|| membership.name(id).unwrap_or_default().to_owned(), |slot| slot.name.clone());
            let voter = membership.voters().contains(&id);
            members.insert((name.clone(), id), member(id, name, slot, voter, leader));
        }
    }
    for (slot, door) in observed.doors() {
        let id = door.node.id;
        members.entry((slot.name.clone(), id)).or_insert_with(|| MemberStatus {
            role: "joining".into(),
            ..member(id, slot.name.clone(), Some(slot), false, leader)
        });
    }
    members.into_values().collect()
}

/// Returns the membership known to the pod with the highest term, which is better than nothing while there is no
/// leader.
fn newest_membership(observed: &Observed) -> Option<&Membership> {
    let known = observed.doors().filter(|(_, door)| !door.membership.voter_sets.is_empty());
    known.max_by_key(|(_, door)| door.term).map(|(_, door)| &door.membership)
}

fn member(id: NodeId, pod: String, slot: Option<&Slot>, voter: bool, leader: Option<Leader<'_>>) -> MemberStatus {
    let door = slot.and_then(|slot| slot.door.as_ref());
    let seen = slot.and_then(|slot| slot.pod.as_ref());
    MemberStatus {
        node_id: id.to_string(),
        pod,
        pod_uid: seen.map(|pod| pod.uid.clone()),
        role: role(id, door, voter, leader).to_owned(),
        voter,
        ready: seen.is_some_and(|pod| pod.ready && !pod.deleting),
        version: door.map(|door| door.version.clone()),
        volume: slot.and_then(|slot| slot.claim.as_ref()?.volume.clone()),
    }
}

fn role(id: NodeId, door: Option<&Door>, voter: bool, leader: Option<Leader<'_>>) -> &'static str {
    match door {
        None => "unreachable",
        _ if leader.is_some_and(|leader| leader.door.node.id == id) => "leader",
        Some(_) if !voter => "learner",
        Some(door) if door.role == Role::Candidate => "candidate",
        Some(_) => "follower",
    }
}
