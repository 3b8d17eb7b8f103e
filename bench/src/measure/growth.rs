//! Workload `growth`: measures whether a post costs the same however much is stored and however many rooms there are.

use super::catch_up;
use crate::load::clock::LoadTiming;
use crate::load::post::{self, PostMode};
use crate::plan::{BenchRun, MetricValues};
use crate::process;
use crate::stage::{LONG, PREPARE, run_stage};
use crate::stats::format_figure;
use crate::system::quorate::QuorateCluster;
use crate::system::{BenchSystem, RunningSystem};
use crate::workload::{BenchMetric, Workload};
use anyhow::bail;
use std::time::Duration;

const STREAM: PostMode = PostMode::Stream { in_flight: 256 };
/// Timing of one measurement, short so that it adds little to what is stored.
const SHORT: LoadTiming = LoadTiming { warm: Duration::from_millis(300), steady: Duration::from_millis(1000) };

impl BenchRun<'_> {
    pub(crate) async fn growth(&mut self) {
        if !self.plan.systems.contains(&BenchSystem::Quorate) {
            return;
        }
        if let Err(error) = self.grow().await {
            self.note(Workload::Growth, BenchSystem::Quorate, &error);
        }
        self.running.clear();
    }

    async fn grow(&mut self) -> anyhow::Result<()> {
        // Systems that are running have a history already.
        self.running.clear();
        let mut running = RunningSystem::start(BenchSystem::Quorate, self.places).await?;
        let mut stored = 0;
        for target in self.steps(&[1_000, 100_000], 10_000_000) {
            let what = format!("storing {} messages", format_figure(target as f64));
            // Any disk that this is meant for takes more than a thousand messages a second.
            let limit = PREPARE + Duration::from_millis(target as u64);
            run_stage(&what, limit, fill_store(&running, target, &mut stored)).await?;
            self.point(&format!("{} messages", format_figure(target as f64)), &running, &mut stored).await?;
        }
        as_quorate(&mut running)?.keep_little_log()?;
        let figures = run_stage("restarting all nodes", LONG, measure_restart(&mut running)).await;
        self.keep(Workload::Growth, "restart", BenchSystem::Quorate, 0, figures);
        let caught_up =
            run_stage("sending a snapshot to a follower", LONG, catch_up::measure_catch_up(&mut running, self.places))
                .await?;
        self.keep(Workload::Growth, "follower away", BenchSystem::Quorate, 0, Ok(caught_up.away()));
        self.keep(Workload::Growth, "it takes a snapshot", BenchSystem::Quorate, 0, Ok(caught_up.back()));
        self.keep(Workload::Growth, "its worst second", BenchSystem::Quorate, 0, Ok(caught_up.worst()));
        let mut rooms = 0;
        for target in self.steps(&[1_000], 100_000) {
            let what = format!("creating {} rooms", format_figure(target as f64));
            // A hundred rooms a second are enough.
            let limit = PREPARE + Duration::from_millis(10 * target as u64);
            run_stage(&what, limit, as_quorate(&mut running)?.grow_rooms(target - rooms)).await?;
            rooms = target;
            self.point(&format!("{} rooms", format_figure(target as f64)), &running, &mut stored).await?;
        }
        Ok(())
    }

    fn steps(&self, usual: &[usize], long: usize) -> Vec<usize> {
        usual.iter().copied().chain(self.plan.long.then_some(long)).collect()
    }

    async fn point(&mut self, case: &str, running: &RunningSystem, stored: &mut usize) -> anyhow::Result<()> {
        for repeat in self.repeats() {
            let measured = async {
                let fast = post::measure_posts(running, STREAM, SHORT).await?;
                anyhow::Ok((fast, post::measure_posts(running, PostMode::Unary { callers: 1 }, SHORT).await?))
            };
            let (fast, slow) = run_stage(&format!("posting with {case}"), PREPARE, measured).await?;
            *stored += (fast.rate * (SHORT.warm + SHORT.steady).as_secs_f64()) as usize;
            let figures = vec![
                (BenchMetric::Rate, fast.rate),
                (BenchMetric::P50, slow.p50_ms),
                (BenchMetric::P99, slow.p99_ms),
                (BenchMetric::Memory, process::resident_kib(&running.pids())? / 1024.0),
            ];
            self.keep(Workload::Growth, case, BenchSystem::Quorate, repeat, Ok(figures));
        }
        Ok(())
    }
}

/// Posts until about `target` messages are stored.
async fn fill_store(running: &RunningSystem, target: usize, stored: &mut usize) -> anyhow::Result<()> {
    while *stored < target {
        // A tenth of a second stores thousands, so the first target is not passed by far.
        let steady = Duration::from_millis(if target - *stored > 20_000 { 1000 } else { 100 });
        let timing = LoadTiming { warm: Duration::ZERO, steady };
        let posted = post::measure_posts(running, STREAM, timing).await?;
        *stored += (posted.rate * steady.as_secs_f64()) as usize;
    }
    Ok(())
}

async fn measure_restart(running: &mut RunningSystem) -> anyhow::Result<MetricValues> {
    let took = as_quorate(running)?.restart_all().await?;
    Ok(vec![(BenchMetric::Start, took.as_secs_f64())])
}

fn as_quorate(running: &mut RunningSystem) -> anyhow::Result<&mut QuorateCluster> {
    match running {
        RunningSystem::Quorate(quorate) => Ok(quorate),
        _ => bail!("growth is measured for Quorate only"),
    }
}
