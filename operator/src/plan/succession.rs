//! Choice of the voter that the leader hands over to before its pod ends or its vote is removed.
//!
//! A voter that keeps up may still not be able to lead: its revision may give it election timeouts of minutes. A leader
//! that handed over to such a voter would be elected again, and the plan would never make progress. Voters with the
//! desired revision are therefore preferred, and after them those with the leader's own revision.

use super::PlanStep;
use crate::{
    observed::{MemberSlot, NodeId, ObservedState},
    quorum::{self, Leader},
};

/// Voter that keeps up and does not lead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Successor<'a> {
    pub(super) slot: &'a MemberSlot,
    node: NodeId,
    /// `true` if the pod has the newest revision.
    pub(super) is_restarted: bool,
    /// `true` if the pod has the revision of the leader's pod, which is able to lead.
    is_as_the_leader: bool,
}

impl Successor<'_> {
    pub(super) fn hand_over(&self, leader: Leader<'_>) -> PlanStep {
        PlanStep::TransferLeader { leader: leader.slot.name.clone(), to: self.node }
    }
}

/// Returns the best successor among those that `may` lead next, if leadership will stay with it as far as can be known.
/// While there is none, the rollout produces one, unless there are two voters: neither can be restarted, so any
/// successor is tried.
pub(super) fn trusted_successor<'a>(
    observed: &'a ObservedState,
    leader: Leader<'_>,
    may: impl Fn(NodeId) -> bool,
) -> Option<Successor<'a>> {
    let none_restarts = leader.answer.membership.voters().len() <= 2;
    best_successor(observed, leader, may).filter(|found| found.is_restarted || found.is_as_the_leader || none_restarts)
}

/// Returns the best successor among those that `may` lead next.
pub(super) fn best_successor<'a>(
    observed: &'a ObservedState,
    leader: Leader<'_>,
    may: impl Fn(NodeId) -> bool,
) -> Option<Successor<'a>> {
    let following = quorum::following_voters(observed, leader);
    let healthy = quorum::healthy_voters(observed, leader);
    let newest = observed.stateful_set.as_ref().map(|set| set.update_revision.as_str());
    let of_leader = pod_revision(leader.slot);
    observed
        .answers()
        .filter(|(slot, answer)| slot.ordinal != leader.slot.ordinal && following.contains(&answer.node.id))
        .filter(|(_, answer)| may(answer.node.id))
        .map(|(slot, answer)| Successor {
            slot,
            node: answer.node.id,
            is_restarted: pod_revision(slot) == newest,
            is_as_the_leader: pod_revision(slot) == of_leader,
        })
        .min_by_key(|found| {
            (!healthy.contains(&found.node), !found.is_restarted, !found.is_as_the_leader, found.slot.ordinal)
        })
}

fn pod_revision(slot: &MemberSlot) -> Option<&str> {
    slot.pod.as_ref().map(|pod| pod.revision.as_str())
}
