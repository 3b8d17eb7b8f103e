//! From a declaration to an instrument.

use crate::{Kind, Spec};
use prometheus::core::Collector;
use prometheus::{
    Counter, Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// From a tenth of a millisecond (an fsync) to ten seconds (a wait for a leader).
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Commands of an entry, records of a batch.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
/// 256 B to 4 MiB.
const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// What can be made from a declaration.
pub trait Instrument: Collector + Clone + Sized + 'static {
    /// How its values are to be read.
    const KIND: Kind;

    /// Makes it.
    ///
    /// # Errors
    /// When the name or a label is none that Prometheus takes.
    fn make(spec: &Spec) -> Result<Self, Error>;
}

/// Makes an instrument and registers it.
///
/// # Errors
/// When the name is registered already, or none that Prometheus takes.
pub fn register<I: Instrument>(registry: &Registry, spec: &Spec) -> Result<I, Error> {
    let instrument = I::make(spec)?;
    registry.register(Box::new(instrument.clone()))?;
    Ok(instrument)
}

fn opts(spec: &Spec) -> Opts {
    Opts::new(spec.name, spec.help)
}

fn histogram(spec: &Spec) -> HistogramOpts {
    let buckets = spec.buckets.unwrap_or(match spec.unit() {
        Some("bytes") => BYTES,
        Some(_) => SECONDS,
        None => COUNTS,
    });
    HistogramOpts::new(spec.name, spec.help).buckets(buckets.to_vec())
}

macro_rules! instruments {
    ($($type:ident, $kind:ident: $spec:ident => $make:expr;)*) => {
        $(impl Instrument for $type {
            const KIND: Kind = Kind::$kind;

            fn make($spec: &Spec) -> Result<Self, Error> {
                $make
            }
        })*
    };
}

instruments! {
    Counter, Counter: s => Self::with_opts(opts(s));
    IntCounter, Counter: s => Self::with_opts(opts(s));
    IntCounterVec, Counter: s => Self::new(opts(s), s.labels);
    Gauge, Gauge: s => Self::with_opts(opts(s));
    GaugeVec, Gauge: s => Self::new(opts(s), s.labels);
    IntGauge, Gauge: s => Self::with_opts(opts(s));
    IntGaugeVec, Gauge: s => Self::new(opts(s), s.labels);
    Histogram, Histogram: s => Self::with_opts(histogram(s));
    HistogramVec, Histogram: s => Self::new(histogram(s), s.labels);
}
