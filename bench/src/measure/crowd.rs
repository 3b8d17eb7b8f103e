//! Workload `crowd`: one message to a room with ten thousand parked `/sync`, and what it does to a writer in another
//! room.

use crate::goal::ELSEWHERE;
use crate::load::latency::quantile_millis;
use crate::plan::{BenchRun, MetricValues};
use crate::stage::{LONG, run_stage};
use crate::system::quorate::crowd::PollCrowd;
use crate::system::{BenchSystem, RunningSystem};
use crate::workload::{BenchMetric, Workload};

/// Number of messages of one repeat, each of which is ten thousand deliveries.
const ROUNDS: usize = 5;

impl BenchRun<'_> {
    pub(crate) async fn crowd(&mut self) {
        // Started anew, so that memory and caches are as after a start.
        self.running.clear();
        if self.bring_up(Workload::Crowd).await.is_empty() {
            return;
        }
        let crowd = match self.gather().await {
            Ok(crowd) => crowd,
            Err(error) => return self.note(Workload::Crowd, BenchSystem::Quorate, &error),
        };
        for repeat in self.repeats() {
            let what = format!("sending {ROUNDS} messages to {} polls", self.plan.crowd);
            let (told, elsewhere) = match run_stage(&what, LONG, measure_crowd(&crowd)).await {
                Ok((told, elsewhere)) => (Ok(told), Ok(elsewhere)),
                Err(error) => return self.note(Workload::Crowd, BenchSystem::Quorate, &error),
            };
            self.keep(Workload::Crowd, "", BenchSystem::Quorate, repeat, told);
            self.keep(Workload::Crowd, ELSEWHERE, BenchSystem::Quorate, repeat, elsewhere);
        }
        drop(crowd);
        self.running.clear();
    }

    async fn gather(&self) -> anyhow::Result<PollCrowd> {
        let Some(RunningSystem::Quorate(quorate)) = self.running.get(&BenchSystem::Quorate) else {
            anyhow::bail!("Quorate is not running");
        };
        run_stage(&format!("parking {} polls", self.plan.crowd), LONG, quorate.crowd(self.plan.crowd)).await
    }
}

/// Measures the latency of deliveries, and of the acknowledgements elsewhere meanwhile.
async fn measure_crowd(crowd: &PollCrowd) -> anyhow::Result<(MetricValues, MetricValues)> {
    // The first round fills caches.
    crowd.round().await?;
    crowd.board.take();
    for _ in 0..ROUNDS {
        crowd.round().await?;
    }
    let (deliveries, elsewhere) = crowd.board.take();
    let figures =
        |of| vec![(BenchMetric::P50, quantile_millis(of, 0.5)), (BenchMetric::P99, quantile_millis(of, 0.99))];
    Ok((figures(&deliveries), figures(&elsewhere)))
}
