use crate::{
    observed::{AdminStatus, MemberSlot, NodeId, ObservedState, RaftMembership, RaftRole},
    quorum::Leader,
};
use quorate_crd::MemberStatus;
use std::collections::BTreeMap;

/// Raft role or state of a member, as the status reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberRole {
    /// The member leads.
    Leader,
    /// The member has a vote and follows.
    Follower,
    /// The member has a vote and stands for election.
    Candidate,
    /// The member has no vote.
    Learner,
    /// No pod answers for the member.
    Unreachable,
    /// The pod answers and is no member yet.
    Joining,
}

impl MemberRole {
    /// Returns the role as it stands in the status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Unreachable => "unreachable",
            Self::Joining => "joining",
        }
    }
}

/// Returns one entry for each node of the membership, and one for each pod that answers without being a member.
pub(super) fn member_statuses(observed: &ObservedState, leader: Option<Leader<'_>>) -> Vec<MemberStatus> {
    let membership = leader.map(|leader| &leader.answer.membership).or_else(|| newest_membership(observed));
    // Sorted, because another order would be another status, which would be written. The id is part of the key, because
    // a lost node and its successor have the same name.
    let mut members: BTreeMap<(String, NodeId), MemberStatus> = BTreeMap::new();
    if let Some(membership) = membership {
        for id in membership.voters().into_iter().chain(membership.learners.iter().copied()) {
            let slot = observed.slot_of(id);
            let name =
                slot.map_or_else(|| membership.name(id).unwrap_or_default().to_owned(), |slot| slot.name.clone());
            let voter = membership.voters().contains(&id);
            members.insert((name.clone(), id), member_status(id, name, slot, voter, leader));
        }
    }
    for (slot, answer) in observed.answers() {
        let id = answer.node.id;
        members.entry((slot.name.clone(), id)).or_insert_with(|| MemberStatus {
            role: MemberRole::Joining.as_str().to_owned(),
            ..member_status(id, slot.name.clone(), Some(slot), false, leader)
        });
    }
    members.into_values().collect()
}

/// Returns the membership known to the pod with the highest term, which is better than nothing while there is no
/// leader.
fn newest_membership(observed: &ObservedState) -> Option<&RaftMembership> {
    let known = observed.answers().filter(|(_, answer)| !answer.membership.voter_sets.is_empty());
    known.max_by_key(|(_, answer)| answer.term).map(|(_, answer)| &answer.membership)
}

fn member_status(
    id: NodeId,
    pod: String,
    slot: Option<&MemberSlot>,
    voter: bool,
    leader: Option<Leader<'_>>,
) -> MemberStatus {
    let answer = slot.and_then(|slot| slot.answer.as_ref());
    let seen = slot.and_then(|slot| slot.pod.as_ref());
    MemberStatus {
        node_id: id.to_string(),
        pod,
        pod_uid: seen.map(|pod| pod.uid.clone()),
        role: member_role(id, answer, voter, leader).as_str().to_owned(),
        voter,
        ready: seen.is_some_and(|pod| pod.ready && !pod.deleting),
        version: answer.map(|answer| answer.version.clone()),
        volume: slot.and_then(|slot| slot.claim.as_ref()?.volume.clone()),
    }
}

fn member_role(id: NodeId, answer: Option<&AdminStatus>, voter: bool, leader: Option<Leader<'_>>) -> MemberRole {
    match answer {
        None => MemberRole::Unreachable,
        _ if leader.is_some_and(|leader| leader.answer.node.id == id) => MemberRole::Leader,
        Some(_) if !voter => MemberRole::Learner,
        Some(answer) if answer.role == RaftRole::Candidate => MemberRole::Candidate,
        Some(_) => MemberRole::Follower,
    }
}
