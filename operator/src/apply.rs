//! `apply`: carries out a plan. Chores come first, Secrets before all others, then objects, then the one step. Each
//! write is idempotent or a compare-and-swap, so stopping between any two of them does no harm.
//!
//! A refused write does not stop the others. Writes that protect data do not wait for those that do not: a lost member
//! is replaced even if a quota has no room for a Service.

mod chores;
mod ledger;
mod objects;
mod peer_tls;
mod refusal;
mod request;
mod steps;
#[cfg(test)]
mod tests;

use crate::{
    build::DesiredResources,
    cluster::ValidCluster,
    observe::{ClusterObservation, LiveVersions, object_key},
    plan::{PlanChore, PlanStep, ReconcilePlan},
    pod_watch::WatchHub,
};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Client;
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::time::timeout;

pub use ledger::WriteLedger;
pub use refusal::WriteRefusal;
pub use request::{AdminCall, ApiRequest};

/// Longest wait for the API server to answer one write. The API server itself waits up to 10 s for each admission
/// webhook, and its own error says more than a timeout here would.
const WRITE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 15 });

/// A part of the plan could not be carried out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ApplyError {
    #[error("cannot {request} {what}")]
    Api {
        request: ApiRequest,
        what: String,
        #[source]
        source: kube::Error,
    },
    #[error("cannot {request} {what}: no answer from the API server within {} s", WRITE.as_secs())]
    Silent { request: ApiRequest, what: String },
    #[error("cannot issue the peer certificates")]
    Certificates(#[from] rcgen::Error),
    #[error("the API server refused the StatefulSet, so the rollout did not advance")]
    Partition,
    #[error("pod {0} no longer exists")]
    NoPod(String),
    #[error("pod {pod} refused {call}: {}", status.message())]
    RefusedCall {
        pod: String,
        call: AdminCall,
        #[source]
        status: tonic::Status,
    },
    #[error("pod {pod} did not answer {call} in time")]
    Slow { pod: String, call: AdminCall },
}

impl ApplyError {
    pub(super) fn api(request: ApiRequest, what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { request, what, source }
    }
}

/// Sends one request with a time limit.
async fn within_time<T>(
    request: ApiRequest,
    what: &str,
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApplyError> {
    match timeout(WRITE, answer).await {
        Ok(outcome) => outcome.map_err(ApplyError::api(request, what)),
        Err(_) => Err(ApplyError::Silent { request, what: what.to_owned() }),
    }
}

/// Result of carrying out a plan, which `status` reports.
#[derive(Debug, Default)]
pub struct ApplyOutcome {
    /// Step that was attempted, if the plan has one.
    pub step: Option<PlanStep>,
    /// Duration of the step, whether it succeeded or failed.
    pub step_took: Duration,
    /// Error of the step. A failed step is retried after a while and does not fail the whole reconcile.
    pub failed_step: Option<ApplyError>,
    /// Writes that were refused, each of which is retried by itself after a while.
    pub refusals: Vec<WriteRefusal>,
}

/// Returns `true` if every object of the plan is as this process applied it. Without `resources`, while nothing may be
/// changed, there is nothing to apply.
#[must_use]
pub fn is_applied(
    ledger: &WriteLedger,
    cluster: &ValidCluster,
    live: &LiveVersions,
    resources: Option<&DesiredResources>,
) -> bool {
    resources.is_none_or(|resources| objects::is_applied(ledger, cluster, live, resources))
}

/// Carries out the plan as far as the API server and the pods allow.
pub async fn apply_plan(
    client: &Client,
    hub: &WatchHub,
    ledger: &WriteLedger,
    cluster: &ValidCluster,
    seen: &ClusterObservation,
    plan: ReconcilePlan,
) -> ApplyOutcome {
    let ReconcilePlan { resources, chores, step, operation: _, blocked: _ } = plan;
    let objects = resources.as_ref().map(|resources| objects::ledger_keys(resources));
    // A refusal of something that is no longer wanted would stay due for ever, and with it the next reconcile.
    ledger.retain(&cluster.key(), |key| {
        if chores::is_chore(key) {
            chores.iter().any(|chore| chores::chore_key(chore) == key)
        } else {
            // While nothing may be changed, earlier outcomes are kept.
            objects.as_ref().is_none_or(|objects| objects.contains(key))
        }
    });
    // Secrets before the pods: a pod whose Secret is absent waits for the kubelet's next attempt.
    let (secrets, chores): (Vec<PlanChore>, Vec<PlanChore>) =
        chores.into_iter().partition(|chore| matches!(chore, PlanChore::IssuePeerTls));
    let mut refusals = chores::carry_out_all(client, ledger, cluster, seen, &secrets).await;
    // Role labels before objects: users wait for the labels.
    refusals.extend(chores::carry_out_all(client, ledger, cluster, seen, &chores).await);
    if let Some(resources) = resources {
        refusals.extend(Box::pin(objects::apply_objects(client, ledger, cluster, &seen.live, *resources)).await);
    }
    log_refusals(cluster, &refusals);
    let Some(step) = step else { return ApplyOutcome { refusals, ..ApplyOutcome::default() } };
    tracing::info!(cluster = cluster.name, namespace = cluster.namespace, ?step, "taking a step");
    let begun = Instant::now();
    let outcome = match &step {
        // Carried out by applying the StatefulSet.
        PlanStep::SetPartition(_) | PlanStep::RenewOnDelete
            if refusals.iter().any(|one| one.object == object_key::<StatefulSet>(&cluster.name)) =>
        {
            Err(ApplyError::Partition)
        }
        step => steps::take_step(client, hub, cluster, seen, step).await,
    };
    ApplyOutcome { failed_step: outcome.err(), step_took: begun.elapsed(), step: Some(step), refusals }
}

fn log_refusals(cluster: &ValidCluster, refusals: &[WriteRefusal]) {
    for WriteRefusal { object, words, lasts, .. } in refusals.iter().filter(|refusal| refusal.fresh) {
        tracing::warn!(cluster = cluster.name, namespace = cluster.namespace, object, lasts, "{words}");
    }
}
