//! Warning events about objects that do not come up: a pod that may not be created, a volume that cannot be provisioned
//! or mounted. Nothing else gives the reason; the objects' own status is silent about it.

use crate::{cluster::ValidCluster, names, words};
use k8s_openapi::{
    api::core::v1::Event,
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, Client, api::ListParams};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Time for which warnings are reused, because there is a reconcile each second while something is waited for.
const FRESH: Duration = Duration::from_secs(5);
/// Age up to which a warning counts. The StatefulSet controller retries after up to a quarter of an hour, and is silent
/// in between.
const OLDEST: SignedDuration = SignedDuration::from_mins(20);
/// Maximum number of warnings that are read. A namespace in great trouble has more, but no more memory is spent on it.
const MOST: u32 = 500;
/// Maximum length of one warning in characters, enough for the words of a quota or an admission webhook.
const LENGTH: usize = 300;
/// Longest wait for the warnings. They only explain, so nothing waits long for them.
const PATIENCE: Duration = Duration::from_secs(3);

/// Warning event about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WarningEvent {
    kind: String,
    name: String,
    uid: String,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Warnings of each cluster's namespace, read from time to time.
#[derive(Debug, Default)]
pub struct WarningCache(Mutex<HashMap<String, (Instant, Vec<WarningEvent>)>>);

impl WarningCache {
    /// Returns the warnings that may concern this cluster, or none if they cannot be read, because they only explain.
    pub(super) async fn read(&self, client: &Client, cluster: &ValidCluster, now: Timestamp) -> Vec<WarningEvent> {
        let key = cluster.key();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((at, warnings)) = known
            && at.elapsed() < FRESH
        {
            return warnings;
        }
        // Filtered by the API server: most events of a namespace are Normal ones.
        let params = ListParams::default().fields("type=Warning").limit(MOST);
        let events = Api::<Event>::namespaced(client.clone(), &cluster.namespace);
        let warnings = match timeout(PATIENCE, events.list(&params)).await {
            Ok(Ok(list)) => relevant_warnings(cluster, list.items, now),
            Ok(Err(error)) => {
                tracing::debug!(cluster = key, error = words::with_causes(&error), "cannot read events");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        // A failure is kept like an answer: a list that is forbidden or slow costs one request per `FRESH`, not one per
        // reconcile.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, (Instant::now(), warnings.clone()));
        warnings
    }

    /// Forgets a ChatCluster that has been deleted.
    pub fn forget(&self, cluster: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }
}

fn relevant_warnings(cluster: &ValidCluster, events: Vec<Event>, now: Timestamp) -> Vec<WarningEvent> {
    let recent = |warning: &WarningEvent| now.duration_since(warning.at) < OLDEST;
    let ours = |warning: &WarningEvent| match warning.kind.as_str() {
        "StatefulSet" => warning.name == cluster.name,
        "Pod" => names::pod_ordinal(&cluster.name, &warning.name).is_some(),
        "PersistentVolumeClaim" => cluster.ordinals().any(|n| names::claim_name(&cluster.name, n) == warning.name),
        _ => false,
    };
    let mut found: Vec<WarningEvent> =
        events.into_iter().filter_map(warning_from).filter(recent).filter(ours).collect();
    // Newest first, because the first one that fits is reported.
    found.sort_by_key(|warning| std::cmp::Reverse(warning.at));
    found
}

fn warning_from(event: Event) -> Option<WarningEvent> {
    // Recorders of the events.k8s.io API set `eventTime` and the series, older ones `lastTimestamp`; a repeated event
    // counts from its last time.
    let series = event.series.and_then(|series| series.last_observed_time).map(|time| time.0);
    let last = event.last_timestamp.map(|time| time.0);
    let at = [series, last, event.event_time.map(|time| time.0)].into_iter().flatten().max()?;
    let about = event.involved_object;
    Some(WarningEvent {
        kind: about.kind?,
        name: about.name?,
        uid: about.uid.unwrap_or_default(),
        reason: event.reason?,
        message: words::in_short(&event.message.unwrap_or_default(), LENGTH),
        at,
    })
}

/// Returns the reason why the StatefulSet controller cannot create this pod. Of many similar warnings Kubernetes keeps
/// one, which may name another pod but has the same cause.
pub(super) fn of_missing_pod(warnings: &[WarningEvent], pod: &str) -> Option<String> {
    let about = || warnings.iter().filter(|one| one.kind == "StatefulSet" && one.reason.starts_with("FailedCreate"));
    let found = about().find(|one| one.message.contains(pod)).or_else(|| about().next());
    found.map(|one| format!("{}: {}", one.reason, one.message))
}

/// Returns the reason why this pod does not come to run, for as long as its own status does not say.
pub(super) fn of_pod(warnings: &[WarningEvent], uid: &str) -> Option<String> {
    // The pod itself reports failing probes and back-offs better.
    let tells = |one: &&WarningEvent| {
        one.kind == "Pod" && one.uid == uid && (one.reason.starts_with("Failed") || one.reason == "NodeNotReady")
    };
    warnings.iter().find(tells).map(|one| format!("{}: {}", one.reason, one.message))
}

/// Returns the reason why this claim gets no volume.
pub(super) fn of_claim(warnings: &[WarningEvent], claim: &str) -> Option<String> {
    let mut about = warnings.iter().filter(|one| one.kind == "PersistentVolumeClaim" && one.name == claim);
    about.next().map(|one| format!("{}: {}", one.reason, one.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().expect("a time")
    }

    fn event(kind: &str, name: &str, reason: &str, message: &str, at: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": format!("{name}.{at}")},
            "involvedObject": {"kind": kind, "name": name, "uid": format!("uid of {name}")},
            "type": "Warning", "reason": reason, "message": message, "lastTimestamp": at,
        }))
        .expect("an event")
    }

