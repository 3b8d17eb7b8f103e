//! What the operator measures. Every name and label stands in this file; dashboards are checked against it.

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The operator's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Looks at a ChatCluster, by what they came to: `ok`, `error`, `invalid`.
    pub reconciles: IntCounterVec,
    /// How long they took.
    pub reconcile_seconds: HistogramVec,
    /// Steps taken, by kind and outcome: `ok`, `failed`.
    pub steps: IntCounterVec,
    /// Writes of a status.
    pub status_writes: IntCounterVec,
    /// Changes of leader seen, by cluster.
    pub leader_changes: IntCounterVec,
    /// 1 for each cluster that serves writes, else 0.
    pub available: IntGaugeVec,
    /// Members whose admin door answers, by cluster.
    pub doors: IntGaugeVec,
    /// 1 while this process holds the lease.
    pub leading: IntGauge,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// When a name is given twice, which the tests would show.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let cluster = ["namespace", "cluster"];
        // A look takes some ten reads of the API server; a step up to ten seconds.
        let buckets = vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let seconds = HistogramVec::new(
            HistogramOpts::new("quorate_operator_reconcile_seconds", "Time of one look at a ChatCluster.")
                .buckets(buckets),
            &["result"],
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let leading = IntGauge::new("quorate_operator_leading", "1 while this process holds the lease.")?;
        registry.register(Box::new(leading.clone()))?;
        Ok(Self {
            reconciles: counter(
                "quorate_operator_reconciles_total",
                "Looks at a ChatCluster, by result.",
                &["result"],
            )?,
            reconcile_seconds: seconds,
            steps: counter("quorate_operator_steps_total", "Steps taken, by kind and result.", &["step", "result"])?,
            status_writes: counter("quorate_operator_status_writes_total", "Writes of a status.", &cluster)?,
            leader_changes: counter("quorate_operator_leader_changes_total", "Changes of leader seen.", &cluster)?,
            available: gauge("quorate_operator_cluster_available", "1 while the cluster serves writes.", &cluster)?,
            doors: gauge("quorate_operator_cluster_doors", "Pods whose admin door answers.", &cluster)?,
            leading,
            registry,
        })
    }

    /// In the text format of Prometheus.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut buffer = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut buffer)?;
        String::from_utf8(buffer).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, namespace: &str, cluster: &str) {
        let labels = [namespace, cluster];
        // An error only says that there was nothing to forget.
        let _ = self.available.remove_label_values(&labels);
        let _ = self.doors.remove_label_values(&labels);
        let _ = self.leader_changes.remove_label_values(&labels);
        let _ = self.status_writes.remove_label_values(&labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_the_prefix() {
        let metrics = Metrics::new().expect("no name twice");
        metrics.available.with_label_values(&["chat", "team"]).set(1);
        let text = metrics.text().expect("text");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("quorate_operator_"), "{line}");
        }
        assert!(text.contains(r#"quorate_operator_cluster_available{cluster="team",namespace="chat"} 1"#), "{text}");
    }
}
