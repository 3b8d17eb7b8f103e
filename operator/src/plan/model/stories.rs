//! Short scenarios, each about one guarantee.

use super::{Fault, World};
use crate::{
    observed::ObservedState,
    plan::{BlockedReason, PlanStep, make_plan},
    secret_inputs::SecretInputs,
};

#[test]
fn a_quiet_cluster_is_made_and_left_alone() {
    let mut world = World::settled(3);
    let before = world.clone();
    for _ in 0..20 {
        let made = world.reconcile();
        assert_eq!(made.step, None);
        world.pass_time();
    }
    assert_eq!((world.voters, world.term), (before.voters, before.term));
}

#[test]
fn a_lost_volume_is_replaced_and_its_id_forgotten() {
    let mut world = World::settled(3);
    for index in [1, 0] {
        let old = world.node(index);
        world.suffer(Fault::LoseVolume(index));
        world.settle().expect("at rest");
        assert!(!world.voters.contains(&old) && world.voters.len() == 3);
    }
    assert_eq!(world.made, 1);
}

#[test]
fn a_claim_deleted_under_a_running_pod_ends_in_a_fresh_member() {
    let mut world = World::settled(3);
    let leader = (0..3).find(|index| Some(world.node(*index)) == world.leader).expect("a leader");
    let old = world.node(leader);
    world.suffer(Fault::DoomClaim(leader));
    world.settle().expect("at rest");
    assert!(!world.voters.contains(&old));
}

#[test]
fn all_volumes_lost_is_for_a_person() {
    let mut world = World::settled(3);
    for index in 0..3 {
        world.doom(index);
        world.delete(index);
    }
    let error = world.settle().expect_err("nothing can be mended");
    assert!(error.contains("DataLost"), "{error}");
    assert_eq!(world.made, 1);
}

#[test]
fn a_marker_that_was_lost_is_written_again_and_no_cluster_is_made() {
    let mut world = World::settled(3);
    let id = world.marker.take().map(|marker| marker.cluster_id);
    world.settle().expect("at rest");
    world.go_on(2);
    assert_eq!(world.marker.clone().map(|marker| marker.cluster_id), id);
    assert_eq!(world.made, 1);
}

#[test]
fn a_stamped_claim_with_an_empty_volume_makes_no_cluster() {
    let mut world = World::new(3);
    world.go_on(1);
    world.slots[1].volume.as_mut().expect("a volume").stamped = Some(("of-old".into(), 7));
    let error = world.settle().expect_err("for a person");
    assert!(error.contains("DataLost") && error.contains("of-old"), "{error}");
    assert_eq!(world.made, 0);
}

#[test]
fn a_crash_between_name_and_members_repeats_the_order() {
    let mut world = World::new(3);
    while !matches!(make_plan(&world.cluster, &world.observe()).step, Some(PlanStep::Initialize { .. })) {
        world.go_on(1);
    }
    let id = world.marker.clone().expect("a marker").cluster_id;
    // The pod has taken the id, and crashed before it had members.
    world.slots[1].volume.as_mut().expect("a volume").cluster_id = Some(id.clone());
    let step = make_plan(&world.cluster, &world.observe()).step;
    assert!(
        matches!(&step, Some(PlanStep::Initialize { pod, cluster_id, .. }) if pod == "team-1" && *cluster_id == id),
        "{step:?}"
    );
    // The volume of another pod is replaced at that very moment: the id stays, because team-1 would refuse another.
    world.slots[2].volume.as_mut().expect("a volume").node = 7;
    let step = make_plan(&world.cluster, &world.observe()).step;
    assert!(
        matches!(&step, Some(PlanStep::UpdateMarker(marker)) if marker.cluster_id == id && !marker.initialized),
        "{step:?}"
    );
}

#[test]
fn a_volume_of_another_cluster_is_named() {
    let mut world = World::settled(3);
    world.slots[2].volume.as_mut().expect("a volume").cluster_id = Some("of-others".into());
    let made = make_plan(&world.cluster, &world.observe());
    let blocked = made.blocked.expect("blocked");
    assert_eq!(blocked.reason, BlockedReason::ForeignVolume);
    assert!(blocked.message.contains("team-2") && blocked.message.contains("of-others"), "{}", blocked.message);
    assert_eq!(made.step, None);
}

#[test]
fn a_paused_cluster_is_not_touched() {
    let mut world = World::settled(3);
    world.suffer(Fault::LoseVolume(1));
    world.cluster.spec.paused = true;
    for _ in 0..10 {
        let made = world.reconcile();
        assert!(made.step.is_none() && made.chores.is_empty() && made.resources.is_none());
        world.pass_time();
    }
}

#[test]
fn a_lost_volume_is_replaced_while_a_secret_is_missing_and_a_new_image_waits_for_it() {
    let mut world = World::settled(3);
    let old = world.node(1);
    let image = world.cluster.spec.image.clone();
    world.cluster.secrets = SecretInputs::Lacking(vec!["Secret doors does not exist".into()]);
    world.cluster.spec.image = "localhost/quorate:next".into();
    world.suffer(Fault::LoseVolume(1));
    // As many rounds as `settle` takes at most, which would end at the reason that this is about.
    world.go_on(400);
    assert!(!world.voters.contains(&old) && world.is_whole());
    assert_eq!(world.set.as_ref().map(|set| set.update.clone()), Some(image));
    let blocked = make_plan(&world.cluster, &world.observe()).blocked.map(|blocked| blocked.reason);
    assert_eq!(blocked, Some(BlockedReason::SecretUnusable));
    world.cluster.secrets = SecretInputs::default();
    world.settle().expect("the new image is rolled out");
}

#[test]
fn a_foreign_object_stops_everything() {
    let world = World::new(3);
    let observed = ObservedState { conflicts: vec!["Service/team".into()], ..world.observe() };
    let made = make_plan(&world.cluster, &observed);
    assert_eq!(made.blocked.map(|blocked| blocked.reason), Some(BlockedReason::NameConflict));
    assert!(made.resources.is_none() && made.step.is_none() && made.chores.is_empty());
}

#[test]
fn a_wrong_image_before_there_is_a_cluster_is_put_right() {
    // The container crashes, the pod is not scheduled, or it cannot be created at all.
    for kind in [3, 1, 2] {
        let mut world = World::new(3);
        world.suffer(Fault::BadImage(kind, 0));
        world.go_on(5);
        world.suffer(Fault::NewImage(1));
        world.settle().expect("at rest");
        assert_eq!(world.made, 1);
    }
}

#[test]
fn an_operator_that_sees_no_pod_restarts_none() {
    let mut world = World::settled(3);
    world.suffer(Fault::NewImage(1));
    world.previous.conditions[0].status = "Unknown".into();
    for _ in 0..30 {
        let mut observed = world.observe();
        for slot in &mut observed.slots {
            slot.answer = None;
        }
        let made = make_plan(&world.cluster, &observed);
        assert_eq!(made.step, None);
        world.pass_time();
    }
}
