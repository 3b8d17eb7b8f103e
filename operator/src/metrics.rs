//! Metrics of the operator. Every name and label is declared in this file; `docs/metrics.md` is generated from it, and
//! dashboards are checked against that page.

use crate::{controller::ReconcileError, plan::PlanStep, status::MemberRole};
use quorate_crd::{ChatClusterStatus, condition};
use quorate_meter::{CatchUp as _, Error, MetricSection, Registry, TextEncoder, declare, process};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Buckets in seconds. A reconcile makes some ten reads of the API server; a step takes up to ten seconds.
const SLOW: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

declare! {
    /// Metrics of the reconciler.
    pub struct ReconcileMetrics, "Reconciling" {
        reconciles: IntCounterVec = "quorate_operator_reconciles_total" ["result"]
            "Reconciles of ChatClusters, by result: `ok` or `error`.";
        seconds: HistogramVec = "quorate_operator_reconcile_seconds" ["result"] in SLOW
            "Duration of one reconcile of a ChatCluster.";
        errors: IntCounterVec = "quorate_operator_errors_total" ["reason"]
            "Errors, by reason: `observe`, `status` and `late` (timed out) end a reconcile; `apply` is a refused \
             object and `step` a failed step, both of which the status reports and the operator retries; \
             `invalid_spec` waits for an administrator.";
        steps: IntCounterVec = "quorate_operator_steps_total" ["step", "result"] "Steps taken, by kind and result.";
        step_seconds: HistogramVec = "quorate_operator_step_seconds" ["step"] in SLOW
            "Duration of one step, whether it succeeded or failed.";
        status_writes: IntCounterVec = "quorate_operator_status_writes_total" ["namespace", "cluster"]
            "Status writes.";
    }
}

declare! {
    /// State of the clusters, as the operator sees it.
    pub struct ClusterMetrics, "Clusters" {
        available: IntGaugeVec = "quorate_operator_cluster_available" ["namespace", "cluster"]
            "1 while the cluster serves writes, as far as the operator can tell.";
        replicas: IntGaugeVec = "quorate_operator_cluster_replicas" ["namespace", "cluster"]
            "Number of pods that the spec asks for.";
        ready: IntGaugeVec = "quorate_operator_cluster_ready" ["namespace", "cluster"] "Number of ready pods.";
        pods_watched: IntGaugeVec = "quorate_operator_cluster_pods_answering" ["namespace", "cluster"]
            "Number of pods whose admin API answers.";
        stalled: IntGaugeVec = "quorate_operator_cluster_stalled" ["namespace", "cluster"]
            "1 while the operator cannot proceed by itself; the Stalled condition says what an administrator must do.";
        refused: IntGaugeVec = "quorate_operator_cluster_refused_writes" ["namespace", "cluster"]
            "Number of writes that the API server refuses; the status has its error messages.";
        leader_changes: IntCounterVec = "quorate_operator_leader_changes_total" ["namespace", "cluster"]
            "Leader changes observed.";
        replacement_seconds: GaugeVec = "quorate_operator_replacement_seconds" ["namespace", "cluster"]
            "Time since the replacement of a member or its volume began; 0 if none is in progress.";
    }
}

declare! {
    /// Metrics of the lease.
    pub struct LeaseMetrics, "Lease" {
        leading: IntGauge = "quorate_operator_leading" [] "1 while this process holds the lease.";
        renewals: IntCounterVec = "quorate_operator_lease_renewals_total" ["result"]
            "Attempts to renew the lease while this process holds it, by result: `ok` or `failed`.";
    }
}

declare! {
    /// Metrics of the process.
    pub struct ProcessMetrics, "Process" {
        build_info: IntGaugeVec = "quorate_operator_build_info" ["version"]
            "Always 1; the label has the version of the operator.";
        resident: IntGauge = "quorate_operator_process_resident_memory_bytes" []
            "Resident memory of the process.";
        cpu_seconds: Counter = "quorate_operator_process_cpu_seconds_total" []
            "User and system CPU time of the process.";
    }
}

/// Reason of a counted error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorReason {
    /// The API server did not answer, or not as expected, while the cluster was observed.
    Observe,
    /// The status could not be written.
    Status,
    /// The reconcile took too long.
    Late,
    /// The API server refused an object.
    Apply,
    /// A step failed.
    Step,
    /// The spec cannot be read or carried out.
    InvalidSpec,
}

impl ErrorReason {
    /// Returns the reason as the label of the metric has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Status => "status",
            Self::Late => "late",
            Self::Apply => "apply",
            Self::Step => "step",
            Self::InvalidSpec => "invalid_spec",
        }
    }
}

/// All declarations, in the order of the generated page.
pub const SECTIONS: &[MetricSection] =
    &[ReconcileMetrics::SECTION, ClusterMetrics::SECTION, LeaseMetrics::SECTION, ProcessMetrics::SECTION];

/// Metrics of the operator. Clones share them.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    registry: Registry,
    /// Metrics of the reconciler.
    pub work: ReconcileMetrics,
    /// State of the clusters.
    pub clusters: ClusterMetrics,
    /// Metrics of the lease.
    pub lease: LeaseMetrics,
    process: ProcessMetrics,
    /// Lock for one scrape at a time, because two concurrent ones would both add what the counters lack.
    scraping: Arc<Mutex<()>>,
}

