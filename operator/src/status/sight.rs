//! Visibility of the cluster, which distinguishes pods that are down from pods that only the operator cannot hear.

use crate::{
    observed::{MemberSlot, ObservedState},
    quorum,
};
use std::time::Duration;

/// Time for which the last known state stands. An election, a restart of the operator, and pods that load renewed
/// Secrets are over by then, as a rule.
const MEMORY: Duration = Duration::from_secs(10);

/// Visibility of the cluster to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClusterVisibility {
    /// The cluster is visible enough to judge.
    Clear,
    /// The cluster is not visible at this moment; what was reported before stands.
    Brief,
    /// The cluster has not been visible for longer, for this reason.
    Lost(String),
}

/// Determines the visibility of the cluster. Without a leader that is heard, it depends on whether there may be one all
/// the same.
pub(super) fn cluster_visibility(observed: &ObservedState) -> ClusterVisibility {
    let made = observed.marker.as_ref().is_some_and(|marker| marker.initialized);
    if !made || quorum::find_leader(observed).is_some() {
        return ClusterVisibility::Clear;
    }
    match unheard_leader(observed) {
        None => ClusterVisibility::Clear,
        Some(_) if observed.sight.leader_unheard < MEMORY => ClusterVisibility::Brief,
        Some(why) => ClusterVisibility::Lost(why),
    }
}

/// Explains which pod may be leading unheard: the one that others follow or, if nobody answers at all, one of those
/// that Kubernetes considers ready. Returns `None` if there is no such pod.
fn unheard_leader(observed: &ObservedState) -> Option<String> {
    const CHECK: &str =
        "check that no NetworkPolicy blocks the operator from port 7401, and look for the cause in the operator's log";
    let ready: Vec<&str> = observed.slots.iter().filter(|slot| is_ready(slot)).map(|slot| slot.name.as_str()).collect();
    if observed.answers().next().is_none() {
        // Fewer ready pods than a majority cannot have a leader that only the operator does not hear.
        let enough = ready.len() >= quorum::majority(observed.slots.len());
        return (enough && !ready.is_empty()).then(|| {
            format!(
                "no pod answers the operator on its admin port, but Kubernetes considers {} ready, so the cluster may well be serving: {CHECK}",
                ready.join(", ")
            )
        });
    }
    let followed = observed.answers().filter(|(_, answer)| answer.leader != 0).find_map(|(slot, answer)| {
        let leader = answer.membership.name(answer.leader)?;
        let silent = observed.slots.iter().find(|slot| slot.name == leader && slot.answer.is_none())?;
        is_ready(silent).then_some((slot, silent))
    });
    followed.map(|(follower, leader)| {
        format!(
            "{} follows {}, which does not answer the operator although Kubernetes considers it ready, so the cluster may well be serving: {CHECK}",
            follower.name, leader.name
        )
    })
}

fn is_ready(slot: &MemberSlot) -> bool {
    slot.pod.as_ref().is_some_and(|pod| pod.ready && !pod.deleting)
}
