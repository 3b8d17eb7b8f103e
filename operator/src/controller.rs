//! The reconciler: runs `validate → observe → plan → apply → status` each time something changes.

use crate::{
    apply::{self, WriteLedger},
    backoff::ObjectBackoff,
    cluster::{ValidCluster, cluster_key},
    events::EventPublisher,
    metrics::{ErrorReason, OperatorMetrics},
    names::MANAGER,
    observe::{self, ObserveError, WarningCache},
    plan,
    pod_watch::WatchHub,
    status::{self, ApplyState, ConditionReason, PatchError, PlanOutcome},
    words,
};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, ObjectReference, PersistentVolumeClaim, Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::ObjectRef,
        watcher,
    },
};
use quorate_crd::{ChatCluster, ChatClusterStatus, label};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Longest time between two reconciles of a cluster, which bounds the cost of a lost watch event.
const RESYNC: Duration = Duration::from_secs(60);
/// Time between reconciles while an operation is in progress, so that replication lags are read this often.
const POLL: Duration = Duration::from_secs(1);
/// Longest duration of one reconcile. Each of its requests has a limit of its own, and together they stay below this
/// one; anything that still hangs holds up one cluster for two minutes and not for ever.
const LOOK: Duration = Duration::from_secs(120);
/// Maximum number of concurrent reconciles. Each makes some ten requests, and the operator shares the API server with
/// others.
const LOOKS: u16 = 16;
/// Number of failed reconciles in a row after which the last known state counts as unknown. With the backoff, more than
/// ten seconds have passed by then.
const UNOBSERVED_FROM: u32 = 6;
/// Time between reconciles while the cluster is blocked or not ready. The next change may be to an object that the
/// operator does not own and so does not watch.
const BLOCKED: Duration = Duration::from_secs(5);

/// A reconcile failed and is repeated after a while.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ReconcileError {
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Status(#[from] PatchError),
    #[error("reconcile timed out after {} s", LOOK.as_secs())]
    Late,
}

impl ReconcileError {
    /// Returns the reason of the failure, for metrics.
    #[must_use]
    pub fn reason(&self) -> ErrorReason {
        match self {
            Self::Observe(_) => ErrorReason::Observe,
            Self::Status(_) => ErrorReason::Status,
            Self::Late => ErrorReason::Late,
        }
    }
}

/// State that all reconciles share.
pub struct ReconcileContext {
    /// Client of the Kubernetes API.
    pub client: Client,
    /// `true` if pods have IPv6 addresses.
    pub ipv6: bool,
    /// Watches on the pods' admin APIs.
    pub hub: WatchHub,
    /// Outcome of each write, applied or refused.
    pub ledger: WriteLedger,
    /// Warning events of Kubernetes about pods and claims.
    pub notices: WarningCache,
    /// Number of failures in a row of each cluster, and of the steps of each cluster.
    pub backoff: ObjectBackoff,
    /// Version and error of each unreadable object as last reported, by `namespace/name`.
    pub unreadable: Mutex<HashMap<String, String>>,
    /// Recorder of events for people.
    pub events: EventPublisher,
    /// Metrics for Prometheus to scrape.
    pub metrics: OperatorMetrics,
}

/// Reconciles the ChatClusters of one namespace, or of all namespaces, until the future is dropped.
pub async fn run_controller(
    context: Arc<ReconcileContext>,
    namespace: Option<&str>,
    changes: impl Stream<Item = ObjectRef<ChatCluster>> + Send + 'static,
) {
    // By label, so that the API server does not send every Service and ConfigMap of the namespaces.
    let ours = watcher::Config::default().labels(&format!("{}={MANAGER}", label::MANAGED_BY));
    // The StatefulSet controller gives claims only the labels of the selector.
    let pods = watcher::Config::default().labels(&format!("{}=quorate,{}=chatd", label::NAME, label::COMPONENT));
    // Guarded, because one unreadable object, perhaps of an older schema, must not stop the watch of all others.
    let clusters = scoped_api::<GuardedCluster>(&context, namespace);
    let changes = changes.map(|change| change.into_kind_unchecked::<GuardedCluster>(()));
    let controller = Controller::new(clusters, watcher::Config::default())
        .with_config(controller::Config::default().concurrency(LOOKS))
        .owns(scoped_api::<StatefulSet>(&context, namespace), ours.clone())
        .owns(scoped_api::<Service>(&context, namespace), ours.clone())
        .owns(scoped_api::<PodDisruptionBudget>(&context, namespace), ours.clone())
        .watches(scoped_api::<ConfigMap>(&context, namespace), ours, of_instance)
        .watches(scoped_api::<Pod>(&context, namespace), pods.clone(), of_instance)
        .watches(scoped_api::<PersistentVolumeClaim>(&context, namespace), pods, of_instance)
        .reconcile_on(changes);
    let store = controller.store();
    controller
        .run(reconcile, on_error, Arc::clone(&context))
        .for_each(|outcome| {
            // There is no finalizer, so the only sign of a finished deletion is that the object is gone when it is
            // reconciled.
            if let Err(controller::Error::ObjectNotFound(reference)) = &outcome {
                forget_cluster(&context, &reference.name, reference.namespace.as_deref().unwrap_or_default());
            }
            if let Err(error) = outcome {
                tracing::debug!(%error, known = store.len(), "controller error");
            }
            futures::future::ready(())
        })
        .await;
}

