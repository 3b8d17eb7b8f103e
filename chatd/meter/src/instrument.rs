//! Creation of instruments from declarations.

use crate::{MetricKind, MetricSpec};
use prometheus::core::Collector;
use prometheus::{
    Counter, Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// Default buckets of durations, from a tenth of a millisecond (an fsync) to ten seconds (a wait for a leader).
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Default buckets of counts, such as commands per entry or records per batch.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
/// Default buckets of sizes, from 256 B to 4 MiB.
const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// Instrument that can be created from a declaration.
pub trait MetricInstrument: Collector + Clone + Sized + 'static {
    /// Type of the metric.
    const KIND: MetricKind;

    /// Creates the instrument without registering it.
    ///
    /// # Errors
    /// Returns an error if Prometheus does not accept the name or a label.
    fn make(spec: &MetricSpec) -> Result<Self, Error>;
}

/// Creates an instrument and registers it.
///
/// # Errors
/// Returns an error if the name is already registered, or if Prometheus does not accept it.
pub fn register_instrument<I: MetricInstrument>(registry: &Registry, spec: &MetricSpec) -> Result<I, Error> {
    let instrument = I::make(spec)?;
    registry.register(Box::new(instrument.clone()))?;
    Ok(instrument)
}

fn metric_opts(spec: &MetricSpec) -> Opts {
    Opts::new(spec.name, spec.help)
}

fn histogram_opts(spec: &MetricSpec) -> HistogramOpts {
    let buckets = spec.buckets.unwrap_or(match spec.unit() {
        Some("bytes") => BYTES,
        Some(_) => SECONDS,
        None => COUNTS,
    });
    HistogramOpts::new(spec.name, spec.help).buckets(buckets.to_vec())
}

macro_rules! instruments {
    ($($type:ident, $kind:ident: $spec:ident => $make:expr;)*) => {
        $(impl MetricInstrument for $type {
            const KIND: MetricKind = MetricKind::$kind;

            fn make($spec: &MetricSpec) -> Result<Self, Error> {
                $make
            }
        })*
    };
}

instruments! {
    Counter, Counter: s => Self::with_opts(metric_opts(s));
    IntCounter, Counter: s => Self::with_opts(metric_opts(s));
    IntCounterVec, Counter: s => Self::new(metric_opts(s), s.labels);
    Gauge, Gauge: s => Self::with_opts(metric_opts(s));
    GaugeVec, Gauge: s => Self::new(metric_opts(s), s.labels);
    IntGauge, Gauge: s => Self::with_opts(metric_opts(s));
    IntGaugeVec, Gauge: s => Self::new(metric_opts(s), s.labels);
    Histogram, Histogram: s => Self::with_opts(histogram_opts(s));
    HistogramVec, Histogram: s => Self::new(histogram_opts(s), s.labels);
}
