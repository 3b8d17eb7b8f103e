//! Progress report of a run: one line each second on standard error.

use super::{options::VerifyArgs, reader::ReaderTask, run::VerifyRun};
use crate::context::CommandContext;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// Prints progress until the returned task is aborted.
pub(super) fn start_progress(
    command: &VerifyArgs,
    context: &CommandContext,
    run: &Arc<VerifyRun>,
    readers: &[ReaderTask],
) -> JoinHandle<()> {
    let counts: Vec<Arc<AtomicU64>> = readers.iter().map(ReaderTask::count).collect();
    let run = Arc::clone(run);
    let is_json = context.out.is_json();
    let total = command.duration.as_secs();
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // The first tick completes immediately.
        ticks.tick().await;
        let mut before = 0;
        loop {
            ticks.tick().await;
            let acknowledged = run.acknowledged();
            let seconds = run.now_us().saturating_sub(run.begun_us()) / 1_000_000;
            let read: Vec<u64> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            let rate = acknowledged - before;
            let pending = run.pending();
            let silent = run.silent_ms();
            if is_json {
                let line = json!({ "seconds": seconds, "acknowledged": acknowledged, "per_second": rate,
                    "pending": pending, "silent_ms": silent, "readers": read });
                eprintln!("{}", json!({ "progress": line }));
            } else {
                eprintln!(
                    "{seconds:>4}/{total} s  acknowledged {acknowledged} (+{rate})  pending {pending}  \
                     last ack {silent} ms ago  readers {read:?}"
                );
            }
            before = acknowledged;
        }
    })
}
