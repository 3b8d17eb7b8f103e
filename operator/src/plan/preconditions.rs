//! Conditions that must hold before anything is created or changed.

use super::{Blocked, BlockedReason};
use crate::{cluster::ValidCluster, names, observed::ObservedState, secret_inputs::SecretInputs};

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

/// Describes the Secrets that the spec refers to and whose values cannot be used. Pods of the spec would not start, so the
/// template in use stays (`build::choose_template`).
pub(super) fn unusable_secrets(cluster: &ValidCluster, observed: &ObservedState) -> Option<Blocked> {
    let SecretInputs::Lacking(lacking) = &cluster.secrets else { return None };
    let meanwhile = match observed.stateful_set {
        None => "no pod is created",
        Some(_) => "the pods stay as they are, and no change of the spec reaches them",
    };
    Some(Blocked {
        reason: BlockedReason::SecretUnusable,
        message: format!(
            "{}: create or correct the Secret in namespace {} (kubectl -n {} create secret generic NAME --from-literal=KEY=VALUE), or remove the field from the spec. Until then {meanwhile}",
            lacking.join("; "),
            cluster.namespace,
            cluster.namespace
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        build::{CarriedState, choose_template},
        fixture,
        observed::{AdminStatus, ClusterMarker, MemberSlot, PeerTls, StatefulSetView},
        plan::{PlanChore, make_plan},
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

    fn lacking() -> ValidCluster {
        fixture::cluster().with_secrets(SecretInputs::Lacking(vec!["Secret doors does not exist".into()]))
    }

    #[test]
    fn no_pod_is_made_before_its_secrets_are_there() {
        let made = make_plan(&lacking(), &fixture::nothing_seen());
        let blocked = made.blocked.expect("blocked");
        assert_eq!(blocked.reason, BlockedReason::SecretUnusable);
        for words in ["Secret doors does not exist", "kubectl -n chat create secret", "no pod is created"] {
            assert!(blocked.message.contains(words), "{words}: {}", blocked.message);
        }
        assert!(made.resources.is_none() && made.step.is_none() && made.chores.is_empty());
    }

    #[test]
    fn a_secret_that_is_lost_later_leaves_the_pods_as_they_are_and_stops_nothing_else() {
        let recorded = choose_template(&fixture::cluster(), None).record();
        let stateful_set = StatefulSetView {
            settled: true,
            replicas: 3,
            on_delete: false,
            partition: 3,
            current_revision: "team-1".into(),
            update_revision: "team-1".into(),
            carried: CarriedState { recorded: Some(recorded.clone()), ..CarriedState::default() },
        };
        let observed =
            ObservedState { stateful_set: Some(stateful_set), peer_tls: PeerTls::Absent, ..fixture::nothing_seen() };
        let mut changed = lacking();
        changed.spec.image = "localhost/quorate:next".into();
        let made = make_plan(&changed, &observed);
        let blocked = made.blocked.expect("blocked");
        assert_eq!(blocked.reason, BlockedReason::SecretUnusable);
        assert!(blocked.message.contains("the pods stay as they are"), "{blocked:?}");
        assert!(made.chores.contains(&PlanChore::IssuePeerTls), "{:?}", made.chores);
        let set = made.resources.expect("objects are still applied").stateful_set;
        let template = serde_json::to_value(set.spec.map(|spec| spec.template)).expect("JSON");
        assert_eq!(template, recorded.pod);
    }
}
