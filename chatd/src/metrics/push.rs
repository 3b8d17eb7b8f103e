//! Metrics of notifications.

use super::ChatMetrics;
use std::time::Duration;

impl ChatMetrics {
    /// Counts notifications by what became of them.
    pub fn push_ended(&self, outcome: &'static str, notifications: u64) {
        self.all.push.ended.with_label_values(&[outcome]).inc_by(notifications);
    }

    /// Notes the time of a request to a push gateway.
    pub fn push_requested(&self, took: Duration) {
        self.all.push.seconds.observe(took.as_secs_f64());
    }

    /// Sets how many notifications wait, and how many gateways fail.
    pub fn push_waiting(&self, waiting: usize, failing: usize) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.all.push.waiting.set(gauge(waiting));
        self.all.push.gateways_failing.set(gauge(failing));
    }
}
