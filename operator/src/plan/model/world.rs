//! State of the model: slots with pods and volumes, a Raft membership, and one StatefulSet.

use crate::{
    build::{CarriedState, RecordedTemplate},
    cluster::ValidCluster,
    fixture, names,
    observed::{ClusterMarker, NodeId},
    plan::make_plan,
    quorum::majority,
};
use jiff::Timestamp;
use quorate_crd::ChatClusterStatus;
use std::collections::{BTreeMap, BTreeSet};

/// Image that runs well everywhere, as does every image without a [`Behaviour`].
pub(super) const GOOD: &str = "localhost/quorate:dev";

/// Reason why a pod of some image does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ailment {
    /// The API server refuses the pod, because of a quota or a webhook.
    Absent,
    /// No node accepts the pod.
    Pending,
    /// The container crashes again and again.
    Crashing,
}

/// Behaviour of the pods of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Behaviour {
    /// Ordinals at which the pods do not run, and why.
    pub(super) ill: BTreeMap<usize, Ailment>,
    /// `true` if the pods never become leader, as with election timeouts of minutes.
    pub(super) leads_not: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) node: NodeId,
    pub(super) cluster_id: Option<String>,
    pub(super) stamped: Option<(String, NodeId)>,
    pub(super) retired: bool,
    /// Number of rounds until the node has caught up.
    pub(super) behind: u32,
    pub(super) doomed_since: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) uid: u64,
    pub(super) revision: String,
    /// Number of rounds until the pod answers.
    pub(super) starting: u32,
    /// `true` once the node has caught up.
    pub(super) ready: bool,
    /// `true` if the pod was asked to end and its node has not confirmed that it has.
    pub(super) terminating: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ModelSlot {
    pub(super) pod: Option<Pod>,
    pub(super) volume: Option<Volume>,
    /// `true` if the node is lost: the pod neither answers nor ends.
    pub(super) node_lost: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) replicas: usize,
    pub(super) partition: usize,
    pub(super) on_delete: bool,
    pub(super) current: String,
    pub(super) update: String,
    pub(super) carried: CarriedState,
}

/// Templates by image, each built only once because every round needs them.
pub(super) type Templates = BTreeMap<String, RecordedTemplate>;

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) cluster: ValidCluster,
    pub(super) now: Timestamp,
    pub(super) next: u64,
    pub(super) images: BTreeMap<String, Behaviour>,
    pub(super) slots: Vec<ModelSlot>,
    pub(super) marker: Option<ClusterMarker>,
    pub(super) voters: BTreeSet<NodeId>,
    pub(super) learners: BTreeSet<NodeId>,
    pub(super) names: BTreeMap<NodeId, String>,
    pub(super) leader: Option<NodeId>,
    pub(super) term: u64,
    pub(super) set: Option<Set>,
    /// Status as last reported: since when there is no leader, and what has been waited for since when.
    pub(super) previous: ChatClusterStatus,
    pub(super) spares: Option<i32>,
    pub(super) templates: Templates,
    pub(super) made: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The pod ends and comes back with its volume.
    Restart(usize),
    /// The claim is deleted, then the pod.
    LoseVolume(usize),
    /// Somebody deletes the claim but not the pod.
    DoomClaim(usize),
    /// Another voter is elected.
    Elect(usize),
    /// The spec changes to an image that runs everywhere.
    NewImage(u8),
    /// The spec changes to an image that does not run at some ordinals, or that elects no leader.
    BadImage(u8, usize),
    /// All pods end at once.
    RestartAll,
    /// A node is lost, with its pod.
    LoseNode(usize),
    /// All nodes are back.
    NodesBack,
    /// The ChatCluster is deleted and recreated with another number of replicas.
    Recreate(i32),
}

impl World {
    pub(super) fn new(replicas: i32) -> Self {
        let mut cluster = fixture::cluster();
        cluster.spec.replicas = replicas;
        cluster.spec.image = GOOD.into();
        Self {
            cluster,
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            next: 100,
            images: BTreeMap::new(),
            slots: vec![ModelSlot::default(); 5],
            marker: None,
            voters: BTreeSet::new(),
            learners: BTreeSet::new(),
            names: BTreeMap::new(),
            leader: None,
            term: 0,
            set: None,
            previous: ChatClusterStatus::default(),
            spares: None,
            templates: Templates::new(),
            made: 0,
        }
    }

