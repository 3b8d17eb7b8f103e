//! Leader election of the operator: only the process that holds a Lease acts.
//!
//! The Lease is taken and renewed by compare-and-swap on `resourceVersion`. Another process's Lease counts as expired
//! only once *this* process has seen it unchanged for long enough: `renewTime` is never compared with the local clock,
//! because the clocks of nodes differ. The holder stops before others may begin: it gives up after `RENEW` without a
//! renewal, and the others wait for `DURATION`.

use crate::{metrics::OperatorMetrics, words};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Time that other processes wait after the last renewal that they have seen.
const DURATION: Duration = Duration::from_secs(15);
/// Time that the holder goes on without a successful renewal.
const RENEW: Duration = Duration::from_secs(10);
/// Interval between two attempts to take or renew the Lease.
const PERIOD: Duration = Duration::from_secs(2);

/// Candidacy of this process for a Lease.
pub struct LeaseCandidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    metrics: OperatorMetrics,
    seen: Option<LeaseSighting>,
}

/// Version of the Lease, and the time at which this process first saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LeaseSighting {
    version: String,
    since: Instant,
}

impl LeaseCandidate {
    /// Creates a candidate. `identity` must differ between processes.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: String, metrics: OperatorMetrics) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity, metrics, seen: None }
    }

    /// Waits until this process holds the Lease.
    pub async fn acquire(&mut self) {
        loop {
            // A request that is never answered must not end the candidacy, because the Lease may become free meanwhile.
            match timeout(RENEW, self.try_acquire()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = words::with_causes(&error), "cannot acquire the lease")
                }
                Err(_) => tracing::warn!("timed out acquiring the lease: the API server does not answer"),
            }
            sleep(PERIOD).await;
        }
    }

    /// Runs `work` while the Lease is held. Returns the result of `work`, or `None` if the Lease was lost and `work`
    /// was dropped where it stood.
    pub async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.keep() => None,
        }
    }

    /// Releases the Lease, so that others need not wait for it to expire.
    pub async fn release(&mut self) {
        // Briefly: the kubelet kills the process at the end of the pod's grace period, and the Lease expires anyway.
        let Ok(Ok(Some(mut lease))) = timeout(PERIOD, self.api.get_opt(&self.name)).await else { return };
        let holds = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.identity);
        if let Some(spec) = lease.spec.as_mut().filter(|_| holds) {
            // The version that was read is sent back: if another process has taken the Lease since, the API server
            // refuses.
            spec.holder_identity = None;
            // If this fails, the others wait for the Lease to expire.
            let _ = timeout(PERIOD, self.api.replace(&self.name, &PostParams::default(), &lease)).await;
        }
    }

    /// Renews the Lease until renewing has failed for too long or another process holds it.
    async fn keep(&self) {
        let mut renewed = Instant::now();
        loop {
            sleep(PERIOD).await;
            let begun = Instant::now();
            // A request that hangs must not carry the holder past the time at which it has to stop.
            let left = RENEW.saturating_sub(renewed.elapsed());
            let outcome = timeout(left, self.renew()).await;
            self.metrics.renewed(matches!(outcome, Ok(Ok(true))));
            match outcome {
                // Counted from before the request, because the server may have written at any moment since.
                Ok(Ok(true)) => renewed = begun,
                Ok(Ok(false)) => {
                    tracing::warn!("lost the lease: another operator holds it");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(error = words::with_causes(&error), "cannot renew the lease"),
                Err(_) => {}
            }
            if renewed.elapsed() >= RENEW {
                tracing::warn!("lost the lease: it was not renewed in time");
                return;
            }
        }
    }

    async fn renew(&self) -> kube::Result<bool> {
        // A deleted Lease counts as lost: any process may create it anew at this moment.
        let Some(lease) = self.api.get_opt(&self.name).await? else { return Ok(false) };
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) != Some(&self.identity) {
            return Ok(false);
        }
        self.swap(held_by(lease, &self.identity, false)).await
    }

    async fn try_acquire(&mut self) -> kube::Result<bool> {
        let Some(lease) = self.api.get_opt(&self.name).await? else { return self.create().await };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        self.seen = Some(sighting_of(self.seen.take(), version, Instant::now()));
        let expired = self.seen.as_ref().is_some_and(|seen| seen.since.elapsed() >= DURATION);
        // Its own identity is that of a container that restarted in the same pod, or of a write whose answer was lost:
        // neither needs to wait for itself.
        if !(holder.is_empty() || holder == self.identity || expired) {
            return Ok(false);
        }
        let taken = self.swap(held_by(lease, &self.identity, true)).await?;
        if taken {
            tracing::info!(former = holder, "acquired the lease");
        }
        Ok(taken)
    }

    async fn create(&self) -> kube::Result<bool> {
        let lease =
            Lease { metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, spec: None };
        swap_outcome(self.api.create(&PostParams::default(), &held_by(lease, &self.identity, true)).await)
    }

    /// Replaces the Lease by compare-and-swap: the API server rejects a version that is not the newest. Returns `false`
    /// if it did.
    async fn swap(&self, lease: Lease) -> kube::Result<bool> {
        swap_outcome(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }
}

fn swap_outcome(outcome: kube::Result<Lease>) -> kube::Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the sighting of a version. The clock starts when a version is first seen, whatever the Lease says about
/// time.
fn sighting_of(old: Option<LeaseSighting>, version: String, now: Instant) -> LeaseSighting {
    old.filter(|old| old.version == version).unwrap_or(LeaseSighting { version, since: now })
}

fn held_by(mut lease: Lease, identity: &str, anew: bool) -> Lease {
    let now = MicroTime(Timestamp::now());
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    // Both fields are about the holder, not about renewals, as the Lease API defines them.
    if anew && spec.holder_identity.as_deref() != Some(identity) {
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
    }
    spec.holder_identity = Some(identity.to_owned());
    // `DURATION`, for people and tools: no candidate reads it.
    spec.lease_duration_seconds = Some(15);
    spec.renew_time = Some(now);
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_counts_from_the_first_sight_of_a_version() {
        let begin = Instant::now();
        let first = sighting_of(None, "1".into(), begin);
        let later = sighting_of(Some(first.clone()), "1".into(), begin + PERIOD);
        assert_eq!(later.since, begin, "unchanged: the clock runs on");
        let renewed = sighting_of(Some(first), "2".into(), begin + PERIOD);
        assert_eq!(renewed.since, begin + PERIOD, "renewed: the clock starts again");
    }

    #[test]
    fn a_new_holder_counts_as_a_transition_and_a_renewal_does_not() {
        let lease = held_by(Lease::default(), "a", true);
        let transitions = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
        assert_eq!(transitions(&lease), Some(1));
        assert_eq!(transitions(&held_by(lease.clone(), "a", false)), Some(1));
        assert_eq!(transitions(&held_by(lease, "b", true)), Some(2));
    }

    #[test]
    fn the_holder_stops_before_others_begin() {
        assert!(RENEW + PERIOD < DURATION);
    }
}
