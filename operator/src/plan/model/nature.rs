//! Events outside the operator: pods start and catch up, a leader is elected, the StatefulSet controller creates and
//! restarts pods; and faults, caused by people and machines.

use super::{Ailment, Behaviour, Fault, GOOD, Pod, Volume, World};
use crate::{observed::NodeId, quorum::majority};
use jiff::SignedDuration;
use std::collections::BTreeMap;

impl World {
    pub(super) fn pass_time(&mut self) {
        self.now = self.now.checked_add(SignedDuration::from_secs(10)).expect("a time");
        self.make_pods();
        let cluster_id = self.marker.as_ref().map(|marker| marker.cluster_id.clone());
        for index in 0..self.slots.len() {
            self.pass_time_at(index, cluster_id.as_ref());
        }
        self.elect();
        self.roll();
        self.make_pods();
    }

    fn pass_time_at(&mut self, index: usize, cluster_id: Option<&String>) {
        let runs = self.runs(index);
        let slot = &mut self.slots[index];
        let (Some(pod), Some(volume)) = (&mut slot.pod, &mut slot.volume) else { return };
        pod.starting = pod.starting.saturating_sub(1);
        let receives = self.voters.contains(&volume.node) || self.learners.contains(&volume.node);
        if !(runs && receives && self.leader.is_some()) {
            return;
        }
        if volume.behind > 0 {
            volume.behind -= 1;
            volume.cluster_id = volume.cluster_id.take().or_else(|| cluster_id.cloned());
        }
        pod.ready |= volume.behind == 0;
    }

    fn elect(&mut self) {
        let able: Vec<usize> = (0..self.slots.len())
            .filter(|index| self.keeps_up(*index) && self.voters.contains(&self.node(*index)))
            .collect();
        let candidates: Vec<u64> =
            able.iter().filter(|index| self.may_lead(**index)).map(|index| self.node(*index)).collect();
        if able.len() < majority(self.voters.len()) || self.voters.is_empty() || candidates.is_empty() {
            self.leader = None;
        } else if self.leader.is_none_or(|leader| !candidates.contains(&leader)) {
            self.leader = candidates.first().copied();
            self.term += 1;
        }
    }

    /// Returns `true` if the pod has a revision that is able to lead.
    fn may_lead(&self, index: usize) -> bool {
        let pod = self.slots[index].pod.as_ref();
        pod.is_some_and(|pod| !self.images.get(&pod.revision).is_some_and(|image| image.leads_not))
    }

    /// Transfers leadership to a node, if its pod is able to lead.
    pub(super) fn hand_over(&mut self, to: NodeId) {
        let can = (0..self.slots.len()).any(|index| self.node(index) == to && self.may_lead(index));
        if can {
            self.leader = Some(to);
            self.term += 1;
        }
    }

    /// Creates every missing pod at once, like the StatefulSet controller under `Parallel`.
    fn make_pods(&mut self) {
        let replicas = self.set.as_ref().map_or(0, |set| set.replicas);
        for index in 0..replicas {
            let revision = self.revision_of_new(index);
            let refused = self.ailment(&revision, index) == Some(Ailment::Absent);
            if self.slots[index].pod.is_some() || refused {
                continue;
            }
            self.next += 1;
            let node = self.next;
            let slot = &mut self.slots[index];
            slot.pod = Some(Pod { uid: node, revision, starting: 2, ready: false, terminating: false });
            slot.volume.get_or_insert(Volume {
                node,
                cluster_id: None,
                stamped: None,
                retired: false,
                behind: 3,
                doomed_since: None,
            });
        }
    }

    fn revision_of_new(&self, index: usize) -> String {
        match &self.set {
            Some(set) if set.on_delete || index >= set.partition => set.update.clone(),
            Some(set) => set.current.clone(),
            None => GOOD.into(),
        }
    }

    /// Restarts one pod at a time from the top, like the StatefulSet controller, which knows readiness but no quorum.
    fn roll(&mut self) {
        let Some(set) = self.set.clone().filter(|set| !set.on_delete) else { return };
        for index in (set.partition.min(set.replicas)..set.replicas).rev() {
            let Some(pod) = &self.slots[index].pod else { return };
            if pod.revision != set.update && !pod.terminating {
                self.assert_spared(index);
                self.delete(index);
                return;
            }
            if !(self.runs(index) && self.slots[index].pod.as_ref().is_some_and(|pod| pod.ready)) {
                return;
            }
        }
        let has_it = |index: usize| {
            let pod = self.slots[index].pod.as_ref();
            self.runs(index) && pod.is_some_and(|pod| pod.ready && pod.revision == set.update)
        };
        if (0..set.replicas).all(has_it)
            && let Some(set) = &mut self.set
        {
            set.current = set.update.clone();
        }
    }

