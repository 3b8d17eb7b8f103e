//! Workload B8: memory cost of a subscriber that receives nothing.

use crate::goal::PARKED;
use crate::load::idle::Idle;
use crate::plan::{Figures, Run};
use crate::process::{self, Server};
use crate::stage::{LONG, stage};
use crate::system::{Running, System};
use crate::workload::{Metric, Workload};
use std::time::{Duration, Instant};

/// Number of subscribers over all nodes.
const SUBSCRIBERS: usize = 5_000;
/// Number of subscribers that connect first, so that pools and threads that are created once do not count.
const FIRST: usize = 150;
/// Time for which memory must have changed by less than one percent to count as settled.
const SETTLED: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(10);

impl Run<'_> {
    pub(crate) async fn idle(&mut self) {
        for repeat in self.repeats() {
            for system in self.systems(Workload::B8) {
                // Memory that an earlier load has freed would be reused, and not grow.
                self.running.clear();
                let figures = self.subscribers(system, false).await;
                self.keep(Workload::B8, "", system, repeat, figures);
                if system == System::Quorate {
                    self.running.clear();
                    let figures = self.subscribers(system, true).await;
                    self.keep(Workload::B8, PARKED, system, repeat, figures);
                }
            }
        }
        self.running.clear();
    }

    async fn subscribers(&mut self, system: System, parked: bool) -> anyhow::Result<Figures> {
        let running = Running::start(system, self.places).await?;
        let _first = hold(&running, FIRST, parked).await?;
        let before = settled(running.servers()).await?;
        let _all = hold(&running, SUBSCRIBERS, parked).await?;
        let after = settled(running.servers()).await?;
        Ok(vec![(Metric::MemoryEach, (after - before) / SUBSCRIBERS as f64)])
    }
}

async fn hold(running: &Running, count: usize, parked: bool) -> anyhow::Result<Idle> {
    let connected = async {
        match running {
            Running::Quorate(quorate) if parked => quorate.parked(count).await,
            _ => running.idle(count).await,
        }
    };
    stage(&format!("connecting {count} subscribers"), LONG, connected).await
}

/// Returns the resident memory of all servers in KiB, once it no longer changes.
async fn settled(servers: &[Server]) -> anyhow::Result<f64> {
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut since) = (process::resident_kib(&pids)?, Instant::now());
    while since.elapsed() < SETTLED && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = process::resident_kib(&pids)?;
        if (now - last).abs() > last / 100.0 {
            (last, since) = (now, Instant::now());
        }
    }
    process::resident_kib(&pids)
}
