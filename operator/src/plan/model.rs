//! A small model of a cluster, in which plans are carried out among faults, and the claims of the module head are tried:
//! plans come to rest, a cluster is made once, and no step takes a healthy majority away.

use super::{Chore, Plan, Step, plan};
use crate::{
    cluster::Cluster,
    fixture, names,
    observed::{
        ClaimView, Door, Marker, Membership, Node, NodeId, Observed, PeerTls, PodView, Progress, Role, Slot,
        StatefulSetView,
    },
    quorum::majority,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::{collections::BTreeSet, time::Duration};

/// One pod and its volume.
#[derive(Clone, Debug)]
struct Pod {
    uid: u64,
    node: NodeId,
    cluster_id: Option<String>,
    stamped: Option<String>,
    revision: String,
    /// Rounds until it answers; a pod that was just made answers later.
    starting: u32,
    /// Rounds until it has caught up.
    behind: u32,
    doomed_since: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct World {
    cluster: Cluster,
    now: Timestamp,
    next: u64,
    pods: Vec<Pod>,
    marker: Option<Marker>,
    voters: BTreeSet<NodeId>,
    learners: BTreeSet<NodeId>,
    names: Vec<(NodeId, String)>,
    leader: Option<NodeId>,
    term: u64,
    set: Option<Set>,
    made: u32,
}

#[derive(Clone, Debug)]
struct Set {
    partition: i32,
    current: String,
    update: String,
    carried: crate::build::Carried,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The pod ends and comes back with its volume.
    Restart(usize),
    /// The claim goes, then the pod.
    LoseVolume(usize),
    /// Somebody deletes the claim and not the pod.
    DoomClaim(usize),
    /// Another voter is elected.
    Elect(usize),
    /// The spec changes.
    NewImage(u8),
    /// All pods end.
    RestartAll,
}

impl World {
    fn new(replicas: i32) -> Self {
        let mut cluster = fixture::cluster();
        cluster.spec.replicas = replicas;
        let mut world = Self {
            cluster,
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            next: 100,
            pods: Vec::new(),
            marker: None,
            voters: BTreeSet::new(),
            learners: BTreeSet::new(),
            names: Vec::new(),
            leader: None,
            term: 0,
            set: None,
            made: 0,
        };
        world.pods = (0..replicas).map(|_| world.fresh_pod("r1".into())).collect();
        world
    }

    fn fresh_pod(&mut self, revision: String) -> Pod {
        self.next += 1;
        let node = self.next;
        Pod { uid: node, node, cluster_id: None, stamped: None, revision, starting: 2, behind: 3, doomed_since: None }
    }

    fn name(&self, index: usize) -> String {
        names::pod(&self.cluster.name, i32::try_from(index).expect("small"))
    }

    /// Serves and has caught up.
    fn healthy(&self) -> BTreeSet<NodeId> {
        let serves = |pod: &&Pod| pod.starting == 0 && pod.behind == 0 && pod.cluster_id.is_some();
        self.pods.iter().filter(serves).map(|pod| pod.node).collect()
    }

    fn keeps_majority(&self, without: &BTreeSet<NodeId>) -> bool {
        let left = self.voters.intersection(&self.healthy()).filter(|id| !without.contains(id)).count();
        left >= majority(self.voters.len())
    }

    fn is_whole(&self) -> bool {
        let nodes: BTreeSet<NodeId> = self.pods.iter().map(|pod| pod.node).collect();
        nodes == self.voters && self.healthy() == nodes && self.leader.is_some()
    }

    fn observe(&self) -> Observed {
        let slots = (0..self.pods.len()).map(|index| self.slot(index)).collect();
        Observed {
            now: self.now,
            fresh_cluster_id: format!("cluster-{}", self.next),
            marker: self.marker.clone(),
            stateful_set: self.set.as_ref().map(|set| StatefulSetView {
                settled: true,
                partition: set.partition,
                current_revision: set.current.clone(),
                update_revision: set.update.clone(),
                carried: set.carried.clone(),
            }),
            slots,
            conflicts: Vec::new(),
            configs: Vec::new(),
            peer_tls: PeerTls::Present,
            sight: Default::default(),
            ownership: Vec::new(),
            previous: Default::default(),
        }
    }

    fn slot(&self, index: usize) -> Slot {
        let pod = &self.pods[index];
        let ready = pod.starting == 0 && pod.cluster_id.is_some() && pod.behind == 0;
        let ordinal = i32::try_from(index).expect("small");
        Slot {
            ordinal,
            name: self.name(index),
            pod: Some(PodView {
                uid: pod.uid.to_string(),
                address: Some("10.0.0.1".into()),
                ready,
                revision: pod.revision.clone(),
                ..PodView::default()
            }),
            claim: Some(ClaimView {
                name: names::claim(&self.cluster.name, ordinal),
                cluster_id: pod.stamped.clone(),
                deleting_since: pod.doomed_since,
                requested: 1 << 30,
                capacity: Some(1 << 30),
                ..ClaimView::default()
            }),
            door: (pod.starting == 0).then(|| self.door(index, ready)),
            notice: None,
        }
    }

    fn door(&self, index: usize, ready: bool) -> Door {
        let pod = &self.pods[index];
        let leads = self.leader == Some(pod.node);
        let progress = self.pods.iter().filter(|_| leads).map(|peer| {
            let lag = if peer.behind > 0 { 10_000 } else { 0 };
            let heard = peer.starting == 0;
            (peer.node, Progress { matched: u64::from(heard), lag, contact: heard.then_some(Duration::ZERO) })
        });
        Door {
            node: Node { id: pod.node, name: self.name(index), ..Node::default() },
            cluster_id: pod.cluster_id.clone(),
            empty: pod.cluster_id.is_none(),
            role: if leads { Role::Leader } else { Role::Follower },
            term: self.term,
            leader: self.leader.unwrap_or_default(),
            membership: self.membership(),
            quorum_ack: leads.then_some(Duration::ZERO),
            progress: progress.collect(),
            ready,
            ..Door::default()
        }
    }

    fn membership(&self) -> Membership {
        let node = |(id, name): &(NodeId, String)| (*id, Node { id: *id, name: name.clone(), ..Node::default() });
        Membership {
            voter_sets: if self.voters.is_empty() { vec![] } else { vec![self.voters.clone()] },
            learners: self.learners.clone(),
            nodes: self.names.iter().map(node).collect(),
        }
    }

    /// Looks, plans, and carries out as apply and chatd would.
    fn reconcile(&mut self) -> Plan {
        let made = plan(&self.cluster, &self.observe());
        for chore in &made.chores {
            if let Chore::StampClaim { claim, cluster_id, .. } = chore {
                let index = (0..self.pods.len()).find(|index| claim.ends_with(&format!("-{index}"))).expect("a slot");
                self.pods[index].stamped = Some(cluster_id.clone());
            }
        }
        self.apply_stateful_set(&made);
        if let Some(step) = &made.step {
            self.take(step);
        }
        made
    }

    fn apply_stateful_set(&mut self, made: &Plan) {
        let Some(resources) = &made.resources else { return };
        let applied = resources.stateful_set.clone();
        let spec = applied.spec.clone().expect("a spec");
        let partition =
            spec.update_strategy.and_then(|s| s.rolling_update).and_then(|r| r.partition).expect("partition");
        let image = spec.template.spec.expect("a pod").containers[0].image.clone().expect("an image");
        let recorded = crate::build::template(&self.cluster, None).record();
        let old = self.set.clone();
        let current = old.as_ref().map_or_else(|| image.clone(), |set| set.current.clone());
        if old.is_none() {
            self.pods.iter_mut().for_each(|pod| pod.revision.clone_from(&image));
        }
        let carried = crate::build::Carried {
            recorded: Some(recorded),
            claim_templates: spec.volume_claim_templates,
            partition: None,
        };
        self.set = Some(Set { partition, current, update: image, carried });
    }

    fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::CreateMarker(marker) => {
                assert!(self.marker.is_none(), "create, not apply");
                self.marker = Some(marker);
            }
            Step::UpdateMarker(marker) => self.marker = Some(marker),
            Step::Initialize { cluster_id, voters, .. } => self.initialize(cluster_id, &voters),
            Step::AddLearner { node, .. } => {
                self.learners.insert(node.id);
                self.names.push((node.id, node.name));
            }
            Step::ChangeMembership { voters, expected, remove_learners, .. } => {
                assert_eq!(expected, self.voters, "compare and swap");
                let added: Vec<_> = voters.difference(&self.voters).collect();
                assert!(added.len() <= 1, "one at a time: {step:?}");
                assert!(added.iter().all(|id| self.learners.contains(id)), "only learners are promoted");
                assert!(voters.len() <= self.pods.len(), "never four voters: {step:?}");
                assert!(self.keeps_majority(&BTreeSet::new()), "the old voters must be able to agree");
                let healthy = voters.intersection(&self.healthy()).count() + added.len();
                assert!(healthy >= majority(voters.len()), "the new voters must be able to agree");
                self.learners.retain(|id| !voters.contains(id) && !remove_learners.contains(id));
                let gone: BTreeSet<_> = self.voters.difference(&voters).copied().collect();
                self.names.retain(|(id, _)| !gone.contains(id) && !remove_learners.contains(id));
                self.voters = voters;
                let joined = added_pods(&self.pods, &self.voters);
                let id = self.marker.as_ref().expect("a marker").cluster_id.clone();
                joined.into_iter().for_each(|index| self.pods[index].cluster_id = Some(id.clone()));
            }
            Step::TransferLeader { to, .. } => {
                assert!(self.voters.contains(&to) && self.healthy().contains(&to), "to a healthy voter");
                self.leader = Some(to);
                self.term += 1;
            }
            Step::SetPartition(_) => {}
            Step::DeletePod { pod, .. } => {
                let index = (0..self.pods.len()).find(|index| self.name(*index) == pod).expect("a slot");
                let gone = BTreeSet::from([self.pods[index].node]);
                assert!(self.keeps_majority(&gone), "a deleted pod must be spared: {self:#?}");
                assert_ne!(self.leader, Some(self.pods[index].node), "leadership is moved first");
                self.end(index);
            }
        }
    }

    fn initialize(&mut self, cluster_id: String, voters: &[Node]) {
        let marker = self.marker.as_ref().expect("the marker comes first");
        assert_eq!(marker.cluster_id, cluster_id);
        assert!(!marker.initialized);
        assert!(self.pods.iter().all(|pod| pod.cluster_id.is_none()), "all must be empty");
        self.made += 1;
        self.voters = voters.iter().map(|node| node.id).collect();
        self.names = voters.iter().map(|node| (node.id, node.name.clone())).collect();
        for pod in &mut self.pods {
            pod.cluster_id = Some(cluster_id.clone());
            pod.behind = 0;
        }
    }

    /// The pod ends; the StatefulSet controller makes its successor.
    fn end(&mut self, index: usize) {
        let revision = self.revision_of_new(index);
        if self.pods[index].doomed_since.is_some() {
            self.pods[index] = self.fresh_pod(revision);
            return;
        }
        self.next += 1;
        let pod = &mut self.pods[index];
        pod.uid = self.next;
        pod.starting = 2;
        pod.revision = revision;
    }

    fn revision_of_new(&self, index: usize) -> String {
        let index = i32::try_from(index).expect("small");
        match &self.set {
            Some(set) if index >= set.partition => set.update.clone(),
            Some(set) => set.current.clone(),
            None => "r1".into(),
        }
    }

    /// What happens by itself: pods start and catch up, a leader is elected, the StatefulSet controller restarts.
    fn pass_time(&mut self) {
        self.now = self.now.checked_add(SignedDuration::from_secs(10)).expect("a time");
        let receives: BTreeSet<NodeId> = self.voters.union(&self.learners).copied().collect();
        let leads = self.leader.is_some();
        let id = self.marker.as_ref().map(|marker| marker.cluster_id.clone());
        for pod in &mut self.pods {
            if pod.starting > 0 {
                pod.starting -= 1;
            } else if receives.contains(&pod.node) && leads && pod.behind > 0 {
                pod.behind -= 1;
                pod.cluster_id = pod.cluster_id.take().or_else(|| id.clone());
            }
        }
        let can_lead: BTreeSet<NodeId> = self.healthy().intersection(&self.voters).copied().collect();
        let majority = can_lead.len() >= majority(self.voters.len()) && !self.voters.is_empty();
        if !majority {
            self.leader = None;
        } else if self.leader.is_none_or(|leader| !can_lead.contains(&leader)) {
            self.leader = can_lead.first().copied();
            self.term += 1;
        }
        self.roll();
    }

    /// One pod at a time from the top, as the StatefulSet controller does: it knows readiness and no quorum.
    fn roll(&mut self) {
        let Some(set) = self.set.clone() else { return };
        for index in (0..self.pods.len()).rev() {
            if i32::try_from(index).expect("small") < set.partition {
                break;
            }
            if self.pods[index].revision != set.update {
                let gone = BTreeSet::from([self.pods[index].node]);
                let initialised = self.marker.as_ref().is_some_and(|marker| marker.initialized);
                let single = self.pods.len() == 1;
                assert!(
                    !initialised
                        || single
                        || self.keeps_majority(&gone)
                        || !self.healthy().contains(&self.pods[index].node),
                    "a restarted pod must be spared: {self:#?}"
                );
                self.end(index);
                return;
            }
            if self.pods[index].starting > 0 {
                return;
            }
        }
        if self.pods.iter().all(|pod| pod.revision == set.update && pod.starting == 0)
            && let Some(set) = &mut self.set
        {
            set.current = set.update.clone();
        }
    }

    fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Restart(index) => self.end(index % self.pods.len()),
            Fault::RestartAll => (0..self.pods.len()).for_each(|index| self.end(index)),
            // Two lost volumes at a time are lost data, which no plan can mend.
            Fault::LoseVolume(index) if self.is_whole() && self.pods.len() > 1 && self.nobody_doomed() => {
                let index = index % self.pods.len();
                self.pods[index].doomed_since = Some(self.now);
                self.end(index);
            }
            Fault::DoomClaim(index) if self.is_whole() && self.pods.len() > 1 && self.nobody_doomed() => {
                let index = index % self.pods.len();
                self.pods[index].doomed_since = Some(self.now);
            }
            Fault::LoseVolume(_) | Fault::DoomClaim(_) => {}
            Fault::Elect(index) => {
                let id = self.pods[index % self.pods.len()].node;
                if self.leader.is_some() && self.healthy().contains(&id) && self.voters.contains(&id) {
                    self.leader = Some(id);
                    self.term += 1;
                }
            }
            Fault::NewImage(number) => self.cluster.spec.image = format!("localhost/quorate:{number}"),
        }
    }

    fn nobody_doomed(&self) -> bool {
        self.pods.iter().all(|pod| pod.doomed_since.is_none())
    }

    /// Lets things go on without faults until nothing is left to do.
    fn settle(&mut self) -> Result<u32, String> {
        for round in 0..400 {
            let made = self.reconcile();
            let at_rest = made.step.is_none()
                && made.operation.is_none()
                && self.is_whole()
                && self.nobody_doomed()
                && self
                    .set
                    .as_ref()
                    .is_some_and(|set| set.partition == self.cluster.spec.replicas && set.current == set.update)
                && self.pods.iter().all(|pod| Some(&pod.revision) == self.set.as_ref().map(|set| &set.update));
            if at_rest {
                return Ok(round);
            }
            if let Some(blocked) = made.blocked {
                return Err(format!("blocked: {blocked:?}"));
            }
            self.pass_time();
        }
        Err(format!("not at rest: {:?}\n{self:#?}", plan(&self.cluster, &self.observe())))
    }
}

