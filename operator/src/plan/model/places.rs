//! ChatClusters that are recreated with another number of replicas than their volumes were created for.

use super::{Fault, World};
use crate::plan::{BlockedReason, make_plan};

#[test]
fn voters_without_a_slot_lose_their_vote_and_their_pods() {
    for (before, after) in [(5, 3), (5, 1), (3, 1)] {
        let mut world = World::settled(before);
        world.suffer(Fault::Recreate(after));
        world.settle().unwrap_or_else(|error| panic!("{before} to {after}: {error}"));
        assert_eq!(i32::try_from(world.voters.len()), Ok(after));
        assert_eq!(world.made, 1);
        let retired = world.slots.iter().filter(|slot| slot.volume.as_ref().is_some_and(|volume| volume.retired));
        assert_eq!(i32::try_from(retired.count()), Ok(before - after), "their volumes are kept, and marked");
    }
}

#[test]
fn volumes_that_were_retired_stay_so_while_there_is_no_leader() {
    let mut world = World::settled(5);
    world.suffer(Fault::Recreate(3));
    world.settle().expect("at rest");
    world.suffer(Fault::RestartAll);
    for _ in 0..20 {
        world.reconcile();
        assert_eq!(world.set.as_ref().map(|set| set.replicas), Some(3), "nobody starts a retired volume");
        world.pass_time();
    }
}

#[test]
fn a_cluster_grows_when_it_is_made_again_with_more() {
    for (before, after) in [(1, 3), (3, 5), (1, 5)] {
        let mut world = World::settled(before);
        world.suffer(Fault::Recreate(after));
        world.settle().unwrap_or_else(|error| panic!("{before} to {after}: {error}"));
        assert_eq!(i32::try_from(world.voters.len()), Ok(after));
    }
}

#[test]
fn retired_volumes_join_again_as_learners() {
    let mut world = World::settled(5);
    let voters = world.voters.clone();
    world.suffer(Fault::Recreate(3));
    world.settle().expect("at rest");
    world.suffer(Fault::Recreate(5));
    world.settle().expect("at rest");
    assert_eq!(world.voters, voters);
    assert!(world.slots.iter().all(|slot| slot.volume.as_ref().is_some_and(|volume| !volume.retired)));
}

#[test]
fn a_lost_voter_without_a_slot_goes_before_a_living_one() {
    let mut world = World::settled(5);
    let lost = world.node(3);
    world.suffer(Fault::Recreate(3));
    world.slots[3].volume = None;
    while world.voters.len() == 5 {
        world.reconcile();
        world.pass_time();
    }
    assert!(!world.voters.contains(&lost));
    world.settle().expect("at rest");
}

#[test]
fn no_pod_may_be_drained_while_voters_without_a_pod_use_the_tolerance_up() {
    let mut world = World::settled(5);
    assert_eq!(world.spares, Some(1));
    // Two of five voters are lost for good: the three that are left must all live.
    world.suffer(Fault::Recreate(3));
    (world.slots[3].volume, world.slots[4].volume) = (None, None);
    let mut seen = false;
    for _ in 0..40 {
        world.reconcile();
        if world.leader.is_some() && world.voters.len() == 5 {
            assert_eq!(world.spares, Some(0));
            seen = true;
        }
        world.pass_time();
    }
    assert!(seen);
    world.settle().expect("at rest");
    assert_eq!(world.spares, Some(1));
}

#[test]
fn a_majority_without_volumes_is_for_a_person() {
    for (before, after, lost) in [(5, 3, vec![2, 3, 4]), (5, 1, vec![1, 2, 3, 4]), (3, 1, vec![1, 2])] {
        let mut world = World::settled(before);
        world.suffer(Fault::Recreate(after));
        for index in &lost {
            world.slots[*index].volume = None;
        }
        world.go_on(10);
        let blocked = make_plan(&world.cluster, &world.observe()).blocked.expect("nothing can be done");
        assert_eq!(blocked.reason, BlockedReason::QuorumLost);
        let named = format!("data-team-{}", lost[0]);
        assert!(blocked.message.contains(&named), "{}", blocked.message);
        assert_eq!(world.made, 1);
    }
}
