//! Metrics as declarations. A program lists its metrics with [`declare!`], each with name, type, labels and meaning in one
//! place; the instruments, the page of the book and the checks of the conventions all come from that list.

mod catch_up;
mod conventions;
mod instrument;
mod page;
pub mod process;

pub use catch_up::CatchUp;
pub use conventions::broken;
pub use instrument::{Instrument, register};
pub use page::page;
pub use prometheus::{
    Counter, Error, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder, core::Collector, proto::MetricFamily,
};

/// A metric as it is declared.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// With prefix and unit.
    pub name: &'static str,
    /// How its values are to be read.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets; without them its unit decides.
    pub buckets: Option<&'static [f64]>,
}

/// How values are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many observations were at most so large.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Spec {
    /// The unit that its name ends in; `None` for what is counted or has no unit.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"].into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }
}

/// Metrics of one subject.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// In the order in which people should read them.
    pub specs: &'static [Spec],
}

/// Declares the metrics of one subject: a struct with an instrument for each, made by its `register`, and the list of them,
/// its `SECTION`. `in BUCKETS` gives a histogram other buckets than those of its unit.
///
/// ```
/// quorate_meter::declare! {
///     /// Doors.
///     pub struct Doors, "Doors" {
///         requests: IntCounterVec = "quorate_door_requests_total" ["code"] "Requests answered.";
///     }
/// }
/// let doors = Doors::register(&quorate_meter::Registry::new()).unwrap();
/// doors.requests.with_label_values(&["ok"]).inc();
/// assert_eq!(Doors::SECTION.specs[0].name, "quorate_door_requests_total");
/// ```
#[macro_export]
macro_rules! declare {
    (@buckets) => { None };
    (@buckets $buckets:ident) => { Some($buckets) };
    (@spec $type:ident, $name:literal [$($label:literal),*] [$($buckets:ident)?] $help:literal) => {
        $crate::Spec {
            name: $name,
            kind: <$crate::$type as $crate::Instrument>::KIND,
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
            /// The declarations.
            $visibility const SECTION: $crate::Section = $crate::Section {
                title: $title,
                specs: &[$($crate::declare!(@spec $type, $name [$($label),*] [$($buckets)?] $help)),*],
            };

            /// Makes and registers the instruments.
            ///
            /// # Errors
            /// When a name is registered already.
            $visibility fn register(registry: &$crate::Registry) -> Result<Self, $crate::Error> {
                Ok(Self {
                    $($field: $crate::register(
                        registry,
                        &$crate::declare!(@spec $type, $name [$($label),*] [$($buckets)?] $help),
                    )?,)*
                })
            }
        }
    };
}
