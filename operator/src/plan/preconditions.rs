//! Conditions that must hold before anything is created or changed.

use super::{Blocked, BlockedReason};
use crate::{cluster::ValidCluster, names, observed::ObservedState};

/// Blocks if the volumes belong to a server of another name, because chatd would refuse to start on them again and
/// again. The marker knows the name before any pod has run.
pub(super) fn other_server_name(cluster: &ValidCluster, observed: &ObservedState) -> Option<Blocked> {
    let wanted = &cluster.spec.server_name;
    let marker = observed.marker.as_ref().filter(|marker| marker.initialized)?;
    let differs = !marker.server_name.is_empty() && marker.server_name != *wanted;
    // A pod that runs with this name knows better than the marker.
    let runs = observed.answers().any(|(_, answer)| answer.server_name == *wanted);
    if !differs || runs {
        return None;
    }
    Some(Blocked {
        reason: BlockedReason::ServerNameDiffers,
        message: format!(
            "the volumes hold the data of server {}, but spec.serverName is {wanted}: every user, room and event id contains the name, so it cannot change. Delete this ChatCluster and apply it again with serverName {} or, if that data is expendable, delete the claims {} and ConfigMap {}",
            marker.server_name,
            marker.server_name,
            cluster.ordinals().map(|ordinal| names::claim_name(&cluster.name, ordinal)).collect::<Vec<_>>().join(", "),
            names::marker_name(&cluster.name)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture,
        observed::{AdminStatus, ClusterMarker, MemberSlot},
        plan::make_plan,
    };
    use std::collections::BTreeSet;

    fn made_as(server_name: &str) -> ObservedState {
        let marker = ClusterMarker {
            cluster_id: "c".into(),
            server_name: server_name.into(),
            initialized: true,
            voters: BTreeSet::new(),
            resource_version: None,
        };
        ObservedState { marker: Some(marker), ..fixture::nothing_seen() }
    }

    #[test]
    fn volumes_of_another_name_stop_everything_before_a_pod_is_made() {
        let made = make_plan(&fixture::cluster(), &made_as("old.example.org"));
        let blocked = made.blocked.expect("blocked");
        assert_eq!(blocked.reason, BlockedReason::ServerNameDiffers);
        assert!(blocked.message.contains("old.example.org") && blocked.message.contains("data-team-2"), "{blocked:?}");
        assert!(made.resources.is_none() && made.step.is_none() && made.chores.is_empty());
    }

    #[test]
    fn volumes_of_the_same_name_stop_nothing() {
        assert_eq!(other_server_name(&fixture::cluster(), &made_as("chat.example.org")), None);
        // An early version may have written no name.
        assert_eq!(other_server_name(&fixture::cluster(), &made_as("")), None);
    }

    #[test]
    fn a_pod_that_runs_with_the_name_is_believed_over_the_marker() {
        let answer = AdminStatus { server_name: "chat.example.org".into(), ..AdminStatus::default() };
        let slots = vec![MemberSlot { name: "team-0".into(), answer: Some(answer), ..MemberSlot::default() }];
        let observed = ObservedState { slots, ..made_as("edited.example.org") };
        assert_eq!(other_server_name(&fixture::cluster(), &observed), None);
    }
}