/// ChatCluster, or what is known of one that cannot be read.
type GuardedCluster = DeserializeGuard<ChatCluster>;

fn scoped_api<K>(context: &ReconcileContext, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    }
}

/// Returns the ChatCluster that an object belongs to. Pods, claims and the marker are not owned by it, so their
/// instance label names it.
fn of_instance<K: Resource>(object: K) -> Option<ObjectRef<GuardedCluster>> {
    let name = object.labels().get(label::INSTANCE)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

fn forget_cluster(context: &ReconcileContext, name: &str, namespace: &str) {
    context.hub.forget(&ObjectRef::new(name).within(namespace));
    let key = cluster_key(namespace, name);
    context.ledger.forget(&key);
    context.notices.forget(&key);
    context.unreadable.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    context.backoff.reset(&key);
    context.backoff.reset(&step_key(&key));
    context.metrics.forget(namespace, name);
}

async fn reconcile(object: Arc<GuardedCluster>, context: Arc<ReconcileContext>) -> Result<Action, ReconcileError> {
    let begun = Instant::now();
    let outcome = match &object.0 {
        Ok(object) => {
            let outcome =
                timeout(LOOK, Box::pin(reconcile_cluster(object, &context))).await.unwrap_or(Err(ReconcileError::Late));
            if let Err(error) = &outcome {
                tell_unobserved(&context, object, error).await;
            }
            outcome
        }
        Err(unreadable) => {
            tell_unreadable(&context, unreadable).await;
            Ok(Action::await_change())
        }
    };
    context.metrics.looked(&outcome, begun.elapsed());
    if outcome.is_ok() {
        context.backoff.reset(&key_of(object.as_ref()));
    }
    outcome
}

/// Reports a cluster that cannot be observed. A status that nobody renews must not go on saying that all is well: a
/// missing permission for one kind would stop every reconcile at the same point, for ever.
async fn tell_unobserved(context: &ReconcileContext, object: &ChatCluster, error: &ReconcileError) {
    // A status that cannot be written cannot report that.
    if matches!(error, ReconcileError::Status(_)) || context.backoff.failures(&key_of(object)) < UNOBSERVED_FROM {
        return;
    }
    let told = status::unobserved_status(object, &words::with_causes(error));
    // If this fails, the next failed reconcile tries again.
    let _ = timeout(POLL, status::patch_status(&context.client, object, told)).await;
}

/// Reports an object that cannot be read; its pods go on as they are. Each version of the object is reported only once,
/// because reporting changes the object and so triggers a reconcile.
async fn tell_unreadable(context: &ReconcileContext, object: &InvalidObject) {
    let metadata = &object.metadata;
    let version = format!("{:?} {:?} {}", metadata.uid, metadata.generation, object.error);
    let key =
        cluster_key(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
    let before = context.unreadable.lock().unwrap_or_else(PoisonError::into_inner).insert(key, version.clone());
    if before == Some(version) {
        return;
    }
    let name = metadata.name.clone().unwrap_or_default();
    let namespace = metadata.namespace.clone().unwrap_or_default();
    tracing::warn!(cluster = name, namespace, error = object.error, "cannot read a ChatCluster");
    context.metrics.failed(ErrorReason::InvalidSpec);
    let reference = ObjectReference {
        api_version: Some(ChatCluster::api_version(&()).into_owned()),
        kind: Some(ChatCluster::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    context.events.tell_unreadable(&reference, &object.error).await;
    if let Err(error) = status::patch_unreadable(&context.client, metadata, &object.error).await {
        tracing::warn!(
            cluster = name,
            namespace,
            error = words::with_causes(&error),
            "cannot report an unreadable ChatCluster in its status"
        );
    }
}

async fn reconcile_cluster(object: &ChatCluster, context: &ReconcileContext) -> Result<Action, ReconcileError> {
    if object.metadata.deletion_timestamp.is_some() {
        // Kubernetes collects owned objects; volumes and marker stay on purpose.
        context.ledger.forget(&key_of(object));
        return Ok(Action::await_change());
    }
    let cluster = match ValidCluster::validate(object) {
        Ok(cluster) => cluster.in_network(context.ipv6),
        Err(invalid) => {
            context.metrics.failed(ErrorReason::InvalidSpec);
            let stalled = status::stalled_status(object, ConditionReason::InvalidSpec, &invalid.to_string());
            status::patch_status(&context.client, object, stalled).await?;
            // Only a change of the spec helps, and that change triggers a reconcile.
            return Ok(Action::await_change());
        }
    };
    let previous = object.status.clone().unwrap_or_default();
    let seen =
        Box::pin(observe::observe_cluster(&context.client, &context.hub, &context.notices, &cluster, previous.clone()))
            .await?;
    let cluster = cluster.with_secrets(seen.secrets.clone());
    let plan = plan::make_plan(&cluster, &seen.observed);
    let is_applied = apply::is_applied(&context.ledger, &cluster, &seen.live, plan.resources.as_deref());
    let mut outcome = PlanOutcome {
        operation: plan.operation.clone(),
        blocked: plan.blocked.clone(),
        failed: None,
        application: if is_applied { ApplyState::done() } else { ApplyState::Pending },
    };
    // The observed state is reported before anything is done: a change of leader must not wait for ten writes.
    let early = status::compute_status(&cluster, &seen.observed, &outcome);
    write_status(object, context, &cluster, early.clone()).await?;

    let applying = apply::apply_plan(&context.client, &context.hub, &context.ledger, &cluster, &seen, plan);
    let applied = Box::pin(applying).await;
    record_metrics(context, &cluster, &applied);
    outcome.failed = applied.failed_step.as_ref().map(|error| words::with_causes(error));
    outcome.application = ApplyState::of(&applied.refusals);
    let told = status::compute_status(&cluster, &seen.observed, &outcome);
    if told != early {
        let mut current = object.clone();
        // `patch_status` writes what differs from the object's status, which is the early one by now.
        current.status = Some(early);
        write_status(&current, context, &cluster, told.clone()).await?;
    }
    context.events.tell(object, &previous, &told, &applied, &outcome).await;
    Ok(next_look(context, &cluster, &applied, &told, &outcome))
}

fn next_look(
    context: &ReconcileContext,
    cluster: &ValidCluster,
    applied: &apply::ApplyOutcome,
    told: &ChatClusterStatus,
    outcome: &PlanOutcome,
) -> Action {
    let key = step_key(&cluster.key());
    if applied.failed_step.is_some() {
        return Action::requeue(context.backoff.failed(&key));
    }
    context.backoff.reset(&key);
    let wait = match outcome {
        PlanOutcome { blocked: Some(_), .. } => BLOCKED,
        PlanOutcome { operation: Some(_), .. } => POLL,
        // Ready may depend on objects that are not watched, or on figures that trigger no reconcile.
        PlanOutcome { .. } if !status::is_ready(told) => BLOCKED,
        PlanOutcome { .. } => RESYNC,
    };
    // A refused write is retried even if nothing else would bring the cluster back before the resync.
    Action::requeue(context.ledger.next_try(&cluster.key()).map_or(wait, |next| wait.min(next)))
}

fn key_of(object: &impl Resource) -> String {
    cluster_key(&object.namespace().unwrap_or_default(), &object.name_any())
}

fn step_key(cluster: &str) -> String {
    // Counted apart: a failed step does not fail the reconcile, and the success of the reconcile must not reset its
    // backoff.
    format!("{cluster} step")
}

async fn write_status(
    object: &ChatCluster,
    context: &ReconcileContext,
    cluster: &ValidCluster,
    status: ChatClusterStatus,
) -> Result<(), PatchError> {
    let labels = [cluster.namespace.as_str(), cluster.name.as_str()];
    let available = status.leader.is_some();
    let leader =
        |status: &ChatClusterStatus| status.leader.as_ref().map(|leader| (leader.node_id.clone(), leader.term));
    let changed = available && leader(&status) != object.status.as_ref().and_then(leader);
    context.metrics.seen(
        labels,
        cluster.spec.replicas,
        &status,
        status::replacement_duration(&status, Timestamp::now()),
    );
    if status::patch_status(&context.client, object, status).await? {
        context.metrics.work.status_writes.with_label_values(&labels).inc();
        if changed {
            // Only after the write: a change that could not be written is found again by the next reconcile.
            context.metrics.clusters.leader_changes.with_label_values(&labels).inc();
        }
    }
    Ok(())
}

fn record_metrics(context: &ReconcileContext, cluster: &ValidCluster, applied: &apply::ApplyOutcome) {
    if let Some(step) = &applied.step {
        context.metrics.stepped(step, applied.failed_step.is_some(), applied.step_took);
    }
    let fresh = applied.refusals.iter().filter(|refusal| refusal.fresh).count();
    (0..fresh).for_each(|_| context.metrics.failed(ErrorReason::Apply));
    let told = applied.refusals.iter().filter(|refusal| refusal.is_told()).count();
    context.metrics.refused([&cluster.namespace, &cluster.name], told);
}

fn on_error(object: Arc<GuardedCluster>, error: &ReconcileError, context: Arc<ReconcileContext>) -> Action {
    let wait = context.backoff.failed(&key_of(object.as_ref()));
    tracing::warn!(
        cluster = object.name_any(),
        namespace = object.namespace(),
        error = words::with_causes(error),
        retry_in_ms = wait.as_millis(),
        "reconcile failed"
    );
    Action::requeue(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fake_api::{Answer, FakeApi, Refuse},
        fixture,
    };
    use quorate_crd::{SecretKeyRef, annotation};
    use serde_json::json;
    use tokio::sync::mpsc;

    fn context(api: &FakeApi) -> Arc<ReconcileContext> {
        Arc::new(ReconcileContext {
            client: api.client(),
            ipv6: false,
            hub: WatchHub::new(mpsc::channel(1).0),
            ledger: WriteLedger::default(),
            notices: WarningCache::default(),
            unreadable: Mutex::default(),
            backoff: ObjectBackoff::default(),
            events: EventPublisher::new(api.client(), "test".into()),
            metrics: OperatorMetrics::new().expect("metrics"),
        })
    }

    #[tokio::test]
    async fn a_look_tells_what_was_refused_and_does_the_rest() {
        let words = "Invalid value: must be less than or equal to memory limit";
        let api = FakeApi::refusing(Refuse { path: "statefulsets", answer: Answer::Code(422, words) });
        let object = Arc::new(DeserializeGuard(Ok(fixture::chat_cluster())));
        reconcile(object, context(&api)).await.expect("a look that was told about");
        for path in ["services", "poddisruptionbudgets", "configmaps", "secrets", "serviceaccounts"] {
            assert!(api.was_written(path), "{path}");
        }
        let status = api.last("chatclusters/team/status").expect("a status");
        assert!(status.contains(words) && status.contains("ObjectRefused"), "{status}");
        let event = api.last("/events").expect("an event");
        assert!(event.contains(words) && event.contains("ObjectRefused"), "{event}");
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_is_told_once_and_stops_nobody() {
        let api = FakeApi::default();
        let object: GuardedCluster = serde_json::from_value(json!({
            "apiVersion": "chat.quorate.dev/v1alpha1", "kind": "ChatCluster",
            "metadata": {"name": "old", "namespace": "chat", "uid": "u", "generation": 4},
            "spec": {"serverName": 7},
        }))
        .expect("the guard reads what can be read");
        let (object, context) = (Arc::new(object), context(&api));
        for _ in 0..3 {
            reconcile(Arc::clone(&object), Arc::clone(&context)).await.expect("no error");
        }
        let status = api.last("chatclusters/old/status").expect("a status");
        assert!(status.contains("Unreadable") && status.contains("Stalled"), "{status}");
        assert_eq!((api.requests("/events"), api.requests("chatclusters/old")), (1, 1));
    }

    async fn stalled_over(path: &str, there: serde_json::Value) -> String {
        let api = FakeApi::default();
        api.store(path, there);
        reconcile(Arc::new(DeserializeGuard(Ok(fixture::chat_cluster()))), context(&api)).await.expect("a look");
        assert!(!api.was_written("statefulsets") && !api.was_written("secrets"), "nothing may be made");
        api.last("chatclusters/team/status").expect("a status")
    }

    #[tokio::test]
    async fn a_claim_of_somebody_else_is_named_and_nothing_is_made() {
        let claim = json!({"metadata": {"name": "data-team-0", "labels": {"app": "database"}}});
        let status = stalled_over("/api/v1/namespaces/chat/persistentvolumeclaims/data-team-0", claim).await;
        assert!(status.contains("NameConflict") && status.contains("PersistentVolumeClaim/data-team-0"), "{status}");
    }

    #[tokio::test]
    async fn volumes_of_another_server_name_are_named_and_nothing_is_made() {
        let marker = json!({
            "metadata": {"name": "team-cluster", "labels": {label::MANAGED_BY: MANAGER}},
            "data": {"clusterId": "c", "serverName": "old.example.org", "initialized": "true", "voters": "1,2,3"},
        });
        let status = stalled_over("/api/v1/namespaces/chat/configmaps/team-cluster", marker).await;
        assert!(status.contains("ServerNameDiffers") && status.contains("old.example.org"), "{status}");
    }

    #[tokio::test]
    async fn pods_are_made_once_the_secret_that_they_need_is_there() {
        let api = FakeApi::default();
        let mut object = fixture::chat_cluster();
        object.spec.chat.accounts.shared_secret_ref =
            Some(SecretKeyRef { name: "administration".into(), key: "secret".into() });
        let object = Arc::new(DeserializeGuard(Ok(object)));
        let context = context(&api);
        reconcile(Arc::clone(&object), Arc::clone(&context)).await.expect("a look");
        assert!(!api.was_written("statefulsets"), "its pods would only wait");
        let status = api.last("chatclusters/team/status").expect("a status");
        assert!(
            status.contains("SecretUnusable") && status.contains("Secret administration does not exist"),
            "{status}"
        );
        let secret = json!({"metadata": {"name": "administration"}, "data": {"secret": "aHVzaA=="}});
        api.store("/api/v1/namespaces/chat/secrets/administration", secret);
        reconcile(object, context).await.expect("a look");
        let set = api.last("statefulsets").expect("a StatefulSet");
        assert!(set.contains(annotation::SECRETS), "{set}");
        for value in ["hush", "aHVzaA=="] {
            assert!(!set.contains(value), "the value is in nothing that is written: {set}");
        }
    }

    #[tokio::test]
    async fn looks_that_fail_again_and_again_end_in_a_status_that_says_so() {
        let api = FakeApi::unreadable("poddisruptionbudgets", "cannot get resource in API group policy");
        let (object, context) = (Arc::new(DeserializeGuard(Ok(fixture::chat_cluster()))), context(&api));
        for _ in 0..UNOBSERVED_FROM {
            let outcome = reconcile(Arc::clone(&object), Arc::clone(&context)).await;
            assert!(!api.was_written("status"), "one look that fails is no news");
            on_error(Arc::clone(&object), &outcome.expect_err("it cannot be read"), Arc::clone(&context));
        }
        reconcile(object, context).await.expect_err("it still cannot be read");
        let status = api.last("chatclusters/team/status").expect("a status");
        assert!(status.contains("NotObserved") && status.contains("cannot get resource"), "{status}");
    }

    #[tokio::test]
    async fn a_spec_that_cannot_be_carried_out_leaves_nothing_told_that_is_not_known() {
        let api = FakeApi::default();
        let mut object = fixture::chat_cluster();
        object.spec.replicas = 2;
        reconcile(Arc::new(DeserializeGuard(Ok(object))), context(&api)).await.expect("no error");
        let status = api.last("chatclusters/team/status").expect("a status");
        assert!(status.contains("InvalidSpec") && status.contains(r#""status":"Unknown""#), "{status}");
        assert!(!api.was_written("statefulsets"));
    }
}
