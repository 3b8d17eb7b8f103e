//! Workload B8: memory cost of a subscriber that receives nothing.

use crate::goal::PARKED;
use crate::load::idle::IdleConnections;
use crate::plan::{BenchRun, MetricValues};
use crate::process;
use crate::stage::{LONG, run_stage};
use crate::system::{BenchSystem, RunningSystem};
use crate::workload::{BenchMetric, Workload};
use std::time::{Duration, Instant};

/// Number of subscribers over all nodes.
const SUBSCRIBERS: usize = 5_000;
/// Number of subscribers that connect first, so that pools and threads that are created once do not count.
pub(super) const FIRST: usize = 150;
/// Time for which memory must have changed by less than one percent to count as settled.
const SETTLED: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(10);

impl BenchRun<'_> {
    pub(crate) async fn idle(&mut self) {
        for repeat in self.repeats() {
            for system in self.systems(Workload::B8) {
                // Memory that an earlier load has freed would be reused, and not grow.
                self.running.clear();
                let figures = self.subscribers(system, false).await;
                self.keep(Workload::B8, "", system, repeat, figures);
                if system == BenchSystem::Quorate {
                    self.running.clear();
                    let figures = self.subscribers(system, true).await;
                    self.keep(Workload::B8, PARKED, system, repeat, figures);
                }
            }
        }
        self.running.clear();
    }

    async fn subscribers(&mut self, system: BenchSystem, parked: bool) -> anyhow::Result<MetricValues> {
        let running = RunningSystem::start(system, self.places).await?;
        let _first = connect_subscribers(&running, FIRST, parked).await?;
        let before = settled_memory(&running.pids()).await?;
        let _all = connect_subscribers(&running, SUBSCRIBERS, parked).await?;
        let after = settled_memory(&running.pids()).await?;
        Ok(vec![(BenchMetric::MemoryEach, (after - before) / SUBSCRIBERS as f64)])
    }
}

async fn connect_subscribers(running: &RunningSystem, count: usize, parked: bool) -> anyhow::Result<IdleConnections> {
    let connected = async {
        match running {
            RunningSystem::Quorate(quorate) if parked => quorate.parked(count).await,
            _ => running.idle(count).await,
        }
    };
    run_stage(&format!("connecting {count} subscribers"), LONG, connected).await
}

/// Returns the resident memory of all servers in KiB, once it no longer changes.
pub(super) async fn settled_memory(pids: &[u32]) -> anyhow::Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = process::resident_kib(pids)?;
    let mut since = Instant::now();
    while since.elapsed() < SETTLED && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = process::resident_kib(pids)?;
        if (now - last).abs() > last / 100.0 {
            (last, since) = (now, Instant::now());
        }
    }
    process::resident_kib(pids)
}
