//! Who leads, who is healthy, and what may be taken away without losing a majority.

use crate::observed::{Door, Membership, NodeId, Observed, Role, Slot};
use std::{collections::BTreeSet, time::Duration};

/// A member that lags no more counts as caught up. The same figure as chatd's own for a change of voters.
pub const MAX_LAG: u64 = 1000;

/// A leader that has not heard of a quorum for this long may be cut off: it still calls itself leader. Leaders say so
/// themselves within an election time-out; this is for one that cannot say anything any more.
const FRESH_ACK: Duration = Duration::from_millis(3500);

/// A follower that the leader has not heard of for this long does not count as healthy.
const FRESH_CONTACT: Duration = Duration::from_secs(5);

/// The leader and its pod.
#[derive(Clone, Copy, Debug)]
pub struct Leader<'a> {
    /// Its pod.
    pub slot: &'a Slot,
    /// What it said.
    pub door: &'a Door,
}

/// The leader: of those that say they lead, and whom a quorum has answered just now, the one with the highest
/// (term, node id). A cut-off leader does not know that it is none, so its word alone is not enough.
#[must_use]
pub fn leader(observed: &Observed) -> Option<Leader<'_>> {
    observed
        .doors()
        .filter(|(_, door)| door.role == Role::Leader && door.leader == door.node.id)
        .filter(|(_, door)| door.quorum_ack.is_some_and(|age| age <= FRESH_ACK))
        .max_by_key(|(_, door)| (door.term, door.node.id))
        .map(|(slot, door)| Leader { slot, door })
}

/// The votes that a decision of `n` voters needs.
#[must_use]
pub fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// Voters that answer, serve, are caught up, and are heard of by the leader.
#[must_use]
pub fn healthy_voters(observed: &Observed, leader: Leader<'_>) -> BTreeSet<NodeId> {
    let healthy = |id: &NodeId| observed.slot_of(*id).is_some_and(|slot| is_healthy(slot, *id, leader));
    leader.door.membership.voters().into_iter().filter(healthy).collect()
}

/// Voters that answer and keep up, whether they are ready to serve people or not: those of whom a quorum is made.
#[must_use]
pub fn following_voters(observed: &Observed, leader: Leader<'_>) -> BTreeSet<NodeId> {
    let follows = |id: &NodeId| observed.slot_of(*id).is_some_and(|slot| follows(slot, *id, leader));
    leader.door.membership.voters().into_iter().filter(follows).collect()
}

fn is_healthy(slot: &Slot, id: NodeId, leader: Leader<'_>) -> bool {
    let ready = slot.pod.as_ref().is_some_and(|pod| pod.ready);
    ready && slot.door.as_ref().is_some_and(|door| door.ready) && follows(slot, id, leader)
}

fn follows(slot: &Slot, id: NodeId, leader: Leader<'_>) -> bool {
    let pod_stays = slot.pod.as_ref().is_some_and(|pod| !pod.deleting);
    let same_cluster = slot.door.as_ref().is_some_and(|door| door.cluster_id == leader.door.cluster_id);
    let keeps_up = id == leader.door.node.id
        || leader.door.progress.get(&id).is_some_and(|progress| {
            progress.lag <= MAX_LAG && progress.contact.is_some_and(|age| age <= FRESH_CONTACT)
        });
    pod_stays && same_cluster && keeps_up
}

/// Whether each voter set keeps a majority of healthy voters when `gone` are lost.
#[must_use]
pub fn survives(membership: &Membership, healthy: &BTreeSet<NodeId>, gone: &BTreeSet<NodeId>) -> bool {
    !membership.voter_sets.is_empty()
        && membership.voter_sets.iter().all(|set| {
            let left = set.iter().filter(|id| healthy.contains(id) && !gone.contains(id)).count();
            left >= majority(set.len())
        })
}

/// Healthy voters that may be lost before a majority is lost too; negative when it is lost already.
#[must_use]
pub fn fault_tolerance(membership: &Membership, healthy: &BTreeSet<NodeId>) -> i32 {
    let left = membership.voter_sets.iter().map(|set| {
        let alive = set.intersection(healthy).count();
        i32::try_from(alive).unwrap_or(i32::MAX) - i32::try_from(majority(set.len())).unwrap_or(i32::MAX)
    });
    left.min().unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(sets: &[&[u64]]) -> Membership {
        Membership {
            voter_sets: sets.iter().map(|set| set.iter().copied().collect()).collect(),
            ..Membership::default()
        }
    }

    fn check(membership: &Membership, healthy: &[u64], gone: &[u64], expected: bool) {
        let healthy = healthy.iter().copied().collect();
        let gone = gone.iter().copied().collect();
        assert_eq!(survives(membership, &healthy, &gone), expected);
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
        assert_eq!(fault_tolerance(&Membership::default(), &BTreeSet::new()), -1);
    }
}
