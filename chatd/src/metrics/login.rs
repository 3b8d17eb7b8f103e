//! Metrics of callers who have no session yet.

use super::{ChatMetrics, GaugeGuard};

impl ChatMetrics {
    /// Counts a login that waits for its password's hash, until the guard is dropped.
    #[must_use]
    pub(crate) fn waiting_login(&self) -> GaugeGuard {
        GaugeGuard::one(&self.all.logins.waiting)
    }

    /// Counts a caller without a session who was sent away for a while; `reason` is one that the catalogue lists.
    pub(crate) fn login_refused(&self, reason: &'static str) {
        self.all.logins.refused.with_label_values(&[reason]).inc();
    }
}
