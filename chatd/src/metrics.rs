//! Metrics of a pod. [`catalogue`] declares them; the hooks of log, apply, proposals and Raft are in [`observe`],
//! delivery is in [`delivery`], and what is read only when somebody scrapes in [`scrape`].

mod api;
mod catalogue;
pub mod delivery;
mod ephemeral;
mod login;
pub mod observe;
mod process;
mod push;
pub mod scrape;

pub use api::{CallMeter, ClientApi, GaugeGuard, StreamGuard};
pub use catalogue::SECTIONS;

use catalogue::Instruments;
use observe::OutcomeCounters;
use quorate_meter::{Error, Histogram, Registry, TextEncoder};
use std::sync::{Arc, Mutex, PoisonError};

/// Metrics of this process. Clones share them.
#[derive(Clone)]
pub struct ChatMetrics {
    registry: Registry,
    pub(crate) all: Arc<Instruments>,
    hot: Arc<HotInstruments>,
    /// Lock that admits one scrape at a time: two would both add what counters are behind.
    scraping: Arc<Mutex<()>>,
}

/// Children of labelled instruments that are on the way of every command: looked up once instead of each time.
struct HotInstruments {
    outcomes: OutcomeCounters,
    delivery: [Histogram; 2],
}

impl ChatMetrics {
    /// Creates and registers all metrics.
    ///
    /// # Errors
    /// Only when two declarations clash, which the tests exclude.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let all = Arc::new(Instruments::register(&registry)?);
        all.process.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let delivery =
            [ClientApi::Grpc, ClientApi::Matrix].map(|api| all.delivery.seconds.with_label_values(&[api.label()]));
        let hot = Arc::new(HotInstruments { outcomes: OutcomeCounters::of(&all.proposals.ended), delivery });
        Ok(Self { registry, all, hot, scraping: Arc::default() })
    }

    /// Renders all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric cannot be written as text.
    pub fn render(&self) -> Result<String, Error> {
        self.scrape(|| ())
    }

    /// Renders all metrics after `refresh` has updated those that are read only for a scrape.
    ///
    /// # Errors
    /// If a metric cannot be written as text.
    pub fn scrape(&self, refresh: impl FnOnce()) -> Result<String, Error> {
        // Nothing behind the lock can be left half done.
        let _one = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        refresh();
        self.all.process.read();
        self.all.runtime.read();
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Returns the reference page of the metrics for the book.
#[must_use]
pub fn metrics_reference() -> String {
    quorate_meter::metrics_markdown(SECTIONS)
}

#[cfg(test)]
mod tests;
