//! Ownership of objects that are created once or by others, which decides what is deleted with the ChatCluster.
//!
//! Claims that are to be deleted with the ChatCluster are owned by it and not by the StatefulSet: deleting the
//! StatefulSet alone, to have it recreated, must not lose the data. The marker is deleted along with the claims, or a
//! new cluster of the same name would be taken for one that has lost its data.

use super::PlanChore;
use crate::{
    cluster::ValidCluster,
    observed::{ObservedState, OwnedObject},
};
use quorate_crd::RetentionPolicy;

/// Returns the chores for objects whose owner is not as it should be.
pub(super) fn owner_chores(cluster: &ValidCluster, observed: &ObservedState) -> Vec<PlanChore> {
    let goes = cluster.spec.storage.persistent_volume_claim_retention_policy.when_deleted == RetentionPolicy::Delete;
    let wanted = |object: &OwnedObject| match object {
        OwnedObject::Secret(_) => true,
        OwnedObject::Claim(_) | OwnedObject::Marker(_) => goes,
    };
    let wrong = observed.ownership.iter().filter(|view| view.owned != wanted(&view.object));
    wrong.map(|view| PlanChore::SetOwner { object: view.object.clone(), owned: wanted(&view.object) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, observed::OwnerView};

    fn seen() -> ObservedState {
        let view = |object, owned| OwnerView { object, owned };
        ObservedState {
            ownership: vec![
                view(OwnedObject::Secret("team-peer-ca".into()), true),
                view(OwnedObject::Secret("team-peer-tls".into()), false),
                view(OwnedObject::Claim("data-team-0".into()), false),
                view(OwnedObject::Claim("data-team-1".into()), true),
                view(OwnedObject::Marker("team-cluster".into()), false),
            ],
            ..fixture::nothing_seen()
        }
    }

    fn set(object: OwnedObject, owned: bool) -> PlanChore {
        PlanChore::SetOwner { object, owned }
    }

    #[test]
    fn data_that_stays_has_no_owner_and_secrets_always_have_one() {
        let found = owner_chores(&fixture::cluster(), &seen());
        let expected = [
            set(OwnedObject::Secret("team-peer-tls".into()), true),
            set(OwnedObject::Claim("data-team-1".into()), false),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn data_that_goes_goes_with_the_marker() {
        let mut cluster = fixture::cluster();
        cluster.spec.storage.persistent_volume_claim_retention_policy.when_deleted = RetentionPolicy::Delete;
        let found = owner_chores(&cluster, &seen());
        let expected = [
            set(OwnedObject::Secret("team-peer-tls".into()), true),
            set(OwnedObject::Claim("data-team-0".into()), true),
            set(OwnedObject::Marker("team-cluster".into()), true),
        ];
        assert_eq!(found, expected);
    }
}
