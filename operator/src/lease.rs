//! One operator acts at a time: the one that holds a Lease.
//!
//! Taken and renewed by compare-and-swap on `resourceVersion`. Whether another's lease has expired is judged only by how
//! long *this* process has seen it unchanged: `renewTime` is never compared with the local clock, because clocks of
//! nodes differ. The holder stops before others may begin: it gives up after `RENEW` without a renewal, they wait
//! `DURATION`.

use crate::{metrics::Metrics, words};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How long others wait after the last sign of life.
const DURATION: Duration = Duration::from_secs(15);
/// How long the holder goes on without a successful renewal.
const RENEW: Duration = Duration::from_secs(10);
/// Between two looks or renewals.
const PERIOD: Duration = Duration::from_secs(2);

/// This process's claim to a Lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    metrics: Metrics,
    seen: Option<Sighting>,
}

/// A version of the Lease, and since when this process has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sighting {
    version: String,
    since: Instant,
}

impl Candidate {
    /// A candidate by this name; names must differ between processes.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: String, metrics: Metrics) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity, metrics, seen: None }
    }

    /// Waits until this process holds the Lease.
    pub async fn acquire(&mut self) {
        loop {
            match timeout(RENEW, self.try_acquire()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = words::with_causes(&error), "cannot read or take the lease")
                }
                Err(_) => tracing::warn!("the API server does not answer about the lease"),
            }
            sleep(PERIOD).await;
        }
    }

    /// Runs `work` while the Lease is held. Returns its result, or `None` when the Lease was lost and work was dropped
    /// where it stood.
    pub async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.keep() => None,
        }
    }

    /// Gives the Lease back, so that another need not wait for its end.
    pub async fn release(&mut self) {
        let Ok(Ok(Some(mut lease))) = timeout(PERIOD, self.api.get_opt(&self.name)).await else { return };
        let holds = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.identity);
        if let Some(spec) = lease.spec.as_mut().filter(|_| holds) {
            spec.holder_identity = None;
            // Should it fail, the others wait out the time.
            let _ = timeout(PERIOD, self.api.replace(&self.name, &PostParams::default(), &lease)).await;
        }
    }

    /// Renews until that fails for too long, or another holds it.
    async fn keep(&self) {
        let mut renewed = Instant::now();
        loop {
            sleep(PERIOD).await;
            let begun = Instant::now();
            let left = RENEW.saturating_sub(renewed.elapsed());
            let outcome = timeout(left, self.renew()).await;
            self.metrics.renewed(matches!(outcome, Ok(Ok(true))));
            match outcome {
                // From before the request: the server may have written it at any moment since.
                Ok(Ok(true)) => renewed = begun,
                Ok(Ok(false)) => {
                    tracing::warn!("another operator holds the lease");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(error = words::with_causes(&error), "cannot renew the lease"),
                Err(_) => {}
            }
            if renewed.elapsed() >= RENEW {
                tracing::warn!("the lease could not be renewed in time");
                return;
            }
        }
    }

    async fn renew(&self) -> kube::Result<bool> {
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
        self.seen = Some(sight(self.seen.take(), version, Instant::now()));
        let expired = self.seen.as_ref().is_some_and(|seen| seen.since.elapsed() >= DURATION);
        if !(holder.is_empty() || holder == self.identity || expired) {
            return Ok(false);
        }
        let taken = self.swap(held_by(lease, &self.identity, true)).await?;
        if taken {
            tracing::info!(former = holder, "holding the lease");
        }
        Ok(taken)
    }

    async fn create(&self) -> kube::Result<bool> {
        let lease =
            Lease { metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, spec: None };
        swapped(self.api.create(&PostParams::default(), &held_by(lease, &self.identity, true)).await)
    }

    /// The API server refuses a version that is not the newest: that is the compare-and-swap.
    async fn swap(&self, lease: Lease) -> kube::Result<bool> {
        swapped(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }
}

fn swapped(outcome: kube::Result<Lease>) -> kube::Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The clock starts when a version is first seen, whatever the Lease says about time.
fn sight(old: Option<Sighting>, version: String, now: Instant) -> Sighting {
    old.filter(|old| old.version == version).unwrap_or(Sighting { version, since: now })
}

fn held_by(mut lease: Lease, identity: &str, anew: bool) -> Lease {
    let now = MicroTime(Timestamp::now());
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    if anew && spec.holder_identity.as_deref() != Some(identity) {
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
    }
    spec.holder_identity = Some(identity.to_owned());
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
        let first = sight(None, "1".into(), begin);
        let later = sight(Some(first.clone()), "1".into(), begin + PERIOD);
        assert_eq!(later.since, begin, "unchanged: the clock runs on");
        let renewed = sight(Some(first), "2".into(), begin + PERIOD);
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
