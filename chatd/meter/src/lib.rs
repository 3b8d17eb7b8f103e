//! Metrics as declarations. A program lists its metrics with [`declare!`], each with name, type, labels and meaning in
//! one place. The instruments, the page of the book and the checks of the conventions all come from that list.

mod catch_up;
mod conventions;
mod instrument;
mod page;
pub mod process;

pub use catch_up::CatchUp;
pub use conventions::convention_violations;
pub use instrument::{MetricInstrument, register_instrument};
pub use page::metrics_markdown;
pub use prometheus::{
    Counter, Error, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder, core::Collector, proto::MetricFamily,
};

/// Declaration of a metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricSpec {
    /// Name, including prefix and unit.
    pub name: &'static str,
    /// Type of the metric.
    pub kind: MetricKind,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// Description in one sentence.
    pub help: &'static str,
    /// Upper bounds of the buckets of a histogram; `None` stands for the defaults of its unit.
    pub buckets: Option<&'static [f64]>,
}

/// Type of a metric, which says how to read its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that only grows while the process lives.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// The number of observations up to each of several bounds.
    Histogram,
}

impl MetricKind {
    /// Returns the name of the type in Prometheus.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl MetricSpec {
    /// Returns the unit that the name ends in, or `None` for counts and metrics without a unit.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"].into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }
}

/// Metrics of one subject.
#[derive(Clone, Copy, Debug)]
pub struct MetricSection {
    /// Subject, used as heading.
    pub title: &'static str,
    /// Declarations in the order in which people should read them.
    pub specs: &'static [MetricSpec],
}

/// Declares the metrics of one subject: a struct with one instrument per metric, a function `register` that creates it,
/// and the list of declarations as a constant `SECTION`. `in BUCKETS` gives a histogram buckets other than the defaults
/// of its unit.
///
/// ```
/// quorate_meter::declare! {
///     /// Metrics of the listeners.
///     pub struct ListenerMetrics, "Listeners" {
///         requests: IntCounterVec = "quorate_api_requests_total" ["code"] "Requests answered.";
///     }
/// }
/// let listeners = ListenerMetrics::register(&quorate_meter::Registry::new()).unwrap();
/// listeners.requests.with_label_values(&["ok"]).inc();
/// assert_eq!(ListenerMetrics::SECTION.specs[0].name, "quorate_api_requests_total");
/// ```
#[macro_export]
macro_rules! declare {
    (@buckets) => { None };
    (@buckets $buckets:ident) => { Some($buckets) };
    (@spec $type:ident, $name:literal [$($label:literal),*] [$($buckets:ident)?] $help:literal) => {
        $crate::MetricSpec {
            name: $name,
            kind: <$crate::$type as $crate::MetricInstrument>::KIND,
            labels: &[$($label),*],
            help: $help,
            buckets: $crate::declare!(@buckets $($buckets)?),
        }
    };
    ($(#[$about:meta])* $visibility:vis struct $section:ident, $title:literal {
        $($field:ident: $type:ident = $name:literal [$($label:literal),*] $(in $buckets:ident)? $help:literal;)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        $visibility struct $section {
            $(#[doc = $help] $visibility $field: $crate::$type,)*
        }

        impl $section {
            /// Declarations of the metrics.
            $visibility const SECTION: $crate::MetricSection = $crate::MetricSection {
                title: $title,
                specs: &[$($crate::declare!(@spec $type, $name [$($label),*] [$($buckets)?] $help)),*],
            };

            /// Creates the instruments and registers them.
            ///
            /// # Errors
            /// Returns an error if a name is already registered.
            $visibility fn register(registry: &$crate::Registry) -> Result<Self, $crate::Error> {
                Ok(Self {
                    $($field: $crate::register_instrument(
                        registry,
                        &$crate::declare!(@spec $type, $name [$($label),*] [$($buckets)?] $help),
                    )?,)*
                })
            }
        }
    };
}
