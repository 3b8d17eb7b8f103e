//! Test of the invariant that *if some spec lets every pod start, the plan reaches it*: from every combination of
//! states of three pods, with an old revision that is able to elect a leader or not.

use super::{Ailment, Behaviour, World};

const OLD: &str = "localhost/quorate:old";
const BAD: &str = "localhost/quorate:bad";
const FIX: &str = "localhost/quorate:fix";

/// State of a pod when the spec is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plight {
    Well,
    Absent,
    Pending,
    Crashing,
    /// The pod was brought by an earlier rollout to a revision that runs nowhere.
    OnBadRevision,
    /// The pod was asked to end, on a node that never confirms it.
    TerminatingForEver,
    /// The pod is on a lost node, and has not been asked to end yet.
    OnLostNode,
}

use Plight::{Absent, Crashing, OnBadRevision, OnLostNode, Pending, TerminatingForEver, Well};

const ALL: [Plight; 7] = [Well, Absent, Pending, Crashing, OnBadRevision, TerminatingForEver, OnLostNode];

impl Plight {
    /// Returns `true` if no spec can help, because a machine has to come back.
    fn needs_its_node(self) -> bool {
        matches!(self, TerminatingForEver | OnLostNode)
    }
}

fn world_in(settled: &World, plights: [Plight; 3], leads_not: bool) -> World {
    let mut world = settled.clone();
    let mut old = Behaviour { leads_not, ..Behaviour::default() };
    let everywhere = (0..5).map(|index| (index, Ailment::Crashing)).collect();
    world.images.insert(BAD.into(), Behaviour { ill: everywhere, leads_not: false });
    for (index, plight) in plights.into_iter().enumerate() {
        let slot = &mut world.slots[index];
        let pod = slot.pod.as_mut().expect("it was at rest");
        match plight {
            Well => {}
            Absent => {
                slot.pod = None;
                old.ill.insert(index, Ailment::Absent);
            }
            Pending => {
                old.ill.insert(index, Ailment::Pending);
            }
            Crashing => {
                old.ill.insert(index, Ailment::Crashing);
            }
            OnBadRevision => pod.revision = BAD.into(),
            TerminatingForEver => (pod.terminating, slot.node_lost) = (true, true),
            OnLostNode => slot.node_lost = true,
        }
    }
    world.images.insert(OLD.into(), old);
    world.leader = None;
    world.cluster.spec.image = FIX.into();
    world
}

fn check(settled: &World, plights: [Plight; 3], leads_not: bool) {
    let mut world = world_in(settled, plights, leads_not);
    if plights.iter().any(|plight| plight.needs_its_node()) {
        // Long enough for every wait to run out.
        for _ in 0..40 {
            if is_helped(&world, plights) {
                break;
            }
            world.go_on(1);
        }
        for (index, plight) in plights.into_iter().enumerate() {
            if matches!(plight, Absent | Pending | Crashing | OnBadRevision) {
                let pod = world.slots[index].pod.as_ref().expect("it can be made now");
                assert_eq!(pod.revision, FIX, "{plights:?} {leads_not}: pod {index} is helped without the lost nodes");
            }
        }
        world.bring_nodes_back();
    }
    if let Err(error) = world.settle() {
        panic!("{plights:?}, no leader from the old revision: {leads_not}: {error}");
    }
}

/// Returns `true` if all pods that a spec can help have the revision that helps.
fn is_helped(world: &World, plights: [Plight; 3]) -> bool {
    plights.into_iter().enumerate().all(|(index, plight)| {
        let has_it = world.slots[index].pod.as_ref().is_some_and(|pod| pod.revision == FIX);
        has_it || matches!(plight, Well | TerminatingForEver | OnLostNode)
    })
}

fn settled_on_old() -> World {
    let mut world = World::new(3);
    world.cluster.spec.image = OLD.into();
    world.settle().expect("at rest");
    world
}

#[test]
fn a_spec_that_lets_every_pod_start_is_reached_from_anything() {
    let settled = settled_on_old();
    for first in ALL {
        for second in ALL {
            for third in ALL {
                let plights = [first, second, third];
                check(&settled, plights, false);
                // Only a pod that runs could have been elected.
                if plights.iter().any(|plight| matches!(plight, Well | OnLostNode)) {
                    check(&settled, plights, true);
                }
            }
        }
    }
}

#[test]
fn a_single_pod_is_helped_too() {
    let mut settled = World::new(1);
    settled.cluster.spec.image = OLD.into();
    settled.settle().expect("at rest");
    for plight in [Absent, Pending, Crashing, OnBadRevision, TerminatingForEver, OnLostNode] {
        for leads_not in [false, true] {
            let mut world = world_in_one(&settled, plight, leads_not);
            world.go_on(20);
            world.bring_nodes_back();
            let outcome = world.settle();
            assert!(outcome.is_ok(), "{plight:?} {leads_not}: {outcome:?}");
        }
    }
}

fn world_in_one(settled: &World, plight: Plight, leads_not: bool) -> World {
    let mut padded = settled.clone();
    // The other two slots have no pod, and nothing happens to them.
    let pod = padded.slots[0].pod.clone();
    (padded.slots[1].pod, padded.slots[2].pod) = (pod.clone(), pod);
    let mut world = world_in(&padded, [plight, Well, Well], leads_not);
    (world.slots[1].pod, world.slots[2].pod) = (None, None);
    world
}

#[test]
fn a_pod_with_a_low_ordinal_that_cannot_be_scheduled_is_helped_before_the_others() {
    let mut world = world_in(&settled_on_old(), [Pending, Well, Well], false);
    world.pass_time();
    for _ in 0..30 {
        if world.slots[0].pod.as_ref().is_some_and(|pod| pod.revision == FIX) {
            break;
        }
        world.reconcile();
        world.pass_time();
        let old = |index: usize| world.slots[index].pod.as_ref().is_some_and(|pod| pod.revision == OLD);
        assert!(old(1) && old(2), "the healthy ones are not touched before");
    }
    world.settle().expect("at rest");
}

#[test]
fn pods_that_can_come_back_as_they_were_are_not_given_a_revision_in_doubt() {
    let mut world = settled_on_old();
    // The new revision runs nowhere, as its first pod shows.
    world
        .images
        .insert(BAD.into(), Behaviour { ill: (0..5).map(|i| (i, Ailment::Crashing)).collect(), leads_not: false });
    world.cluster.spec.image = BAD.into();
    world.go_on(10);
    assert_eq!(world.slots[2].pod.as_ref().map(|pod| pod.revision.as_str()), Some(BAD));
    // A drain then moves another pod, which finds no node for half a minute.
    world.images.entry(OLD.into()).or_default().ill.insert(1, Ailment::Pending);
    world.delete(1);
    world.go_on(3);
    world.images.entry(OLD.into()).or_default().ill.clear();
    world.go_on(5);
    assert_eq!(world.slots[1].pod.as_ref().map(|pod| pod.revision.as_str()), Some(OLD));
    assert!(world.leader.is_some(), "the old revision goes on serving");
}
