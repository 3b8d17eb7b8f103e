//! `apply`: carries a plan out. Objects first, then chores, then the one step; each write compares or is idempotent, so
//! stopping between any two of them does no harm.

mod chores;
mod objects;
mod peer_tls;
mod steps;

use crate::{
    cluster::Cluster,
    door::Hub,
    observe::Seen,
    plan::{Chore, Plan, Step},
};
use kube::Client;
use std::time::{Duration, Instant};

pub use objects::{Fingerprint, Fingerprints};

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
    #[error("cannot make the peer certificates")]
    Certificates(#[from] rcgen::Error),
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

/// What became of a plan. `status` tells it.
#[derive(Debug, Default)]
pub struct Applied {
    /// The step that was taken.
    pub step: Option<Step>,
    /// How long it took, whether it failed or not.
    pub step_took: Duration,
    /// Why the step was not taken. Tried again after a while; not an error of the whole.
    pub failed_step: Option<ApplyError>,
}

/// Carries the plan out.
///
/// # Errors
/// When objects or chores cannot be written. A step that fails is told in [`Applied`], because the status must be
/// written all the same.
pub async fn apply(
    client: &Client,
    hub: &Hub,
    fingerprints: &Fingerprints,
    cluster: &Cluster,
    seen: &Seen,
    plan: Plan,
) -> Result<Applied, ApplyError> {
    let Plan { resources, chores, step, operation: _, blocked: _ } = plan;
    let (first, chores): (Vec<Chore>, Vec<Chore>) =
        chores.into_iter().partition(|chore| matches!(chore, Chore::IssuePeerTls));
    // Before the pods: a pod whose Secret is absent waits for the kubelet's next try.
    for chore in &first {
        chores::carry_out(client, cluster, seen, chore).await?;
    }
    // Labels before objects: people wait for the former.
    for chore in &chores {
        chores::carry_out(client, cluster, seen, chore).await?;
    }
    if let Some(resources) = resources {
        Box::pin(objects::apply(client, fingerprints, cluster, &seen.live, *resources)).await?;
    }
    let Some(step) = step else { return Ok(Applied::default()) };
    tracing::info!(cluster = cluster.name, namespace = cluster.namespace, ?step, "taking a step");
    let begun = Instant::now();
    let outcome = steps::take(client, hub, cluster, seen, &step).await;
    Ok(Applied { failed_step: outcome.err(), step_took: begun.elapsed(), step: Some(step) })
}
