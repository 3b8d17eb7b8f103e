//! Effects of plans, carried out as `apply` and chatd would, with assertions on what they must never do.

use super::{Set, World};
use crate::{
    build::CarriedState,
    observed::{NodeId, RaftNode},
    plan::{PlanChore, PlanStep, ReconcilePlan, make_plan},
    quorum::majority,
    status::whole_seconds,
};
use k8s_openapi::apimachinery::pkg::{
    apis::meta::v1::{Condition, Time},
    util::intstr::IntOrString,
};
use quorate_crd::{OperationStatus, condition};
use std::collections::BTreeSet;

impl World {
    /// Observes, plans and carries out the plan.
    pub(super) fn reconcile(&mut self) -> ReconcilePlan {
        let made = make_plan(&self.cluster, &self.observe());
        self.tell(&made);
        for chore in &made.chores {
            self.do_chore(chore);
        }
        self.apply(&made);
        if let Some(step) = &made.step {
            self.take(step);
        }
        made
    }

    fn do_chore(&mut self, chore: &PlanChore) {
        let of_claim = |claim: &String| claim.rsplit('-').next().and_then(|index| index.parse::<usize>().ok());
        let (PlanChore::StampClaim { claim, .. } | PlanChore::RetireClaim { claim, .. }) = chore else { return };
        let index = of_claim(claim).expect("a claim of ours");
        let Some(volume) = &mut self.slots[index].volume else { return };
        match chore {
            PlanChore::StampClaim { cluster_id, node_id, .. } => {
                (volume.stamped, volume.retired) = (Some((cluster_id.clone(), *node_id)), false);
            }
            _ => volume.retired = true,
        }
    }

