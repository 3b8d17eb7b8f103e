//! The `chatctl verify` command: writes and reads under load, then checks what the cluster promised against what was
//! seen.
//!
//! ```text
//! setup (users, rooms, joins, readers ready) ─▶ writers ∥ readers ─▶ drain ─▶ readers catch up ─▶ scan every server
//!     ─▶ History ─▶ check (pure) ─▶ Verdict ─▶ report
//! ```
//! With `--reads`, every server is asked for the newest messages of each room throughout the load, and the checker
//! judges whether the answers were linearizable.
//!
//! Memory: about 150 bytes per message sent, and 40 bytes per message for each reader and each scanned server. Four
//! writers at 20 per second for a minute with three readers and three servers take about 2 MiB.

pub mod check;
mod check_reads;
mod export;
pub mod history;
pub mod minimise;
pub mod options;
mod probe;
mod progress;
mod reader;
mod report;
mod run;
mod scan;
mod setup;
pub mod timing;
mod writer;

use crate::{context::CommandContext, error::Error, position::EventPosition};
use history::{IssuedMessage, MessageOutcome, RunHistory};
use options::VerifyArgs;
use probe::ReadProbes;
use reader::ReaderTask;
use report::VerifyReport;
use run::VerifyRun;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// Time for which readers listen after they have caught up, so that an event that is delivered twice is seen twice.
const LINGER: Duration = Duration::from_millis(500);

/// Runs the command, from setup to report.
///
/// # Errors
/// [`Error::Violation`] or [`Error::Inconclusive`] after the report is printed; others if the run cannot be carried
/// out.
pub async fn run_verify(command: VerifyArgs, context: &CommandContext) -> Result<(), Error> {
    command.validate()?;
    let addresses = context.servers()?;
    let stage = setup::prepare_run(&command, &addresses, context).await?;
    let run = Arc::clone(&stage.run);
    let (stop_readers, _) = watch::channel(false);
    let mut readers = ReaderTask::start_all(&stage, &stop_readers);
    setup::wait_until_ready(&command, &stage, &mut readers).await?;

    let (stop_probes, _) = watch::channel(false);
    let probes = ReadProbes::start_all(&command, &stage, &stop_probes)?;
    run.begin();
    let progress = progress::start_progress(&command, context, &run, &readers);
    let LoadRecord { messages, in_order, interrupted } = run_load(&command, &stage).await;
    progress.abort();
    let _ = stop_probes.send(true);
    let (reads, tally) = probes.finish().await;
    let caught_up = catch_up(&command, &run, &messages, &mut readers).await;
    // The send fails if no reader is left to stop, which is fine.
    let _ = stop_readers.send(true);
    let mut observations = Vec::new();
    let mut read = Vec::new();
    for reader in readers {
        let (observation, summary) = reader.finish().await;
        observations.push(observation);
        read.push(summary);
    }
    let scans = scan::scan_servers(&command, &stage).await;
    observations.extend(scans.iter().filter_map(|scan| scan.observation.clone()));
    setup::sign_out(&stage).await;

    let history = RunHistory { messages, observations, in_order, reads };
    if let Some(path) = &command.history {
        export::export_history(path, &run, &history)?;
    }
    let verdict = check::check_history(&history);
    VerifyReport {
        run: &run,
        history: &history,
        verdict: &verdict,
        stage: &stage,
        read,
        asked_for_reads: command.reads > 0,
        tally,
        scans: &scans,
        caught_up,
        interrupted,
    }
    .finish(context)
}

/// Record of the load phase.
struct LoadRecord {
    messages: Vec<IssuedMessage>,
    in_order: BTreeSet<u32>,
    interrupted: bool,
}

/// Lets the writers write until the time is up or a signal comes; then waits, for a bounded time, for messages in
/// flight.
async fn run_load(command: &VerifyArgs, stage: &setup::RunSetup) -> LoadRecord {
    let (stop, _) = watch::channel(false);
    let mut writers = JoinSet::new();
    for (index, session) in stage.writers.iter().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let written = writer::write_until_stopped(index, session.clone(), Arc::clone(&stage.run), stop.subscribe());
        writers.spawn(async move { (index, written.await) });
    }
    let interrupted = tokio::select! {
        () = sleep_until(Instant::now() + command.duration) => false,
        () = wait_for_interruption() => true,
    };
    stage.run.end();
    let _ = stop.send(true);
    let mut messages = Vec::new();
    let mut in_order = BTreeSet::new();
    while let Some(joined) = writers.join_next().await {
        // A writer that panicked has lost its record, without which nothing can be proved; the count shows that.
        let (index, written) = joined.unwrap_or_default();
        messages.extend(written.messages);
        in_order.extend(written.in_order.then_some(index));
    }
    LoadRecord { messages, in_order, interrupted }
}

async fn wait_for_interruption() {
    let term = signal(SignalKind::terminate());
    let int = signal(SignalKind::interrupt());
    match (term, int) {
        (Ok(mut term), Ok(mut int)) => tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        },
        // Without handlers the signals end the process at once, as they do by default.
        _ => std::future::pending().await,
    }
}

/// Waits until every reader has seen the last acknowledged position of every room, at most as long as `--settle`
/// allows. Returns `true` if all of them have.
async fn catch_up(
    command: &VerifyArgs,
    run: &VerifyRun,
    messages: &[IssuedMessage],
    readers: &mut [ReaderTask],
) -> bool {
    let mut target = vec![EventPosition::default(); run.rooms.len()];
    for message in messages {
        if let (MessageOutcome::Acknowledged { position, .. }, Some(room)) =
            (&message.fate, target.get_mut(usize::from(message.room)))
        {
            *room = (*room).max(*position);
        }
    }
    let all = async {
        for reader in readers {
            reader.reach(&target).await;
        }
        tokio::time::sleep(LINGER).await;
    };
    timeout(command.settle, all).await.is_ok()
}