fn added_pods(pods: &[Pod], voters: &BTreeSet<NodeId>) -> Vec<usize> {
    (0..pods.len()).filter(|index| voters.contains(&pods[*index].node) && pods[*index].cluster_id.is_none()).collect()
}

fn faults() -> impl Strategy<Value = Vec<(Fault, u8)>> {
    let fault = prop_oneof![
        (0..9_usize).prop_map(Fault::Restart),
        (0..9_usize).prop_map(Fault::LoseVolume),
        (0..9_usize).prop_map(Fault::DoomClaim),
        (0..9_usize).prop_map(Fault::Elect),
        (0..3_u8).prop_map(Fault::NewImage),
        Just(Fault::RestartAll),
    ];
    prop::collection::vec((fault, 0..12_u8), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_come_to_rest_and_never_take_a_majority_away(
        replicas in prop_oneof![Just(1), Just(3), Just(5)],
        faults in faults(),
    ) {
        let mut world = World::new(replicas);
        for (fault, rounds) in faults {
            for _ in 0..rounds {
                world.reconcile();
                world.pass_time();
            }
            world.suffer(fault);
        }
        let settled = world.settle();
        prop_assert!(settled.is_ok(), "{}", settled.unwrap_err());
        prop_assert_eq!(world.made, 1, "a cluster is made exactly once");
    }
}

#[test]
fn a_quiet_cluster_is_made_and_left_alone() {
    let mut world = World::new(3);
    world.settle().expect("at rest");
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
    let mut world = World::new(3);
    world.settle().expect("at rest");
    for index in [1, 0] {
        let old = world.pods[index].node;
        world.suffer(Fault::LoseVolume(index));
        world.settle().expect("at rest");
        assert!(!world.voters.contains(&old) && world.voters.len() == 3);
    }
    assert_eq!(world.made, 1);
}

#[test]
fn a_claim_deleted_under_a_running_pod_ends_in_a_fresh_member() {
    let mut world = World::new(3);
    world.settle().expect("at rest");
    let leader = world.pods.iter().position(|pod| Some(pod.node) == world.leader).expect("a leader");
    let old = world.pods[leader].node;
    world.suffer(Fault::DoomClaim(leader));
    world.settle().expect("at rest");
    assert!(!world.voters.contains(&old));
}

#[test]
fn all_volumes_lost_is_for_a_person() {
    let mut world = World::new(3);
    world.settle().expect("at rest");
    for index in 0..3 {
        world.pods[index].doomed_since = Some(world.now);
        world.end(index);
    }
    let error = world.settle().expect_err("nothing can be mended");
    assert!(error.contains("DataLost"), "{error}");
    assert_eq!(world.made, 1);
}

#[test]
fn a_marker_that_was_lost_is_written_again_and_no_cluster_is_made() {
    let mut world = World::new(3);
    world.settle().expect("at rest");
    let id = world.marker.take().map(|marker| marker.cluster_id);
    world.settle().expect("at rest");
    assert_eq!(world.marker.clone().map(|marker| marker.cluster_id), id);
    assert_eq!(world.made, 1);
}

#[test]
fn a_stamped_claim_with_an_empty_volume_makes_no_cluster() {
    let mut world = World::new(3);
    world.pods[1].stamped = Some("of-old".into());
    let error = world.settle().expect_err("for a person");
    assert!(error.contains("DataLost") && error.contains("of-old"), "{error}");
    assert_eq!(world.made, 0);
}

#[test]
fn a_crash_between_name_and_members_repeats_the_order() {
    let mut world = World::new(3);
    while !matches!(plan(&world.cluster, &world.observe()).step, Some(Step::Initialize { .. })) {
        world.reconcile();
        world.pass_time();
    }
    let id = world.marker.clone().expect("a marker").cluster_id;
    // The pod has taken the id, and crashed before it had members.
    world.pods[1].cluster_id = Some(id.clone());
    let step = plan(&world.cluster, &world.observe()).step;
    assert!(
        matches!(&step, Some(Step::Initialize { pod, cluster_id, .. }) if pod == "team-1" && *cluster_id == id),
        "{step:?}"
    );
    // Another's volume is replaced at that very moment: the id stays, because team-1 would refuse another.
    world.pods[2] = world.fresh_pod("r1".into());
    world.pods[2].starting = 0;
    let step = plan(&world.cluster, &world.observe()).step;
    assert!(
        matches!(&step, Some(Step::UpdateMarker(marker)) if marker.cluster_id == id && !marker.initialized),
        "{step:?}"
    );
}

#[test]
fn a_volume_of_another_cluster_is_named() {
    let mut world = World::new(3);
    world.settle().expect("at rest");
    world.pods[2].cluster_id = Some("of-others".into());
    let made = plan(&world.cluster, &world.observe());
    let blocked = made.blocked.expect("blocked");
    assert_eq!(blocked.reason, "ForeignVolume");
    assert!(blocked.message.contains("team-2") && blocked.message.contains("of-others"), "{}", blocked.message);
    assert_eq!(made.step, None);
}

#[test]
fn a_paused_cluster_is_not_touched() {
    let mut world = World::new(3);
    world.settle().expect("at rest");
    world.suffer(Fault::LoseVolume(1));
    world.cluster.spec.paused = true;
    for _ in 0..10 {
        let made = world.reconcile();
        assert!(made.step.is_none() && made.chores.is_empty() && made.resources.is_none());
        world.pass_time();
    }
}

#[test]
fn a_foreign_object_stops_everything() {
    let world = World::new(3);
    let observed = Observed { conflicts: vec!["Service/team".into()], ..world.observe() };
    let made = plan(&world.cluster, &observed);
    assert_eq!(made.blocked.map(|blocked| blocked.reason), Some("NameConflict"));
    assert!(made.resources.is_none() && made.step.is_none() && made.chores.is_empty());
}
