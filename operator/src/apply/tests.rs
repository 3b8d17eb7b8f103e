//! Plans carried out against an API server that refuses one kind of object, in each way in which it can.

use super::*;
use crate::{
    build::{CarriedState, build_resources},
    fake_api::{Answer, FakeApi, Refuse},
    fixture,
    observed::{MemberSlot, OwnedObject, PeerTls, PodView},
    secret_inputs::SecretInputs,
};
use serde_json::json;
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// Kinds that are applied, as they appear in request paths.
const KINDS: [&str; 5] = ["serviceaccounts", "configmaps", "services", "poddisruptionbudgets", "statefulsets"];

fn all() -> [Answer; 5] {
    [
        Answer::Code(403, "exceeded quota: no-balancers, requested: services.loadbalancers=1"),
        Answer::Code(409, "the object has been modified"),
        Answer::Code(422, "spec.containers[0].resources.requests: Invalid value: must be less than memory limit"),
        Answer::Code(429, "too many requests"),
        Answer::Never,
    ]
}

fn seen() -> ClusterObservation {
    let pod = PodView { uid: "uid-1".into(), ready: false, ..PodView::default() };
    let slot = MemberSlot { ordinal: 1, name: "team-1".into(), pod: Some(pod), ..MemberSlot::default() };
    let observed = crate::observed::ObservedState { slots: vec![slot], ..fixture::nothing_seen() };
    ClusterObservation {
        observed,
        secrets: SecretInputs::default(),
        live: LiveVersions::default(),
        identity: None,
        pod_uids: [("team-1".into(), "uid-1".into())].into(),
    }
}

/// Returns a plan with all objects and a step that replaces a member.
fn replacing(cluster: &ValidCluster) -> ReconcilePlan {
    ReconcilePlan {
        resources: Some(Box::new(build_resources(cluster, &CarriedState::default()))),
        chores: vec![PlanChore::SetOwner { object: OwnedObject::Claim("data-team-0".into()), owned: true }],
        step: Some(PlanStep::DeletePod { pod: "team-1".into(), uid: "uid-1".into() }),
        operation: None,
        blocked: None,
    }
}

async fn carry_out(api: &FakeApi, ledger: &WriteLedger, cluster: &ValidCluster, plan: ReconcilePlan) -> ApplyOutcome {
    let hub = WatchHub::new(mpsc::channel(1).0);
    apply_plan(&api.client(), &hub, ledger, cluster, &seen(), plan).await
}

#[tokio::test]
async fn one_refused_kind_stops_no_other_and_no_step() {
    let trials = KINDS.into_iter().flat_map(|kind| all().into_iter().map(move |answer| refuse_one(kind, answer)));
    // Concurrently, because the unanswered requests take their time.
    futures::future::join_all(trials).await;
}

async fn refuse_one(kind: &'static str, answer: Answer) {
    let cluster = fixture::cluster();
    let api = FakeApi::refusing(Refuse { path: kind, answer });
    let applied = carry_out(&api, &WriteLedger::default(), &cluster, replacing(&cluster)).await;
    let refused: BTreeSet<&str> = applied.refusals.iter().filter_map(|one| one.object.split('/').next()).collect();
    assert_eq!(refused.len(), 1, "{kind}, {answer:?}: {:?}", applied.refusals);
    for other in KINDS.iter().filter(|other| **other != kind) {
        assert!(api.was_written(other), "{other} was not written when {kind} was refused by {answer:?}");
    }
    assert!(api.was_written("persistentvolumeclaims"), "{kind}, {answer:?}");
    assert!(api.was_written("pods/team-1"), "the member was not replaced: {kind}, {answer:?}");
    assert!(applied.failed_step.is_none());
    let first = applied.refusals.first().expect("a refusal");
    match answer {
        Answer::Code(code, said) => {
            assert!(first.words.contains(said), "{}", first.words);
            assert_eq!(first.lasts, matches!(code, 403 | 422), "{code}");
        }
        Answer::Never => assert!(first.words.contains("no answer"), "{}", first.words),
    }
}

#[tokio::test]
async fn a_partition_is_not_taken_for_lowered_when_the_stateful_set_was_refused() {
    let cluster = fixture::cluster();
    let api = FakeApi::refusing(Refuse { path: "statefulsets", answer: Answer::Code(422, "no") });
    let plan = ReconcilePlan { step: Some(PlanStep::SetPartition(2)), ..replacing(&cluster) };
    let applied = carry_out(&api, &WriteLedger::default(), &cluster, plan).await;
    assert!(matches!(applied.failed_step, Some(ApplyError::Partition)), "{:?}", applied.failed_step);
}

