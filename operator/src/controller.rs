//! The reconciler: `observe → validate → plan → apply → status`, once for each thing that changes.

use crate::{
    apply::{self, ApplyError, Fingerprints},
    backoff::Backoff,
    cluster::Cluster,
    door::Hub,
    events::Events,
    metrics::Metrics,
    names::MANAGER,
    observe::{self, ObserveError},
    plan,
    status::{self, Outcome, PatchError},
};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};
use quorate_crd::{ChatCluster, label};
use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, Instant},
};

/// Everything is looked at again after this long, whatever happens: a lost watch event costs no more.
const RESYNC: Duration = Duration::from_secs(60);
/// While something is under way, lags are read this often.
const POLL: Duration = Duration::from_secs(1);
/// While a person is needed: what they do may be to objects that are not ours, and so are not watched.
const BLOCKED: Duration = Duration::from_secs(5);

/// A look at a cluster failed. It is repeated after a while.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[allow(missing_docs)]
pub enum ReconcileError {
    Observe(#[from] ObserveError),
    Apply(#[from] ApplyError),
    Status(#[from] PatchError),
}

impl ReconcileError {
    /// What failed, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Observe(_) => "observe",
            Self::Apply(_) => "apply",
            Self::Status(_) => "status",
        }
    }
}

/// What all reconciles share.
pub struct Context {
    /// The client.
    pub client: Client,
    /// The watches on pods.
    pub hub: Hub,
    /// What was applied.
    pub fingerprints: Fingerprints,
    /// Failures in a row.
    pub backoff: Backoff,
    /// For people.
    pub events: Events,
    /// For Prometheus.
    pub metrics: Metrics,
}

/// Reconciles the ChatClusters of one namespace, or of all, until it is dropped.
pub async fn run(
    context: Arc<Context>,
    namespace: Option<&str>,
    changes: impl Stream<Item = ObjectRef<ChatCluster>> + Send + 'static,
) {
    let ours = watcher::Config::default().labels(&format!("{}={MANAGER}", label::MANAGED_BY));
    // The StatefulSet controller gives claims the labels of the selector only.
    let pods = watcher::Config::default().labels(&format!("{}=quorate,{}=chatd", label::NAME, label::COMPONENT));
    let clusters = api::<ChatCluster>(&context, namespace);
    let controller = Controller::new(clusters, watcher::Config::default())
        .owns(api::<StatefulSet>(&context, namespace), ours.clone())
        .owns(api::<Service>(&context, namespace), ours.clone())
        .owns(api::<PodDisruptionBudget>(&context, namespace), ours.clone())
        .watches(api::<ConfigMap>(&context, namespace), ours, of_instance)
        .watches(api::<Pod>(&context, namespace), pods.clone(), of_instance)
        .watches(api::<PersistentVolumeClaim>(&context, namespace), pods, of_instance)
        .reconcile_on(changes);
    let store = controller.store();
    controller
        .run(reconcile, on_error, Arc::clone(&context))
        .for_each(|outcome| {
            if let Err(kube::runtime::controller::Error::ObjectNotFound(reference)) = &outcome {
                forget(&context, &reference.name, reference.namespace.as_deref().unwrap_or_default());
            }
            if let Err(error) = outcome {
                tracing::debug!(%error, known = store.len(), "controller");
            }
            futures::future::ready(())
        })
        .await;
}

fn api<K>(context: &Context, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    }
}

