//! Metrics of typing and presence.

use super::ChatMetrics;

const TYPING: &str = "typing";
const PRESENCE: &str = "presence";

impl ChatMetrics {
    /// Sets how many entries are kept, and of how many other pods.
    pub fn ephemeral_kept(&self, typing: usize, presence: usize, pods: usize) {
        let all = &self.all.ephemeral;
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        all.kept.with_label_values(&[TYPING]).set(gauge(typing));
        all.kept.with_label_values(&[PRESENCE]).set(gauge(presence));
        all.pods.set(gauge(pods));
    }

    /// Counts entries that were refused.
    pub fn ephemeral_refused(&self, typing: u64, presence: u64) {
        self.all.ephemeral.refused.with_label_values(&[TYPING]).inc_by(typing);
        self.all.ephemeral.refused.with_label_values(&[PRESENCE]).inc_by(presence);
    }

    /// Counts entries that another pod has sent.
    pub fn gossip_received(&self, entries: usize) {
        self.all.ephemeral.received.inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
    }
}
