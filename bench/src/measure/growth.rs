//! Workload `growth`: measures whether a post costs the same however much is stored and however many rooms there are.

use super::catch_up;
use crate::load::clock::Timing;
use crate::load::post::{self, Posting};
use crate::plan::{Figures, Run};
use crate::process::{self, Server};
use crate::stage::{LONG, PREPARE, stage};
use crate::stats::digits;
use crate::system::quorate::Quorate;
use crate::system::{Running, System};
use crate::workload::{Metric, Workload};
use anyhow::bail;
use std::time::Duration;

const STREAM: Posting = Posting::Stream { in_flight: 256 };
/// Timing of one measurement, short so that it adds little to what is stored.
const SHORT: Timing = Timing { warm: Duration::from_millis(300), steady: Duration::from_millis(1000) };

impl Run<'_> {
    pub(crate) async fn growth(&mut self) {
        if !self.plan.systems.contains(&System::Quorate) {
            return;
        }
        if let Err(error) = self.grow().await {
            self.note(Workload::Growth, System::Quorate, &error);
        }
        self.running.clear();
    }

    async fn grow(&mut self) -> anyhow::Result<()> {
        // Systems that are running have a history already.
        self.running.clear();
        let mut running = Running::start(System::Quorate, self.places).await?;
        let mut stored = 0;
        for target in self.steps(&[1_000, 100_000], 10_000_000) {
            let what = format!("storing {} messages", digits(target as f64));
            // Any disk that this is meant for takes more than a thousand messages a second.
            let limit = PREPARE + Duration::from_millis(target as u64);
            stage(&what, limit, fill(&running, target, &mut stored)).await?;
            self.point(&format!("{} messages", digits(target as f64)), &running, &mut stored).await?;
        }
        quorate(&mut running)?.keep_little_log()?;
        let figures = stage("restarting all nodes", LONG, restart(&mut running)).await;
        self.keep(Workload::Growth, "restart", System::Quorate, 0, figures);
        let caught_up =
            stage("sending a snapshot to a follower", LONG, catch_up::run(&mut running, self.places)).await?;
        self.keep(Workload::Growth, "follower away", System::Quorate, 0, Ok(caught_up.away()));
        self.keep(Workload::Growth, "it takes a snapshot", System::Quorate, 0, Ok(caught_up.back()));
        self.keep(Workload::Growth, "its worst second", System::Quorate, 0, Ok(caught_up.worst()));
        let mut rooms = 0;
        for target in self.steps(&[1_000], 100_000) {
            let what = format!("creating {} rooms", digits(target as f64));
            // A hundred rooms a second are enough.
            let limit = PREPARE + Duration::from_millis(10 * target as u64);
            stage(&what, limit, quorate(&mut running)?.grow_rooms(target - rooms)).await?;
            rooms = target;
            self.point(&format!("{} rooms", digits(target as f64)), &running, &mut stored).await?;
        }
        Ok(())
    }

    fn steps(&self, usual: &[usize], long: usize) -> Vec<usize> {
        usual.iter().copied().chain(self.plan.long.then_some(long)).collect()
    }

    async fn point(&mut self, case: &str, running: &Running, stored: &mut usize) -> anyhow::Result<()> {
        for repeat in self.repeats() {
            let measured = async {
                let fast = post::measure(running, STREAM, SHORT).await?;
                anyhow::Ok((fast, post::measure(running, Posting::Unary { callers: 1 }, SHORT).await?))
            };
            let (fast, slow) = stage(&format!("posting with {case}"), PREPARE, measured).await?;
            *stored += (fast.rate * (SHORT.warm + SHORT.steady).as_secs_f64()) as usize;
            let pids: Vec<u32> = running.servers().iter().map(Server::pid).collect();
            let figures = vec![
                (Metric::Rate, fast.rate),
                (Metric::P50, slow.p50_ms),
                (Metric::P99, slow.p99_ms),
                (Metric::Memory, process::resident_kib(&pids)? / 1024.0),
            ];
            self.keep(Workload::Growth, case, System::Quorate, repeat, Ok(figures));
        }
        Ok(())
    }
}

/// Posts until about `target` messages are stored.
async fn fill(running: &Running, target: usize, stored: &mut usize) -> anyhow::Result<()> {
    while *stored < target {
        // A tenth of a second stores thousands, so the first target is not passed by far.
        let steady = Duration::from_millis(if target - *stored > 20_000 { 1000 } else { 100 });
        let timing = Timing { warm: Duration::ZERO, steady };
        let posted = post::measure(running, STREAM, timing).await?;
        *stored += (posted.rate * steady.as_secs_f64()) as usize;
    }
    Ok(())
}

async fn restart(running: &mut Running) -> anyhow::Result<Figures> {
    let took = quorate(running)?.restart_all().await?;
    Ok(vec![(Metric::Start, took.as_secs_f64())])
}

fn quorate(running: &mut Running) -> anyhow::Result<&mut Quorate> {
    match running {
        Running::Quorate(quorate) => Ok(quorate),
        _ => bail!("growth is measured for Quorate only"),
    }
}
