//! Metrics of how late readers are told, and of what `/sync` answers.

use super::{ChatMetrics, ClientApi, GaugeGuard};
use quorate_meter::Histogram;
use std::time::Instant;

/// Timer of the hand-overs to one reader.
#[derive(Clone)]
pub struct DeliveryTimer {
    seconds: Histogram,
    came: Instant,
}

impl DeliveryTimer {
    /// Records that events were handed over, the oldest of which was applied on this pod at `applied`; `None` for
    /// history, whose application nobody remembers. Events that were there before the reader came are late only since
    /// then.
    pub fn handed(&self, applied: Option<Instant>) {
        if let Some(applied) = applied {
            self.seconds.observe(applied.max(self.came).elapsed().as_secs_f64());
        }
    }
}

/// Reason for the answer to a `/sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncAnswer {
    /// The request had no token, or asked for the full state.
    Initial,
    /// There was something new.
    Event,
    /// There was nothing for as long as the client wanted to wait.
    Timeout,
    /// The pod is stopping.
    Stopping,
}

impl SyncAnswer {
    pub const ALL: [Self; 4] = [Self::Initial, Self::Event, Self::Timeout, Self::Stopping];

    fn label(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Event => "event",
            Self::Timeout => "timeout",
            Self::Stopping => "stopping",
        }
    }
}

/// Source in which a `/sync` looked for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncSource {
    /// The newest events of the pod.
    Memory,
    /// News that others had read of the same room.
    Shared,
    /// Rows read for this `/sync` alone.
    Rows,
}

impl SyncSource {
    fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Shared => "shared",
            Self::Rows => "rows",
        }
    }
}

impl ChatMetrics {
    /// Counts a look of a `/sync` for news.
    pub fn sync_looked(&self, source: SyncSource) {
        self.all.delivery.sync_looks.with_label_values(&[source.label()]).inc();
    }

    /// Starts the timer of a reader that came just now.
    #[must_use]
    pub fn delivery(&self, api: ClientApi) -> DeliveryTimer {
        let [grpc, matrix] = &self.hot.delivery;
        let seconds = match api {
            ClientApi::Grpc => grpc,
            ClientApi::Matrix => matrix,
        };
        DeliveryTimer { seconds: seconds.clone(), came: Instant::now() }
    }

    /// Counts a `/sync` that waits, until the guard is dropped.
    #[must_use]
    pub fn parked(&self) -> GaugeGuard {
        GaugeGuard::one(&self.all.delivery.sync_parked)
    }

    /// Counts a `/sync` that was answered.
    pub fn synced(&self, answer: SyncAnswer) {
        self.all.delivery.sync_answers.with_label_values(&[answer.label()]).inc();
    }

    /// Records the size of the body of a `/sync` answer.
    pub fn sync_body(&self, bytes: u64) {
        // Far below the precision that `f64` keeps.
        #[allow(clippy::cast_precision_loss)]
        self.all.delivery.sync_bytes.observe(bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_delivery_is_timed_from_the_later_of_application_and_the_readers_coming() {
        let metrics = ChatMetrics::new().unwrap();
        let mut timer = metrics.delivery(ClientApi::Grpc);
        timer.handed(None);
        assert_eq!(timer.seconds.get_sample_count(), 0);
        // Applied an hour before the reader came: not an hour late.
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(3600)) else { return };
        timer.handed(Some(long_ago));
        assert!(timer.seconds.get_sample_count() == 1 && timer.seconds.get_sample_sum() < 60.0);
        timer.came = long_ago;
        timer.handed(Some(long_ago));
        assert!(timer.seconds.get_sample_sum() >= 3600.0);
        assert_eq!(metrics.delivery(ClientApi::Matrix).seconds.get_sample_count(), 0);
    }

    #[test]
    fn a_parked_sync_is_counted_until_it_goes_on() {
        let metrics = ChatMetrics::new().unwrap();
        let parked = metrics.parked();
        assert_eq!(metrics.all.delivery.sync_parked.get(), 1);
        drop(parked);
        assert_eq!(metrics.all.delivery.sync_parked.get(), 0);
    }
}
