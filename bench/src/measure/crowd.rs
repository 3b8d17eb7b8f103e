//! Workload `crowd`: one message to a room with ten thousand parked `/sync`, and what it does to a writer in another
//! room.

use crate::goal::ELSEWHERE;
use crate::load::latency::millis;
use crate::plan::{Figures, Run};
use crate::stage::{LONG, stage};
use crate::system::quorate::crowd::Crowd;
use crate::system::{Running, System};
use crate::workload::{Metric, Workload};

/// Number of messages of one repeat, each of which is ten thousand deliveries.
const ROUNDS: usize = 5;

impl Run<'_> {
    pub(crate) async fn crowd(&mut self) {
        // Started anew, so that memory and caches are as after a start.
        self.running.clear();
        if self.bring_up(Workload::Crowd).await.is_empty() {
            return;
        }
        let crowd = match self.gather().await {
            Ok(crowd) => crowd,
            Err(error) => return self.note(Workload::Crowd, System::Quorate, &error),
        };
        for repeat in self.repeats() {
            let what = format!("sending {ROUNDS} messages to {} polls", self.plan.crowd);
            let (told, elsewhere) = match stage(&what, LONG, told(&crowd)).await {
                Ok((told, elsewhere)) => (Ok(told), Ok(elsewhere)),
                Err(error) => return self.note(Workload::Crowd, System::Quorate, &error),
            };
            self.keep(Workload::Crowd, "", System::Quorate, repeat, told);
            self.keep(Workload::Crowd, ELSEWHERE, System::Quorate, repeat, elsewhere);
        }
        drop(crowd);
        self.running.clear();
    }

    async fn gather(&self) -> anyhow::Result<Crowd> {
        let Some(Running::Quorate(quorate)) = self.running.get(&System::Quorate) else {
            anyhow::bail!("Quorate is not running");
        };
        stage(&format!("parking {} polls", self.plan.crowd), LONG, quorate.crowd(self.plan.crowd)).await
    }
}

/// Measures the latency of deliveries, and of the acknowledgements elsewhere meanwhile.
async fn told(crowd: &Crowd) -> anyhow::Result<(Figures, Figures)> {
    // The first round fills caches.
    crowd.round().await?;
    crowd.board.take();
    for _ in 0..ROUNDS {
        crowd.round().await?;
    }
    let (deliveries, elsewhere) = crowd.board.take();
    let figures = |of| vec![(Metric::P50, millis(of, 0.5)), (Metric::P99, millis(of, 0.99))];
    Ok((figures(&deliveries), figures(&elsewhere)))
}
