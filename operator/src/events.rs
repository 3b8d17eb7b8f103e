//! Kubernetes events about a ChatCluster, for `kubectl describe`.

use crate::{
    apply::ApplyOutcome,
    plan::{BlockedReason, PlanStep},
    status::PlanOutcome,
    words,
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource as _,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use quorate_crd::{ChatCluster, ChatClusterStatus};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for the API server to accept one event. Only the next reconcile waits for it.
const PUBLISH: Duration = Duration::from_secs(5);

/// Machine-readable reason of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventReason {
    AddingLearner,
    Blocked(BlockedReason),
    ChangingVoters,
    ClusterIdChosen,
    ClusterMade,
    Initializing,
    LeaderElected,
    LeaderLost,
    ObjectRefused,
    ReplacingPod,
    RollingOut,
    TransferringLeader,
    Unreadable,
}

impl EventReason {
    /// Returns the reason as it stands in the event.
    fn as_str(self) -> &'static str {
        match self {
            Self::AddingLearner => "AddingLearner",
            Self::Blocked(reason) => reason.as_str(),
            Self::ChangingVoters => "ChangingVoters",
            Self::ClusterIdChosen => "ClusterIdChosen",
            Self::ClusterMade => "ClusterMade",
            Self::Initializing => "Initializing",
            Self::LeaderElected => "LeaderElected",
            Self::LeaderLost => "LeaderLost",
            Self::ObjectRefused => "ObjectRefused",
            Self::ReplacingPod => "ReplacingPod",
            Self::RollingOut => "RollingOut",
            Self::TransferringLeader => "TransferringLeader",
            Self::Unreadable => "Unreadable",
        }
    }
}

/// Recorder of Kubernetes events.
#[derive(Clone)]
pub struct EventPublisher(Recorder);

impl EventPublisher {
    /// Creates a recorder with the name of this process as the reporting instance.
    #[must_use]
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: crate::names::MANAGER.to_owned(), instance: Some(instance) };
        Self(Recorder::new(client, reporter))
    }

    /// Writes the events that are worth reporting. Events are for people: one that cannot be written is logged, and no
    /// more.
    pub async fn tell(
        &self,
        object: &ChatCluster,
        old: &ChatClusterStatus,
        new: &ChatClusterStatus,
        applied: &ApplyOutcome,
        outcome: &PlanOutcome,
    ) {
        for event in worth_telling(old, new, applied, outcome) {
            self.publish(&event, &object.object_ref(&())).await;
        }
    }

    /// Reports that an object cannot be read, with the reader's error message.
    pub async fn tell_unreadable(&self, reference: &ObjectReference, words: &str) {
        let note = format!("the operator cannot read this object and leaves it unchanged: {words}");
        self.publish(&new_event(EventType::Warning, EventReason::Unreadable, note), reference).await;
    }

    async fn publish(&self, event: &Event, reference: &ObjectReference) {
        match timeout(PUBLISH, self.0.publish(event, reference)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = words::with_causes(&error), reason = event.reason, "cannot publish an event");
            }
            Err(_) => tracing::debug!(reason = event.reason, "timed out publishing an event"),
        }
    }
}

fn worth_telling(
    old: &ChatClusterStatus,
    new: &ChatClusterStatus,
    applied: &ApplyOutcome,
    outcome: &PlanOutcome,
) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(step) = &applied.step {
        let (reason, note) = describe_step(step);
        events.push(match &applied.failed_step {
            None => new_event(EventType::Normal, reason, note),
            Some(error) => new_event(EventType::Warning, reason, format!("{note}: {}", words::with_causes(error))),
        });
    }
    if let Some(leader) = &new.leader
        && old.leader.as_ref().map(|old| (&old.node_id, old.term)) != Some((&leader.node_id, leader.term))
    {
        events.push(new_event(
            EventType::Normal,
            EventReason::LeaderElected,
            format!("{} was elected leader in term {}", leader.name, leader.term),
        ));
    }
    if let (Some(leader), None) = (&old.leader, &new.leader) {
        events.push(new_event(
            EventType::Warning,
            EventReason::LeaderLost,
            format!("{} no longer leads with a quorum", leader.name),
        ));
    }
    let news = applied.refusals.iter().filter(|refusal| refusal.is_news());
    events.extend(news.map(|refusal| new_event(EventType::Warning, EventReason::ObjectRefused, refusal.words.clone())));
    // By reason, not by message: the message lists pods, and would repeat the event whenever one of them changes.
    let was_stalled = old.conditions.iter().any(|old| {
        old.type_ == quorate_crd::condition::STALLED
            && old.status == "True"
            && outcome.blocked.as_ref().is_some_and(|blocked| blocked.reason.as_str() == old.reason)
    });
    if let Some(blocked) = outcome.blocked.as_ref().filter(|_| !was_stalled) {
        events.push(new_event(EventType::Warning, EventReason::Blocked(blocked.reason), blocked.message.clone()));
    }
    events
}

