//! Whether what is not heard is not there, or only not heard by the operator.

use crate::{
    observed::{Observed, Slot},
    quorum,
};
use std::time::Duration;

/// So long what was known before stands. An election, a restarted operator and pods that take up renewed Secrets are over
/// by then, as a rule.
const MEMORY: Duration = Duration::from_secs(10);

/// How well the cluster is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Well enough to judge.
    Clear,
    /// Not at this moment: what was told before stands.
    Brief,
    /// Not for longer, and why.
    Lost(String),
}

/// Without a leader that is heard, it depends on whether there may be one all the same.
pub(super) fn of(observed: &Observed) -> Sight {
    let made = observed.marker.as_ref().is_some_and(|marker| marker.initialized);
    if !made || quorum::leader(observed).is_some() {
        return Sight::Clear;
    }
    match unheard(observed) {
        None => Sight::Clear,
        Some(_) if observed.sight.leader_unheard < MEMORY => Sight::Brief,
        Some(why) => Sight::Lost(why),
    }
}

/// Who may be leading unheard: the pod that others follow, or, if nobody answers at all, one of those that Kubernetes
/// takes for ready.
fn unheard(observed: &Observed) -> Option<String> {
    const CHECK: &str = "check that no NetworkPolicy keeps the operator from port 7401, and the operator's log for why it is not answered";
    let ready: Vec<&str> = observed.slots.iter().filter(|slot| is_ready(slot)).map(|slot| slot.name.as_str()).collect();
    if observed.doors().next().is_none() {
        let enough = ready.len() >= quorum::majority(observed.slots.len());
        return (enough && !ready.is_empty()).then(|| {
            format!(
                "no pod answers the operator on its admin port, but Kubernetes sees {} as ready, so the cluster may well be serving: {CHECK}",
                ready.join(", ")
            )
        });
    }
    let followed = observed.doors().filter(|(_, door)| door.leader != 0).find_map(|(slot, door)| {
        let leader = door.membership.name(door.leader)?;
        let silent = observed.slots.iter().find(|slot| slot.name == leader && slot.door.is_none())?;
        is_ready(silent).then_some((slot, silent))
    });
    followed.map(|(follower, leader)| {
        format!(
            "{} follows {}, which does not answer the operator though Kubernetes sees it as ready, so the cluster may well be serving: {CHECK}",
            follower.name, leader.name
        )
    })
}

fn is_ready(slot: &Slot) -> bool {
    slot.pod.as_ref().is_some_and(|pod| pod.ready && !pod.deleting)
}
