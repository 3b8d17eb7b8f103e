//! Catching up of a follower: what posts lose while one that was away for long takes a snapshot.

use crate::load::clock::LoadTiming;
use crate::load::post::PostMode;
use crate::places::BenchPaths;
use crate::plan::MetricValues;
use crate::system::RunningSystem;
use crate::workload::BenchMetric;
use anyhow::{bail, ensure};
use std::time::{Duration, Instant};

const STREAM: PostMode = PostMode::Stream { in_flight: 256 };
const WINDOW: LoadTiming = LoadTiming { warm: Duration::ZERO, steady: Duration::from_secs(1) };
/// Number of windows with the follower away.
const AWAY: usize = 3;
/// Longest time that catching up may take.
const PATIENCE: Duration = Duration::from_secs(500);

/// Rates of the same load, measured second by second.
pub(super) struct CaughtUp {
    away: Vec<f64>,
    back: Vec<f64>,
    took: Duration,
}

impl CaughtUp {
    /// Returns the rate with a follower away, which is the cluster's usual rate on two nodes.
    pub(super) fn away(&self) -> MetricValues {
        vec![(BenchMetric::Rate, median_rate(&self.away))]
    }

    /// Returns the rate from the follower's start until it is ready, and how long that took.
    pub(super) fn back(&self) -> MetricValues {
        vec![(BenchMetric::Rate, median_rate(&self.back)), (BenchMetric::Start, self.took.as_secs_f64())]
    }

    /// Returns the rate in the worst second of catching up.
    pub(super) fn worst(&self) -> MetricValues {
        vec![(BenchMetric::Rate, self.back.iter().copied().fold(f64::INFINITY, f64::min))]
    }
}

fn median_rate(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Posts while a follower is away and while it comes back.
pub(super) async fn measure_catch_up(running: &mut RunningSystem, places: &BenchPaths) -> anyhow::Result<CaughtUp> {
    let RunningSystem::Quorate(quorate) = running else { bail!("snapshots are measured for Quorate only") };
    let follower = quorate.lose_follower().await?;
    let mut away = Vec::new();
    for _ in 0..AWAY {
        away.push(quorate.post(STREAM, WINDOW.start()).await?.rate());
    }
    quorate.purge_without(follower, places).await?;
    quorate.bring_back(follower)?;
    let begun = Instant::now();
    let mut back = Vec::new();
    while !quorate.is_ready(follower) {
        ensure!(begun.elapsed() < PATIENCE, "the follower was not ready within {PATIENCE:?}");
        back.push(quorate.post(STREAM, WINDOW.start()).await?.rate());
    }
    ensure!(quorate.installed(follower) > 0, "the follower caught up without a snapshot");
    ensure!(!back.is_empty(), "the follower was ready immediately: nothing was measured");
    Ok(CaughtUp { away, back, took: begun.elapsed() })
}
