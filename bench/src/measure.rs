//! Measurements that take more than one call, and their figures.

mod catch_up;
mod crowd;
mod growth;
mod memory;

use crate::load::clock::Timing;
use crate::load::failover::Outage;
use crate::load::room::{Room, Search};
use crate::plan::Figures;
use crate::system::System;
use crate::workload::Metric;
use anyhow::ensure;
use std::collections::BTreeMap;
use std::time::Duration;

/// Messages per second in B4.
const MESSAGES: f64 = 50.0;
/// Rate at which the search for the highest rate begins.
const FIRST_RATE: f64 = 1000.0;
/// Limit, in milliseconds, within which 99 of 100 deliveries must arrive.
const LIMIT_MS: f64 = 250.0;
/// Timing of one step of the search.
const STEP: Timing = Timing { warm: Duration::from_millis(500), steady: Duration::from_millis(1500) };

/// Measures B4, the latency of deliveries.
///
/// # Errors
/// Fails if the room has failed, or if a message did not reach everyone once and in order.
pub(crate) async fn delivery(room: &Room, timing: Timing) -> anyhow::Result<Figures> {
    let delivered = room.round(MESSAGES, timing).await?;
    ensure!(delivered.missing == 0, "{} deliveries missing", delivered.missing);
    ensure!(delivered.out_of_order == 0, "{} deliveries duplicated or out of order", delivered.out_of_order);
    Ok(vec![(Metric::P50, delivered.p50_ms), (Metric::P99, delivered.p99_ms)])
}

/// Measures B5, the highest rate. A later repeat begins where the one before ended.
///
/// # Errors
/// Fails if the room has failed, or if no rate passes.
pub(crate) async fn highest_rate(
    room: &Room,
    found: &mut BTreeMap<System, f64>,
    system: System,
) -> anyhow::Result<Figures> {
    let search = found.get(&system).map_or_else(|| Search::far(FIRST_RATE), |rate| Search::near(*rate));
    let rate = room.highest_rate(search, LIMIT_MS, STEP).await?;
    found.insert(system, rate);
    Ok(vec![(Metric::Rate, rate)])
}

/// Returns the figures of B9.
pub(crate) fn outage(outage: Outage) -> Figures {
    vec![(Metric::Gap, outage.gap.as_secs_f64()), (Metric::Lost, outage.lost as f64)]
}