    /// Updates what the status keeps from one reconcile to the next.
    fn tell(&mut self, made: &ReconcilePlan) {
        let now = Time(whole_seconds(self.now));
        let old = self.previous.operation.take();
        self.previous.operation = made.operation.as_ref().map(|operation| OperationStatus {
            r#type: operation.kind.as_str().into(),
            step: operation.step.as_str().into(),
            member: operation.member.clone(),
            started_at: old
                .filter(|old| old.r#type == operation.kind.as_str() && old.member == operation.member)
                .map_or_else(|| now.clone(), |old| old.started_at),
            progressed_at: None,
            done_pods: None,
            attempts: 0,
            message: operation.message.clone(),
        });
        let status = if self.leader.is_some() { "True" } else { "False" };
        if self.previous.conditions.first().is_none_or(|condition| condition.status != status) {
            self.previous.conditions = vec![Condition {
                type_: condition::AVAILABLE.into(),
                status: status.into(),
                reason: String::new(),
                message: String::new(),
                observed_generation: None,
                last_transition_time: now,
            }];
        }
    }

    fn apply(&mut self, made: &ReconcilePlan) {
        let Some(resources) = &made.resources else { return };
        let budget = resources.disruption_budget.clone().and_then(|budget| budget.spec);
        self.spares = budget.and_then(|spec| match spec.max_unavailable {
            Some(IntOrString::Int(most)) => Some(most),
            _ => None,
        });
        let spec = resources.stateful_set.spec.clone().expect("a spec");
        let strategy = spec.update_strategy.expect("a strategy");
        let on_delete = strategy.type_.as_deref() == Some("OnDelete");
        let partition = strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or_default();
        let replicas = usize::try_from(spec.replicas.expect("replicas")).expect("small");
        let image = spec.template.spec.expect("a pod").containers[0].image.clone().expect("an image");
        let current = self.set.as_ref().map_or_else(|| image.clone(), |set| set.current.clone());
        let recorded = match self.templates.get(&image) {
            Some(recorded) => recorded.clone(),
            None => crate::build::choose_template(&self.cluster, None).record(),
        };
        self.templates.insert(image.clone(), recorded.clone());
        let carried = CarriedState {
            recorded: Some(recorded),
            claim_templates: spec.volume_claim_templates.map(|claims| serde_json::to_value(claims).expect("JSON")),
            ..CarriedState::default()
        };
        let partition = usize::try_from(partition).expect("small");
        self.set = Some(Set { replicas, partition, on_delete, current, update: image, carried });
        self.scale_down();
    }

    fn take(&mut self, step: &PlanStep) {
        match step.clone() {
            PlanStep::CreateMarker(marker) => {
                assert!(self.marker.is_none(), "create, not apply");
                self.marker = Some(marker);
            }
            PlanStep::UpdateMarker(marker) => self.marker = Some(marker),
            PlanStep::Initialize { cluster_id, voters, .. } => self.initialize(&cluster_id, &voters),
            PlanStep::AddLearner { node, .. } => {
                self.learners.insert(node.id);
                self.names.insert(node.id, node.name);
            }
            PlanStep::ChangeMembership { voters, expected, remove_learners, .. } => {
                assert_eq!(expected, self.voters, "compare and swap");
                self.change_voters(voters, &remove_learners);
            }
            PlanStep::TransferLeader { to, .. } => {
                assert!(self.voters.contains(&to) && self.following().contains(&to), "to a voter that keeps up");
                self.hand_over(to);
            }
            PlanStep::SetPartition(_) | PlanStep::RenewOnDelete => {}
            PlanStep::ReplacePod { pod, uid } => {
                let index = self.index(&pod);
                let found = self.slots[index].pod.as_ref().expect("the pod that was seen");
                assert_eq!(found.uid.to_string(), uid);
                assert!(
                    self.slots[index].volume.as_ref().is_none_or(|volume| volume.doomed_since.is_none()),
                    "no volume goes by a rollout: {self:#?}"
                );
                self.assert_spared(index);
                self.delete(index);
            }
            PlanStep::DeletePod { pod, .. } => {
                let index = self.index(&pod);
                let gone = BTreeSet::from([self.node(index)]);
                assert!(self.keeps_majority(&gone), "a deleted pod must be spared: {self:#?}");
                assert_ne!(self.leader, Some(self.node(index)), "leadership is moved first");
                self.delete(index);
            }
        }
    }

    /// Asserts that the pod may be deleted: nobody needs it, or a majority goes on without it.
    pub(super) fn assert_spared(&self, index: usize) {
        let Some(leader) = self.leader.filter(|_| self.runs(index) && self.voters.len() > 1) else { return };
        let gone = BTreeSet::from([self.node(index)]);
        assert_ne!(leader, self.node(index), "leadership is moved first: {self:#?}");
        assert!(
            self.keeps_majority(&gone) || !self.voters.contains(&self.node(index)),
            "a restarted pod must be spared: {self:#?}"
        );
    }

    fn change_voters(&mut self, voters: BTreeSet<NodeId>, remove_learners: &BTreeSet<NodeId>) {
        let added: BTreeSet<_> = voters.difference(&self.voters).copied().collect();
        let gone: BTreeSet<_> = self.voters.difference(&voters).copied().collect();
        assert!(added.len() <= 1 && gone.len() <= 1, "one at a time: {added:?} {gone:?}");
        assert!(added.iter().all(|id| self.learners.contains(id)), "only learners are promoted");
        assert!(voters.len() <= self.voters.len().max(self.replicas()), "never a fourth of three: {voters:?}");
        assert!(self.keeps_majority(&BTreeSet::new()), "the old voters must be able to agree");
        let able = voters.intersection(&self.following()).count();
        assert!(able >= majority(voters.len()), "the new voters must be able to agree");
        for index in 0..self.replicas() {
            assert!(!(gone.contains(&self.node(index)) && self.runs(index)), "no vote of a living slot is taken");
        }
        self.learners.retain(|id| !voters.contains(id) && !remove_learners.contains(id));
        self.names.retain(|id, _| !gone.contains(id) && !remove_learners.contains(id));
        for slot in &mut self.slots {
            if let Some(volume) = slot.volume.as_mut().filter(|volume| gone.contains(&volume.node)) {
                volume.behind = 3;
            }
        }
        if self.leader.is_some_and(|leader| gone.contains(&leader)) {
            self.leader = None;
        }
        self.voters = voters;
    }

    fn initialize(&mut self, cluster_id: &str, voters: &[RaftNode]) {
        let marker = self.marker.as_ref().expect("the marker comes first");
        assert_eq!(marker.cluster_id, cluster_id);
        assert!(!marker.initialized);
        let volumes = || self.slots.iter().filter_map(|slot| slot.volume.as_ref());
        assert!(volumes().all(|volume| volume.cluster_id.is_none()), "all must be empty");
        self.made += 1;
        self.voters = voters.iter().map(|node| node.id).collect();
        self.names = voters.iter().map(|node| (node.id, node.name.clone())).collect();
        for volume in self.slots.iter_mut().filter_map(|slot| slot.volume.as_mut()) {
            volume.cluster_id = Some(cluster_id.to_owned());
            volume.behind = 0;
        }
    }
}
