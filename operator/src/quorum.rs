//! Leadership and health of the members, and which of them may be taken down without losing a majority.

use crate::observed::{AdminStatus, MemberSlot, NodeId, ObservedState, RaftMembership, RaftRole};
use std::{collections::BTreeSet, time::Duration};

/// Maximum lag in log entries at which a member counts as caught up. chatd uses the same figure for a change of voters.
pub const MAX_LAG: u64 = 1000;

/// Time without a quorum acknowledgement after which a leader may be cut off although it still calls itself leader.
/// Leaders say so themselves within an election timeout; this limit is for one that cannot say anything any more.
const FRESH_ACK: Duration = Duration::from_millis(3500);

/// Time without contact with the leader after which a follower does not count as healthy.
const FRESH_CONTACT: Duration = Duration::from_secs(5);

/// Leader of the cluster, with its pod.
#[derive(Clone, Copy, Debug)]
pub struct Leader<'a> {
    /// Slot of the leader's pod.
    pub slot: &'a MemberSlot,
    /// Status that the leader sent.
    pub answer: &'a AdminStatus,
}

/// Returns the leader: of the nodes that say they lead and that a quorum has acknowledged just now, the one with the
/// highest (term, node id). A cut-off leader does not know that it no longer leads, so its word alone is not enough.
#[must_use]
pub fn find_leader(observed: &ObservedState) -> Option<Leader<'_>> {
    observed
        .answers()
        .filter(|(_, answer)| answer.role == RaftRole::Leader && answer.leader == answer.node.id)
        .filter(|(_, answer)| answer.quorum_ack.is_some_and(|age| age <= FRESH_ACK))
        // Raft elects one leader per term; the id only makes the choice independent of the order of the slots.
        .max_by_key(|(_, answer)| (answer.term, answer.node.id))
        .map(|(slot, answer)| Leader { slot, answer })
}

/// Returns the number of votes that a decision of `n` voters needs.
#[must_use]
pub fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// Returns the voters that answer, are ready, have caught up, and are in contact with the leader.
#[must_use]
pub fn healthy_voters(observed: &ObservedState, leader: Leader<'_>) -> BTreeSet<NodeId> {
    let healthy = |id: &NodeId| observed.slot_of(*id).is_some_and(|slot| is_healthy(slot, *id, leader));
    leader.answer.membership.voters().into_iter().filter(healthy).collect()
}

/// Returns the voters that answer and keep up, whether they are ready for users or not: those that form a quorum.
#[must_use]
pub fn following_voters(observed: &ObservedState, leader: Leader<'_>) -> BTreeSet<NodeId> {
    let follows = |id: &NodeId| observed.slot_of(*id).is_some_and(|slot| is_following(slot, *id, leader));
    leader.answer.membership.voters().into_iter().filter(follows).collect()
}

fn is_healthy(slot: &MemberSlot, id: NodeId, leader: Leader<'_>) -> bool {
    let ready = slot.pod.as_ref().is_some_and(|pod| pod.ready);
    ready && slot.answer.as_ref().is_some_and(|answer| answer.ready) && is_following(slot, id, leader)
}

fn is_following(slot: &MemberSlot, id: NodeId, leader: Leader<'_>) -> bool {
    let pod_stays = slot.pod.as_ref().is_some_and(|pod| !pod.deleting);
    let same_cluster = slot.answer.as_ref().is_some_and(|answer| answer.cluster_id == leader.answer.cluster_id);
    let keeps_up = id == leader.answer.node.id
        || leader.answer.progress.get(&id).is_some_and(|progress| {
            progress.lag <= MAX_LAG && progress.contact.is_some_and(|age| age <= FRESH_CONTACT)
        });
    pod_stays && same_cluster && keeps_up
}

/// Returns `true` if each voter set keeps a majority of healthy voters when `gone` are lost.
#[must_use]
pub fn keeps_majority(membership: &RaftMembership, healthy: &BTreeSet<NodeId>, gone: &BTreeSet<NodeId>) -> bool {
    !membership.voter_sets.is_empty()
        && membership.voter_sets.iter().all(|set| {
            let left = set.iter().filter(|id| healthy.contains(id) && !gone.contains(id)).count();
            left >= majority(set.len())
        })
}

/// Returns the number of healthy voters that may fail before a majority is lost too; negative if it is lost already.
#[must_use]
pub fn fault_tolerance(membership: &RaftMembership, healthy: &BTreeSet<NodeId>) -> i32 {
    let left = membership.voter_sets.iter().map(|set| {
        let alive = set.intersection(healthy).count();
        i32::try_from(alive).unwrap_or(i32::MAX) - i32::try_from(majority(set.len())).unwrap_or(i32::MAX)
    });
    // A decision during a joint change needs a majority of each set, so the weakest one counts.
    left.min().unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(sets: &[&[u64]]) -> RaftMembership {
        RaftMembership {
            voter_sets: sets.iter().map(|set| set.iter().copied().collect()).collect(),
            ..RaftMembership::default()
        }
    }

    fn check(membership: &RaftMembership, healthy: &[u64], gone: &[u64], expected: bool) {
        let healthy = healthy.iter().copied().collect();
        let gone = gone.iter().copied().collect();
        assert_eq!(keeps_majority(membership, &healthy, &gone), expected);
    }

    #[test]
    fn one_of_three_may_go_and_no_second() {
        let three = sets(&[&[1, 2, 3]]);
        check(&three, &[1, 2, 3], &[3], true);
        check(&three, &[1, 2], &[3], true);
        check(&three, &[1, 2], &[2], false);
        check(&sets(&[&[1]]), &[1], &[1], false);
    }

    #[test]
    fn a_joint_change_needs_both_majorities() {
        let joint = sets(&[&[1, 2, 3], &[1, 2, 4]]);
        check(&joint, &[1, 2], &[], true);
        check(&joint, &[1, 3], &[], false);
    }

    #[test]
    fn tolerance_counts_down_to_below_zero() {
        let three = sets(&[&[1, 2, 3]]);
        for (healthy, expected) in [(vec![1, 2, 3], 1), (vec![1, 2], 0), (vec![1], -1)] {
            assert_eq!(fault_tolerance(&three, &healthy.into_iter().collect()), expected);
        }
        assert_eq!(fault_tolerance(&RaftMembership::default(), &BTreeSet::new()), -1);
    }
}