/// Pods, claims and the marker are not owned by the ChatCluster; their label says whose they are.
fn of_instance<K: Resource>(object: K) -> Option<ObjectRef<ChatCluster>> {
    let name = object.labels().get(label::INSTANCE)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

fn forget(context: &Context, name: &str, namespace: &str) {
    context.hub.forget(&ObjectRef::new(name).within(namespace));
    context.metrics.forget(namespace, name);
}

async fn reconcile(object: Arc<ChatCluster>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let begun = Instant::now();
    let outcome = Box::pin(look(&object, &context)).await;
    context.metrics.looked(&outcome, begun.elapsed());
    if outcome.is_ok() {
        context.backoff.reset(&object.uid().unwrap_or_default());
    }
    outcome
}

async fn look(object: &ChatCluster, context: &Context) -> Result<Action, ReconcileError> {
    if object.metadata.deletion_timestamp.is_some() {
        // Owned objects are collected by Kubernetes; volumes and marker stay, by intention.
        context.fingerprints.forget(&object.uid().unwrap_or_default());
        return Ok(Action::await_change());
    }
    let cluster = match Cluster::validate(object) {
        Ok(cluster) => cluster,
        Err(invalid) => {
            context.metrics.failed("invalid_spec");
            let stalled = status::stalled(object, "InvalidSpec", &invalid.to_string());
            status::patch(&context.client, object, stalled).await?;
            return Ok(Action::await_change());
        }
    };
    let previous = object.status.clone().unwrap_or_default();
    let seen = Box::pin(observe::observe(&context.client, &context.hub, &cluster, previous.clone())).await?;
    let plan = plan::plan(&cluster, &seen.observed);
    let mut outcome = Outcome { operation: plan.operation.clone(), blocked: plan.blocked.clone(), failed: None };
    // What was seen is told before anything is done: a change of leader must not wait for ten writes.
    let early = status::status(&cluster, &seen.observed, &outcome);
    write_status(object, context, &cluster, early.clone()).await?;

    let applying = apply::apply(&context.client, &context.hub, &context.fingerprints, &cluster, &seen, plan);
    let applied = Box::pin(applying).await?;
    count(context, &applied);
    outcome.failed = applied.failed_step.as_ref().map(with_causes);
    let told = if outcome.failed.is_some() {
        let late = status::status(&cluster, &seen.observed, &outcome);
        let mut current = object.clone();
        current.status = Some(early);
        write_status(&current, context, &cluster, late.clone()).await?;
        late
    } else {
        early
    };
    context.events.tell(object, &previous, &told, &applied, &outcome).await;
    Ok(next_look(context, object, &applied, &outcome))
}

fn next_look(context: &Context, object: &ChatCluster, applied: &apply::Applied, outcome: &Outcome) -> Action {
    if applied.failed_step.is_some() {
        let key = format!("{}/step", object.uid().unwrap_or_default());
        return Action::requeue(context.backoff.failed(&key));
    }
    context.backoff.reset(&format!("{}/step", object.uid().unwrap_or_default()));
    Action::requeue(match outcome {
        Outcome { blocked: Some(_), .. } => BLOCKED,
        Outcome { operation: Some(_), .. } => POLL,
        Outcome { .. } => RESYNC,
    })
}

async fn write_status(
    object: &ChatCluster,
    context: &Context,
    cluster: &Cluster,
    status: quorate_crd::ChatClusterStatus,
) -> Result<(), PatchError> {
    let labels = [cluster.namespace.as_str(), cluster.name.as_str()];
    let available = status.leader.is_some();
    let leader = |status: &quorate_crd::ChatClusterStatus| {
        status.leader.as_ref().map(|leader| (leader.node_id.clone(), leader.term))
    };
    let changed = available && leader(&status) != object.status.as_ref().and_then(leader);
    context.metrics.seen(labels, cluster.spec.replicas, &status, status::replacing(&status, Timestamp::now()));
    if status::patch(&context.client, object, status).await? {
        context.metrics.work.status_writes.with_label_values(&labels).inc();
        if changed {
            context.metrics.clusters.leader_changes.with_label_values(&labels).inc();
        }
    }
    Ok(())
}

fn count(context: &Context, applied: &apply::Applied) {
    if let Some(step) = &applied.step {
        context.metrics.stepped(step.kind(), applied.failed_step.is_some(), applied.step_took);
    }
}

/// An error with its causes, in one line.
fn with_causes(error: &ApplyError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

fn on_error(object: Arc<ChatCluster>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let wait = context.backoff.failed(&object.uid().unwrap_or_default());
    tracing::warn!(
        cluster = object.name_any(),
        namespace = object.namespace(),
        error = error as &dyn std::error::Error,
        retry_in_ms = wait.as_millis(),
        "a look at the cluster failed"
    );
    Action::requeue(wait)
}
