//! `apply`: carries a plan out. Objects first, then chores, then the one step; each write compares or is idempotent, so
//! stopping between any two of them does no harm.
//!
//! A write that is refused stops no other. What protects the data does not wait for what does not: a lost member is
//! replaced although somebody's quota has no room for a Service.

mod chores;
mod ledger;
mod objects;
mod peer_tls;
mod refusal;
mod steps;
#[cfg(test)]
mod tests;

use crate::{
    build::Resources,
    cluster::Cluster,
    door::Hub,
    observe::{Live, Seen, key},
    plan::{Chore, Plan, Step},
};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Client;
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::time::timeout;

pub use ledger::Ledger;
pub use refusal::Refusal;

/// Longest wait for the API server's answer to one write. It waits up to 10 s itself for each admission webhook, and what
/// it says then is better than what can be said without it.
const WRITE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 15 });

/// Something could not be carried out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ApplyError {
    #[error("cannot {action} {what}")]
    Api {
        action: &'static str,
        what: String,
        #[source]
        source: kube::Error,
    },
    #[error("cannot {action} {what}: the API server gave no answer within {} s", WRITE.as_secs())]
    Silent { action: &'static str, what: String },
    #[error("cannot make the peer certificates")]
    Certificates(#[from] rcgen::Error),
    #[error("the StatefulSet was not taken, and with it the partition")]
    Partition,
    #[error("pod {0} is not there any more")]
    NoPod(String),
    #[error("pod {pod} refused {call}: {}", status.message())]
    Door {
        pod: String,
        call: &'static str,
        #[source]
        status: tonic::Status,
    },
    #[error("pod {pod} did not answer {call} in time")]
    Slow { pod: String, call: &'static str },
}

impl ApplyError {
    pub(super) fn api(action: &'static str, what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { action, what, source }
    }
}

/// One request, with a limit of time.
async fn within_time<T>(
    action: &'static str,
    what: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApplyError> {
    match timeout(WRITE, request).await {
        Ok(outcome) => outcome.map_err(ApplyError::api(action, what)),
        Err(_) => Err(ApplyError::Silent { action, what: what.to_owned() }),
    }
}

/// What became of a plan. `status` tells it.
#[derive(Debug, Default)]
pub struct Applied {
    /// The step that was taken.
    pub step: Option<Step>,
    /// How long it took, whether it failed or not.
    pub step_took: Duration,
    /// Why the step was not taken. Tried again after a while; not an error of the whole.
    pub failed_step: Option<ApplyError>,
    /// The writes that were not taken, each tried again after a while by itself.
    pub refusals: Vec<Refusal>,
}

/// Whether every object of the plan is as this process applied it. While nothing may be touched there is none to apply.
#[must_use]
pub fn is_applied(ledger: &Ledger, cluster: &Cluster, live: &Live, resources: Option<&Resources>) -> bool {
    resources.is_none_or(|resources| objects::is_applied(ledger, cluster, live, resources))
}

/// Carries the plan out, as far as it is let.
pub async fn apply(client: &Client, hub: &Hub, ledger: &Ledger, cluster: &Cluster, seen: &Seen, plan: Plan) -> Applied {
    let Plan { resources, chores, step, operation: _, blocked: _ } = plan;
    let objects = resources.as_ref().map(|resources| objects::keys(resources));
    ledger.retain(&cluster.key(), |key| match chores::is_chore(key) {
        true => chores.iter().any(|chore| chores::key(chore) == key),
        // While nothing may be touched, what was done before is not forgotten.
        false => objects.as_ref().is_none_or(|objects| objects.contains(key)),
    });
    // Secrets before the pods: a pod whose Secret is absent waits for the kubelet's next try.
    let (secrets, chores): (Vec<Chore>, Vec<Chore>) =
        chores.into_iter().partition(|chore| matches!(chore, Chore::IssuePeerTls));
    let mut refusals = chores::carry_out_all(client, ledger, cluster, seen, &secrets).await;
    // Labels before objects: people wait for the former.
    refusals.extend(chores::carry_out_all(client, ledger, cluster, seen, &chores).await);
    if let Some(resources) = resources {
        refusals.extend(Box::pin(objects::apply(client, ledger, cluster, &seen.live, *resources)).await);
    }
    report(cluster, &refusals);
    let Some(step) = step else { return Applied { refusals, ..Applied::default() } };
    tracing::info!(cluster = cluster.name, namespace = cluster.namespace, ?step, "taking a step");
    let begun = Instant::now();
    let outcome = match &step {
        // Carried out with the StatefulSet.
        Step::SetPartition(_) | Step::RenewOnDelete
            if refusals.iter().any(|one| one.object == key::<StatefulSet>(&cluster.name)) =>
        {
            Err(ApplyError::Partition)
        }
        step => steps::take(client, hub, cluster, seen, step).await,
    };
    Applied { failed_step: outcome.err(), step_took: begun.elapsed(), step: Some(step), refusals }
}

fn report(cluster: &Cluster, refusals: &[Refusal]) {
    for Refusal { object, words, lasts, .. } in refusals.iter().filter(|refusal| refusal.fresh) {
        tracing::warn!(cluster = cluster.name, namespace = cluster.namespace, object, lasts, "{words}");
    }
}
