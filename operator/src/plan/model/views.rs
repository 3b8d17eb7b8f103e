//! Observation of the model by the operator.

use super::{Ailment, World};
use crate::{
    names,
    observed::{
        AdminStatus, ClaimView, MemberSlot, ObservedState, PeerTls, PodView, RaftMembership, RaftNode, RaftRole,
        ReplicationProgress, StatefulSetView,
    },
};
use std::time::Duration;

impl World {
    pub(super) fn observe(&self) -> ObservedState {
        let (slots, beyond) = (0..self.slots.len())
            .filter(|index| {
                let slot = &self.slots[*index];
                *index < self.replicas() || slot.pod.is_some() || slot.volume.is_some()
            })
            .map(|index| self.slot(index))
            .partition(|slot| slot.ordinal < self.cluster.spec.replicas);
        ObservedState {
            now: self.now,
            fresh_cluster_id: format!("cluster-{}", self.next),
            marker: self.marker.clone(),
            stateful_set: self.set.as_ref().map(|set| StatefulSetView {
                settled: true,
                replicas: i32::try_from(set.replicas).expect("small"),
                on_delete: set.on_delete,
                partition: i32::try_from(set.partition).expect("small"),
                current_revision: set.current.clone(),
                update_revision: set.update.clone(),
                carried: set.carried.clone(),
            }),
            slots,
            beyond,
            conflicts: Vec::new(),
            configs: Vec::new(),
            peer_tls: PeerTls::Present,
            sight: Default::default(),
            ownership: Vec::new(),
            previous: self.previous.clone(),
        }
    }

    fn slot(&self, index: usize) -> MemberSlot {
        let ordinal = i32::try_from(index).expect("small");
        MemberSlot {
            ordinal,
            name: self.name(index),
            pod: self.pod_view(index),
            claim: self.slots[index].volume.as_ref().map(|volume| ClaimView {
                name: names::claim_name(&self.cluster.name, ordinal),
                cluster_id: volume.stamped.as_ref().map(|(id, _)| id.clone()),
                node_id: volume.stamped.as_ref().map(|(_, node)| *node),
                retired: volume.retired,
                deleting_since: volume.doomed_since,
                requested: 1 << 30,
                capacity: Some(1 << 30),
                ..ClaimView::default()
            }),
            answer: self.runs(index).then(|| self.answer(index)),
            notice: None,
        }
    }

    fn pod_view(&self, index: usize) -> Option<PodView> {
        let slot = &self.slots[index];
        let pod = slot.pod.as_ref()?;
        let trouble = self.ailment(&pod.revision, index).filter(|_| !pod.terminating && !slot.node_lost);
        Some(PodView {
            uid: pod.uid.to_string(),
            address: Some("10.0.0.1".into()),
            ready: pod.ready && self.runs(index),
            deleting: pod.terminating,
            revision: pod.revision.clone(),
            trouble: trouble.map(|ailment| match ailment {
                Ailment::Pending => "is not scheduled: no node takes it".into(),
                Ailment::Crashing | Ailment::Absent => "does not start (CrashLoopBackOff)".into(),
            }),
            ..PodView::default()
        })
    }

    fn answer(&self, index: usize) -> AdminStatus {
        let volume = self.slots[index].volume.as_ref().expect("a pod that runs has a volume");
        let leads = self.leader == Some(volume.node);
        let progress = (0..self.slots.len()).filter(|_| leads).filter_map(|peer| {
            let volume = self.slots[peer].volume.as_ref()?;
            let lag = if volume.behind > 0 { 10_000 } else { 0 };
            let heard = self.runs(peer);
            let contact = heard.then_some(Duration::ZERO);
            Some((volume.node, ReplicationProgress { matched: u64::from(heard), lag, contact }))
        });
        AdminStatus {
            node: RaftNode { id: volume.node, name: self.name(index), ..RaftNode::default() },
            cluster_id: volume.cluster_id.clone(),
            empty: volume.cluster_id.is_none(),
            role: if leads { RaftRole::Leader } else { RaftRole::Follower },
            term: self.term,
            leader: self.leader.unwrap_or_default(),
            membership: self.membership(),
            quorum_ack: leads.then_some(Duration::ZERO),
            progress: progress.collect(),
            ready: self.slots[index].pod.as_ref().is_some_and(|pod| pod.ready),
            ..AdminStatus::default()
        }
    }

    fn membership(&self) -> RaftMembership {
        let node = |(id, name): (&u64, &String)| (*id, RaftNode { id: *id, name: name.clone(), ..RaftNode::default() });
        RaftMembership {
            voter_sets: if self.voters.is_empty() { vec![] } else { vec![self.voters.clone()] },
            learners: self.learners.clone(),
            nodes: self.names.iter().map(node).collect(),
        }
    }
}