#[tokio::test]
async fn what_was_refused_is_told_again_until_it_is_taken() {
    let cluster = fixture::cluster();
    let ledger = WriteLedger::default();
    let refusing = FakeApi::refusing(Refuse { path: "services", answer: Answer::Code(403, "quota") });
    // The refusals are the same whether the write was sent again or remembered.
    for _ in 0..3 {
        let applied = carry_out(&refusing, &ledger, &cluster, replacing(&cluster)).await;
        assert_eq!(applied.refusals.iter().filter(|one| one.object.starts_with("Service/")).count(), 3);
    }
    assert!(ledger.next_try(&cluster.key()).is_some());
    let taking = FakeApi::default();
    let taken = async {
        while !carry_out(&taking, &ledger, &cluster, replacing(&cluster)).await.refusals.is_empty() {
            tokio::time::sleep(ledger.next_try(&cluster.key()).unwrap_or_default()).await;
        }
    };
    taken.await;
    assert_eq!(ledger.next_try(&cluster.key()), None);
}

#[tokio::test]
async fn nothing_is_written_again_while_nothing_differs() {
    let cluster = fixture::cluster();
    let api = FakeApi::default();
    let ledger = WriteLedger::default();
    let made = build_resources(&cluster, &CarriedState::default());
    let first =
        carry_out(&api, &ledger, &cluster, ReconcilePlan { step: None, chores: vec![], ..replacing(&cluster) }).await;
    assert_eq!(first.refusals, []);
    let keys = objects::ledger_keys(&made);
    let live = LiveVersions {
        versions: keys.into_iter().map(|key| (key, "generation 1".to_owned())).collect(),
        ..LiveVersions::default()
    };
    assert!(is_applied(&ledger, &cluster, &live, Some(&made)));
    let mut changed = cluster.clone();
    changed.spec.service.r#type = quorate_crd::ServiceType::LoadBalancer;
    assert!(!is_applied(&ledger, &changed, &live, Some(&build_resources(&changed, &CarriedState::default()))));
    assert!(!is_applied(&WriteLedger::default(), &cluster, &live, Some(&made)), "another process has to look first");
}

#[tokio::test]
async fn a_secret_that_is_there_and_lacks_its_key_is_written_over() {
    let cluster = fixture::cluster();
    let path = "/api/v1/namespaces/chat/secrets/team-peer-tls";
    let half = json!({"metadata": {"name": "team-peer-tls"}, "data": {"ca.crt": "YQ==", "tls.crt": "YQ=="}});
    for (there, method) in [(None, "POST"), (Some(half), "PATCH")] {
        let api = FakeApi::default();
        if let Some(object) = there {
            api.store(path, object);
        }
        let mut seen = seen();
        seen.observed.peer_tls = PeerTls::Absent;
        let plan =
            ReconcilePlan { resources: None, chores: vec![PlanChore::IssuePeerTls], step: None, ..replacing(&cluster) };
        let hub = WatchHub::new(mpsc::channel(1).0);
        let applied = apply_plan(&api.client(), &hub, &WriteLedger::default(), &cluster, &seen, plan).await;
        assert_eq!(applied.refusals, []);
        let written = api.last("team-peer-tls").expect("a write");
        assert!(written.starts_with(method) && written.contains("tls.key"), "{written}");
    }
}

#[tokio::test]
async fn a_healthy_pod_is_evicted_and_a_broken_one_deleted() {
    let cluster = fixture::cluster();
    for (ready, expected) in [(true, "POST /api/v1/namespaces/chat/pods/team-1/eviction"), (false, "DELETE")] {
        let api = FakeApi::default();
        let mut seen = seen();
        seen.observed.slots[0].pod.as_mut().expect("a pod").ready = ready;
        let plan = ReconcilePlan { resources: None, chores: vec![], ..replacing(&cluster) };
        let hub = WatchHub::new(mpsc::channel(1).0);
        let applied = apply_plan(&api.client(), &hub, &WriteLedger::default(), &cluster, &seen, plan).await;
        assert!(applied.failed_step.is_none(), "{:?}", applied.failed_step);
        let last = api.last("pods/team-1").expect("a write");
        assert!(last.starts_with(expected), "{last}");
        assert!(last.contains("uid-1"), "no other pod of the name is meant: {last}");
    }
}

#[tokio::test]
async fn a_budget_that_allows_no_eviction_is_told_with_its_words() {
    let cluster = fixture::cluster();
    let api = FakeApi::refusing(Refuse { path: "pods/team-1", answer: Answer::Code(429, "would violate the budget") });
    let mut seen = seen();
    seen.observed.slots[0].pod.as_mut().expect("a pod").ready = true;
    let plan = ReconcilePlan { resources: None, chores: vec![], ..replacing(&cluster) };
    let hub = WatchHub::new(mpsc::channel(1).0);
    let applied = apply_plan(&api.client(), &hub, &WriteLedger::default(), &cluster, &seen, plan).await;
    let error = applied.failed_step.expect("refused");
    assert!(crate::words::with_causes(&error).contains("would violate the budget"));
}