fn describe_step(step: &PlanStep) -> (EventReason, String) {
    match step {
        PlanStep::UpdateMarker(marker) if marker.initialized => (
            EventReason::ClusterMade,
            format!("cluster {} is initialized and will never be initialized again", marker.cluster_id),
        ),
        PlanStep::CreateMarker(marker) | PlanStep::UpdateMarker(marker) => {
            (EventReason::ClusterIdChosen, format!("chose cluster id {}", marker.cluster_id))
        }
        PlanStep::Initialize { pod, cluster_id, .. } => {
            (EventReason::Initializing, format!("asking {pod} to initialize cluster {cluster_id}"))
        }
        PlanStep::AddLearner { node, .. } => (
            EventReason::AddingLearner,
            format!("adding {} (node {}) as a learner, which receives the log", node.name, node.id),
        ),
        PlanStep::ChangeMembership { voters, .. } => {
            (EventReason::ChangingVoters, format!("changing the voters to {voters:?}"))
        }
        PlanStep::TransferLeader { leader, to } => {
            (EventReason::TransferringLeader, format!("transferring leadership from {leader} to node {to}"))
        }
        PlanStep::SetPartition(partition) => (
            EventReason::RollingOut,
            format!("setting the partition to {partition}: pods from that ordinal up get the new revision"),
        ),
        PlanStep::RenewOnDelete => (
            EventReason::RollingOut,
            "setting the update strategy to OnDelete: recreated pods get the new revision for now".to_owned(),
        ),
        PlanStep::ReplacePod { pod, .. } => {
            (EventReason::RollingOut, format!("deleting {pod} to give it the new revision"))
        }
        PlanStep::DeletePod { pod, .. } => (EventReason::ReplacingPod, format!("deleting {pod} to replace its volume")),
    }
}

fn new_event(type_: EventType, reason: EventReason, mut note: String) -> Event {
    // The API server accepts 1024 bytes:
    // https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
    while note.len() > 1024 {
        note.pop();
    }
    Event {
        type_,
        reason: reason.as_str().to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::WriteRefusal;
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
    use quorate_crd::LeaderStatus;

    fn led_by(name: &str, term: i64) -> ChatClusterStatus {
        let leader = LeaderStatus { name: name.into(), node_id: name.into(), term, since: Time(Timestamp::UNIX_EPOCH) };
        ChatClusterStatus { leader: Some(leader), ..ChatClusterStatus::default() }
    }

    fn reasons(old: &ChatClusterStatus, new: &ChatClusterStatus) -> Vec<String> {
        let events = worth_telling(old, new, &ApplyOutcome::default(), &PlanOutcome::default());
        events.into_iter().map(|event| event.reason).collect()
    }

    #[test]
    fn a_refused_object_is_told_once_with_the_words_of_the_api_server() {
        let refusal = |fresh, lasts, times| WriteRefusal {
            object: "Service/team".into(),
            words: "cannot apply Service/team: exceeded quota".into(),
            lasts,
            fresh,
            times,
        };
        let told = |refusal| {
            let applied = ApplyOutcome { refusals: vec![refusal], ..ApplyOutcome::default() };
            let (old, new) = (ChatClusterStatus::default(), ChatClusterStatus::default());
            worth_telling(&old, &new, &applied, &PlanOutcome::default())
                .into_iter()
                .filter_map(|event| event.note)
                .count()
        };
        assert_eq!(told(refusal(true, true, 1)), 1);
        assert_eq!(told(refusal(false, true, 1)), 0, "remembered");
        assert_eq!(told(refusal(true, true, 2)), 0, "once more");
        assert_eq!((told(refusal(true, false, 1)), told(refusal(true, false, 3))), (0, 1), "what may pass by itself");
    }

    #[test]
    fn elections_are_told_once() {
        assert_eq!(reasons(&led_by("a", 1), &led_by("b", 2)), ["LeaderElected"]);
        // The same pod may win again.
        assert_eq!(reasons(&led_by("a", 1), &led_by("a", 2)), ["LeaderElected"]);
        assert!(reasons(&led_by("a", 1), &led_by("a", 1)).is_empty());
        assert_eq!(reasons(&led_by("a", 1), &ChatClusterStatus::default()), ["LeaderLost"]);
    }
}