    #[test]
    fn the_newest_warning_about_a_pod_that_may_not_be_made_is_found() {
        let events = vec![
            event("StatefulSet", "team", "FailedCreate", "create Pod team-2 failed: old", "2026-01-01T00:50:00Z"),
            event("StatefulSet", "team", "FailedCreate", "create Pod team-2 failed: quota", "2026-01-01T00:59:00Z"),
            event("StatefulSet", "other", "FailedCreate", "create Pod team-2 failed: no", "2026-01-01T00:59:30Z"),
        ];
        let warnings = relevant_warnings(&fixture::cluster(), events, now());
        assert_eq!(
            of_missing_pod(&warnings, "team-2").as_deref(),
            Some("FailedCreate: create Pod team-2 failed: quota")
        );
        assert!(of_missing_pod(&warnings, "team-1").is_some(), "the same cause");
        assert_eq!(of_missing_pod(&[], "team-1"), None);
    }

    #[test]
    fn what_is_long_past_explains_nothing() {
        let old = event("StatefulSet", "team", "FailedCreate", "create Pod team-2 failed", "2026-01-01T00:10:00Z");
        assert!(relevant_warnings(&fixture::cluster(), vec![old], now()).is_empty());
    }

    #[test]
    fn claims_and_mounts_are_told_by_their_object() {
        let events = vec![
            event("PersistentVolumeClaim", "data-team-0", "ProvisioningFailed", "no class", "2026-01-01T00:59:00Z"),
            event("Pod", "team-0", "FailedMount", "configmap not found", "2026-01-01T00:59:00Z"),
            event("Pod", "team-1", "Unhealthy", "probe failed", "2026-01-01T00:59:00Z"),
        ];
        let warnings = relevant_warnings(&fixture::cluster(), events, now());
        assert_eq!(of_claim(&warnings, "data-team-0").as_deref(), Some("ProvisioningFailed: no class"));
        assert_eq!(of_pod(&warnings, "uid of team-0").as_deref(), Some("FailedMount: configmap not found"));
        assert_eq!(of_pod(&warnings, "uid of team-1"), None);
        assert_eq!(of_pod(&warnings, "uid of its predecessor"), None);
    }
}
