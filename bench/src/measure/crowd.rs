//! Workload `crowd`: ten thousand parked `/sync`: what they cost while nothing happens, and what one message to their
//! room does to them and to a writer in another room.

use super::memory::{FIRST, settled_memory};
use crate::goal::{ELSEWHERE, NO_POLLS, PARKED};
use crate::load::latency::quantile_millis;
use crate::plan::{BenchRun, MetricValues};
use crate::process;
use crate::stage::{LONG, PREPARE, run_stage};
use crate::system::quorate::crowd::PollCrowd;
use crate::system::{BenchSystem, RunningSystem};
use crate::workload::{BenchMetric, Workload};
use anyhow::bail;
use std::time::{Duration, Instant};

/// Number of messages of one repeat, each of which is ten thousand deliveries.
const ROUNDS: usize = 5;
/// Time for which the nodes are watched while nothing happens: the kernel counts CPU time in hundredths of a second, and
/// polls that wait for a minute must not end meanwhile.
const IDLE: Duration = Duration::from_secs(10);

impl BenchRun<'_> {
    pub(crate) async fn crowd(&mut self) {
        // Started anew, so that memory and caches are as after a start.
        self.running.clear();
        if self.bring_up(Workload::Crowd).await.is_empty() {
            return;
        }
        if let Err(error) = self.watch_crowd().await {
            self.note(Workload::Crowd, BenchSystem::Quorate, &error);
        }
        self.running.clear();
    }

    async fn watch_crowd(&mut self) -> anyhow::Result<()> {
        let polls = self.plan.crowd;
        let Some(RunningSystem::Quorate(quorate)) = self.running.get(&BenchSystem::Quorate) else {
            bail!("Quorate is not running");
        };
        let mut crowd = run_stage("registering the users of a crowd", LONG, quorate.crowd(polls)).await?;
        let pids: Vec<u32> = quorate.servers.iter().map(process::ServerProcess::pid).collect();
        for repeat in self.repeats() {
            let figures = run_stage("watching the nodes without polls", PREPARE, measure_busy(&pids)).await?;
            self.keep(Workload::Crowd, NO_POLLS, BenchSystem::Quorate, repeat, Ok(figures));
        }
        let figures = run_stage(&format!("parking {polls} polls"), LONG, park_all(&mut crowd, polls, &pids)).await?;
        self.keep(Workload::Crowd, PARKED, BenchSystem::Quorate, 0, Ok(figures));
        for repeat in self.repeats() {
            let watched = async {
                crowd.all_parked().await?;
                measure_busy(&pids).await
            };
            let figures = run_stage(&format!("watching {polls} polls wait"), PREPARE, watched).await?;
            self.keep(Workload::Crowd, PARKED, BenchSystem::Quorate, repeat, Ok(figures));
            let what = format!("sending {ROUNDS} messages to {polls} polls");
            let measured = run_stage(&what, LONG, measure_crowd(&crowd)).await?;
            self.keep(Workload::Crowd, "", BenchSystem::Quorate, repeat, Ok(measured.deliveries));
            self.keep(Workload::Crowd, ELSEWHERE, BenchSystem::Quorate, repeat, Ok(measured.elsewhere));
        }
        Ok(())
    }
}

/// Opens all polls, and measures what each adds to the servers' memory.
async fn park_all(crowd: &mut PollCrowd, polls: usize, pids: &[u32]) -> anyhow::Result<MetricValues> {
    let first = FIRST.min(polls / 2);
    crowd.park(0..first).await?;
    let before = settled_memory(pids).await?;
    crowd.park(first..polls).await?;
    let after = settled_memory(pids).await?;
    Ok(vec![(BenchMetric::MemoryEach, (after - before) / (polls - first).max(1) as f64)])
}

/// Measures the CPU time of the servers while nothing is asked of them.
async fn measure_busy(pids: &[u32]) -> anyhow::Result<MetricValues> {
    let before = process::cpu_micros(pids)?;
    let begun = Instant::now();
    tokio::time::sleep(IDLE).await;
    let used = process::cpu_micros(pids)? - before;
    Ok(vec![(BenchMetric::Busy, used / 1e6 / begun.elapsed().as_secs_f64() * 100.0)])
}

/// Figures of the latency of deliveries, and of the acknowledgements elsewhere meanwhile.
struct CrowdFigures {
    deliveries: MetricValues,
    elsewhere: MetricValues,
}

async fn measure_crowd(crowd: &PollCrowd) -> anyhow::Result<CrowdFigures> {
    let _writes = crowd.write_elsewhere()?;
    // The first round fills caches.
    crowd.round().await?;
    crowd.board.take();
    for _ in 0..ROUNDS {
        crowd.round().await?;
    }
    let (deliveries, elsewhere) = crowd.board.take();
    let figures =
        |of| vec![(BenchMetric::P50, quantile_millis(of, 0.5)), (BenchMetric::P99, quantile_millis(of, 0.99))];
    Ok(CrowdFigures { deliveries: figures(&deliveries), elsewhere: figures(&elsewhere) })
}