    pub(super) fn settled(replicas: i32) -> Self {
        let mut world = Self::new(replicas);
        world.settle().expect("at rest");
        world
    }

    pub(super) fn replicas(&self) -> usize {
        usize::try_from(self.cluster.spec.replicas).expect("small")
    }

    pub(super) fn name(&self, index: usize) -> String {
        names::pod_name(&self.cluster.name, i32::try_from(index).expect("small"))
    }

    pub(super) fn index(&self, pod: &str) -> usize {
        usize::try_from(names::pod_ordinal(&self.cluster.name, pod).expect("a pod of ours")).expect("small")
    }

    pub(super) fn node(&self, index: usize) -> NodeId {
        self.slots[index].volume.as_ref().map_or(0, |volume| volume.node)
    }

    pub(super) fn ailment(&self, image: &str, index: usize) -> Option<Ailment> {
        self.images.get(image).and_then(|behaviour| behaviour.ill.get(&index)).copied()
    }

    /// Returns `true` if the process runs and answers.
    pub(super) fn runs(&self, index: usize) -> bool {
        let slot = &self.slots[index];
        slot.pod.as_ref().is_some_and(|pod| {
            pod.starting == 0 && !pod.terminating && !slot.node_lost && self.ailment(&pod.revision, index).is_none()
        })
    }

    /// Returns `true` if the pod runs, belongs to the cluster and has caught up.
    pub(super) fn keeps_up(&self, index: usize) -> bool {
        let volume = self.slots[index].volume.as_ref();
        self.runs(index) && volume.is_some_and(|volume| volume.cluster_id.is_some() && volume.behind == 0)
    }

    pub(super) fn following(&self) -> BTreeSet<NodeId> {
        (0..self.slots.len()).filter(|index| self.keeps_up(*index)).map(|index| self.node(index)).collect()
    }

    pub(super) fn keeps_majority(&self, without: &BTreeSet<NodeId>) -> bool {
        let left = self.voters.intersection(&self.following()).filter(|id| !without.contains(id)).count();
        left >= majority(self.voters.len())
    }

    pub(super) fn is_whole(&self) -> bool {
        let nodes: BTreeSet<NodeId> = (0..self.replicas()).map(|index| self.node(index)).collect();
        let ready = |slot: &ModelSlot| slot.pod.as_ref().is_some_and(|pod| pod.ready && !pod.terminating);
        let beyond_is_empty = self.slots[self.replicas()..].iter().all(|slot| slot.pod.is_none());
        nodes == self.voters
            && nodes.is_subset(&self.following())
            && self.slots[..self.replicas()].iter().all(ready)
            && beyond_is_empty
            && self.leader.is_some()
            && self.slots.iter().all(|slot| slot.volume.as_ref().is_none_or(|volume| volume.doomed_since.is_none()))
    }

    pub(super) fn is_rolled_out(&self) -> bool {
        self.set.as_ref().is_some_and(|set| {
            !set.on_delete
                && set.replicas == self.replicas()
                && set.partition >= self.replicas()
                && set.current == set.update
                && set.update == self.cluster.spec.image
                && self.slots.iter().filter_map(|slot| slot.pod.as_ref()).all(|pod| pod.revision == set.update)
        })
    }

    /// Runs the model without faults until nothing is left to do, and returns the number of rounds.
    pub(super) fn settle(&mut self) -> Result<u32, String> {
        for round in 0..400 {
            let made = self.reconcile();
            if made.step.is_none() && made.operation.is_none() && self.is_whole() && self.is_rolled_out() {
                return Ok(round);
            }
            if let Some(blocked) = made.blocked {
                return Err(format!("blocked: {blocked:?}"));
            }
            self.pass_time();
        }
        let made = make_plan(&self.cluster, &self.observe());
        Err(format!("not at rest: {:?} {:?}\n{self:#?}", made.step, made.operation))
    }

    pub(super) fn go_on(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.reconcile();
            self.pass_time();
        }
    }
}
