//! Measurements that take more than one call, and their figures.

mod catch_up;
mod crowd;
mod growth;
mod matrix;
mod memory;

use crate::load::clock::LoadTiming;
use crate::load::failover::LeaderOutage;
use crate::load::post::PostFigures;
use crate::load::room::{RateSearch, RoomUnderLoad};
use crate::plan::MetricValues;
use crate::system::BenchSystem;
use crate::workload::BenchMetric;
use anyhow::ensure;
use std::collections::BTreeMap;
use std::time::Duration;

/// Rate at which the search for the highest rate begins.
const FIRST_RATE: f64 = 1000.0;
/// Limit, in milliseconds, within which 99 of 100 deliveries must arrive.
const LIMIT_MS: f64 = 250.0;
/// Timing of one step of the search.
const STEP: LoadTiming = LoadTiming { warm: Duration::from_millis(500), steady: Duration::from_millis(1500) };

/// Measures the latency of deliveries at a rate of messages per second.
///
/// # Errors
/// Fails if the room has failed, or if a message did not reach everyone once and in order.
pub(crate) async fn measure_delivery(
    room: &RoomUnderLoad,
    rate: f64,
    timing: LoadTiming,
) -> anyhow::Result<MetricValues> {
    let delivered = room.round(rate, timing).await?;
    ensure!(delivered.missing == 0, "{} deliveries missing", delivered.missing);
    ensure!(delivered.out_of_order == 0, "{} deliveries duplicated or out of order", delivered.out_of_order);
    Ok(vec![(BenchMetric::P50, delivered.p50_ms), (BenchMetric::P99, delivered.p99_ms)])
}

/// Measures B5, the highest rate. A later repeat begins where the one before ended.
///
/// # Errors
/// Fails if the room has failed, or if no rate passes.
pub(crate) async fn highest_rate(
    room: &RoomUnderLoad,
    found: &mut BTreeMap<BenchSystem, f64>,
    system: BenchSystem,
) -> anyhow::Result<MetricValues> {
    let search = found.get(&system).map_or_else(|| RateSearch::far(FIRST_RATE), |rate| RateSearch::near(*rate));
    let rate = room.highest_rate(search, LIMIT_MS, STEP).await?;
    found.insert(system, rate);
    Ok(vec![(BenchMetric::Rate, rate)])
}

/// Returns the figures of posts, with their CPU time if that is wanted.
pub(crate) fn post_figures(posted: PostFigures, with_cpu: bool) -> MetricValues {
    let PostFigures { rate, p50_ms, p99_ms, cpu_micros } = posted;
    let mut figures = vec![(BenchMetric::Rate, rate), (BenchMetric::P50, p50_ms), (BenchMetric::P99, p99_ms)];
    figures.extend(with_cpu.then_some((BenchMetric::Cpu, cpu_micros)));
    figures
}

/// Returns the figures of B9.
pub(crate) fn outage_figures(outage: LeaderOutage) -> MetricValues {
    vec![(BenchMetric::Gap, outage.gap.as_secs_f64()), (BenchMetric::Lost, outage.lost as f64)]
}