impl OperatorMetrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// Fails if a name is declared twice, which the tests would show.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let process = ProcessMetrics::register(&registry)?;
        process.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            work: ReconcileMetrics::register(&registry)?,
            clusters: ClusterMetrics::register(&registry)?,
            lease: LeaseMetrics::register(&registry)?,
            process,
            scraping: Arc::default(),
            registry,
        })
    }

    /// Renders the metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// Fails if a metric cannot be written as text.
    pub fn text(&self) -> Result<String, Error> {
        let _one = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = process::process_usage() {
            self.process.cpu_seconds.catch_up(run.cpu_seconds);
        }
        if let Some(bytes) = process::resident_bytes() {
            self.process.resident.set(bytes);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Counts a finished reconcile by its outcome, with the time that it took.
    pub fn looked<T>(&self, outcome: &Result<T, ReconcileError>, took: Duration) {
        let result = if outcome.is_ok() { "ok" } else { "error" };
        self.work.reconciles.with_label_values(&[result]).inc();
        self.work.seconds.with_label_values(&[result]).observe(took.as_secs_f64());
        if let Err(error) = outcome {
            self.failed(error.reason());
        }
    }

    /// Counts a failure by its reason.
    pub fn failed(&self, reason: ErrorReason) {
        self.work.errors.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a step by its outcome, with the time that it took.
    pub fn stepped(&self, step: &PlanStep, failed: bool, took: Duration) {
        let step = step.kind();
        self.work.steps.with_label_values(&[step, if failed { "failed" } else { "ok" }]).inc();
        self.work.step_seconds.with_label_values(&[step]).observe(took.as_secs_f64());
        if failed {
            self.failed(ErrorReason::Step);
        }
    }

    /// Sets the gauges of a cluster. `replacing` is the time for which a replacement has been in progress.
    pub fn seen(&self, cluster: [&str; 2], wanted: i32, status: &ChatClusterStatus, replacing: Option<Duration>) {
        let watched = status.members.iter().filter(|member| member.role != MemberRole::Unreachable.as_str()).count();
        let all = &self.clusters;
        // A cluster that could not be observed does not count as an outage: the operator's own trouble is not the
        // cluster's.
        let unseen =
            status.conditions.iter().any(|found| found.type_ == condition::AVAILABLE && found.status == "Unknown");
        all.available.with_label_values(&cluster).set(i64::from(status.leader.is_some() || unseen));
        all.replicas.with_label_values(&cluster).set(i64::from(wanted));
        all.ready.with_label_values(&cluster).set(i64::from(status.ready_replicas.unwrap_or(0)));
        let stalled = status.conditions.iter().any(|found| found.type_ == condition::STALLED && found.status == "True");
        all.stalled.with_label_values(&cluster).set(i64::from(stalled));
        all.pods_watched.with_label_values(&cluster).set(i64::try_from(watched).unwrap_or(i64::MAX));
        all.replacement_seconds.with_label_values(&cluster).set(replacing.unwrap_or_default().as_secs_f64());
    }

    /// Sets the number of writes that the API server refuses.
    pub fn refused(&self, cluster: [&str; 2], writes: usize) {
        let writes = i64::try_from(writes).unwrap_or(i64::MAX);
        self.clusters.refused.with_label_values(&cluster).set(writes);
    }

    /// Counts an attempt to renew the held lease, successful or not.
    pub fn renewed(&self, renewed: bool) {
        self.lease.renewals.with_label_values(&[if renewed { "ok" } else { "failed" }]).inc();
    }

    /// Forgets a cluster that has been deleted.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        let labels = [namespace, cluster];
        // Without `..`, so that a new metric cannot be forgotten: one that stays would report the deleted cluster's
        // last state for ever.
        let ClusterMetrics {
            available,
            replicas,
            ready,
            pods_watched,
            stalled,
            refused,
            leader_changes,
            replacement_seconds,
        } = &self.clusters;
        for gauges in [available, replicas, ready, pods_watched, stalled, refused] {
            // An error only means that there was nothing to remove.
            let _ = gauges.remove_label_values(&labels);
        }
        let _ = replacement_seconds.remove_label_values(&labels);
        let _ = leader_changes.remove_label_values(&labels);
        let _ = self.work.status_writes.remove_label_values(&labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 6] = ["cluster", "namespace", "reason", "result", "step", "version"];

    fn used() -> OperatorMetrics {
        let metrics = OperatorMetrics::new().unwrap();
        metrics.looked(&Ok(()), Duration::from_millis(3));
        metrics.stepped(&PlanStep::SetPartition(1), true, Duration::from_millis(3));
        metrics.seen(["chat", "team"], 3, &ChatClusterStatus::default(), Some(Duration::from_secs(7)));
        metrics.refused(["chat", "team"], 2);
        metrics.renewed(false);
        metrics.work.status_writes.with_label_values(&["chat", "team"]).inc();
        metrics.clusters.leader_changes.with_label_values(&["chat", "team"]).inc();
        metrics
    }

    #[test]
    fn names_labels_and_units_follow_the_conventions() {
        let broken = quorate_meter::convention_violations(SECTIONS, "quorate_operator_", &LABELS);
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    #[test]
    fn all_that_is_declared_is_rendered_once_it_was_used() {
        let text = used().text().unwrap();
        for spec in SECTIONS.iter().flat_map(|section| section.specs) {
            let head = format!("# TYPE {} {}\n", spec.name, spec.kind.label());
            assert!(text.contains(&head), "{head} is not in\n{text}");
        }
        assert!(text.contains("quorate_operator_errors_total{reason=\"step\"} 1\n"), "{text}");
        assert!(
            text.contains("quorate_operator_replacement_seconds{cluster=\"team\",namespace=\"chat\"} 7\n"),
            "{text}"
        );
    }

    #[test]
    fn a_cluster_that_is_gone_leaves_no_line() {
        let metrics = used();
        metrics.forget("chat", "team");
        let text = metrics.text().unwrap();
        assert!(!text.contains("team"), "{text}");
        metrics.forget("chat", "team");
    }
}