    pub(super) fn scale_down(&mut self) {
        let replicas = self.set.as_ref().map_or(0, |set| set.replicas);
        for index in replicas..self.slots.len() {
            if self.slots[index].pod.is_some() {
                assert!(!self.voters.contains(&self.node(index)), "a voter keeps its pod: {self:#?}");
                self.delete(index);
            }
        }
    }

    /// Ends a pod, unless its node is lost. The volume goes with it if the claim is being deleted.
    pub(super) fn delete(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let Some(pod) = &mut slot.pod else { return };
        if pod.terminating || slot.node_lost {
            pod.terminating = true;
            return;
        }
        slot.pod = None;
        if slot.volume.as_ref().is_some_and(|volume| volume.doomed_since.is_some()) {
            slot.volume = None;
        }
    }

    pub(super) fn suffer(&mut self, fault: Fault) {
        let replicas = self.replicas();
        let index = |wanted: usize| wanted % replicas;
        match fault {
            Fault::Restart(wanted) => self.delete(index(wanted)),
            Fault::RestartAll => (0..self.slots.len()).for_each(|index| self.delete(index)),
            // Two lost volumes at a time are lost data, which no plan can repair.
            Fault::LoseVolume(wanted) if self.is_whole() && self.voters.len() > 1 => {
                let index = index(wanted);
                self.doom(index);
                self.delete(index);
            }
            Fault::DoomClaim(wanted) if self.is_whole() && self.voters.len() > 1 => self.doom(index(wanted)),
            Fault::LoseVolume(_) | Fault::DoomClaim(_) => {}
            Fault::Elect(wanted) => {
                let node = self.node(index(wanted));
                if self.leader.is_some() && self.following().contains(&node) && self.voters.contains(&node) {
                    self.hand_over(node);
                }
            }
            Fault::NewImage(number) => self.cluster.spec.image = format!("localhost/quorate:{number}"),
            Fault::BadImage(kind, wanted) => self.break_image(kind, index(wanted)),
            Fault::LoseNode(wanted) => self.slots[index(wanted)].node_lost = true,
            Fault::NodesBack => self.bring_nodes_back(),
            // Only while all volumes are there: otherwise those that are left may be no majority, which needs an
            // administrator.
            Fault::Recreate(replicas) if self.is_whole() => self.recreate(replicas),
            Fault::Recreate(_) => {}
        }
    }

    pub(super) fn doom(&mut self, index: usize) {
        let now = self.now;
        if let Some(volume) = &mut self.slots[index].volume {
            volume.doomed_since = Some(now);
        }
    }

    fn break_image(&mut self, kind: u8, ordinal: usize) {
        let image = format!("localhost/quorate:bad-{kind}-{ordinal}");
        let ill = match kind {
            0 => BTreeMap::new(),
            1 => [(ordinal, Ailment::Pending)].into(),
            2 => [(ordinal, Ailment::Absent)].into(),
            _ => (0..self.slots.len()).map(|index| (index, Ailment::Crashing)).collect(),
        };
        let behaviour = Behaviour { ill, leads_not: kind == 0 };
        self.images.insert(image.clone(), behaviour);
        self.cluster.spec.image = image;
    }

    /// Brings lost nodes back. Pods that were asked to end have ended; the others run again.
    pub(super) fn bring_nodes_back(&mut self) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.node_lost = false;
            match &mut slot.pod {
                Some(pod) if pod.terminating => {
                    pod.terminating = false;
                    self.delete(index);
                }
                Some(_) | None => {}
            }
        }
    }

    /// Deletes the pods and the StatefulSet but keeps volumes and marker, as when the same name is applied again.
    pub(super) fn recreate(&mut self, replicas: i32) {
        for slot in &mut self.slots {
            slot.pod = None;
        }
        self.set = None;
        self.leader = None;
        self.previous = quorate_crd::ChatClusterStatus::default();
        self.cluster.spec.replicas = replicas;
    }
}
