//! `quorate-bench`: Quorate, its peers and the bare machine under the same load, side by side.
//!
//! ```text
//! cli ─▶ plan (what, in turn) ─▶ system/* (start, drive) ◀─ load/* (posts, rooms, outages; clocks and histograms)
//!          │   ├─ stage: says what is being done, and ends it when it hangs
//!          │   └─ matrix/*: the client of every homeserver
//!          └─▶ samples ─▶ results ─▶ verdict (against goal) ─▶ report/* (JSON, Markdown, SVG)
//! ```

mod cli;
mod goal;
mod load;
mod machine;
mod matrix;
mod measure;
mod payload;
mod places;
mod plan;
mod process;
mod report;
mod results;
mod stage;
mod stats;
mod system;
mod verdict;
mod wire;
mod workload;

use anyhow::Context as _;
use clap::Parser as _;
use cli::{BenchCli, BenchCommand};
use results::RunResults;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    match run_command(BenchCli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quorate-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_command(cli: BenchCli) -> anyhow::Result<()> {
    match cli.command {
        BenchCommand::Run(args) => tokio::select! {
            done = run_benchmark(&args) => done,
            // The servers end when what holds them is dropped.
            told = told_to_end()? => anyhow::bail!("stopped by {told}"),
        },
        BenchCommand::Report(args) => print_report(&args),
        BenchCommand::Bare(args) => system::bare::serve::serve_bare(args.listen, &args.file, args.follower).await,
        BenchCommand::Burn => {
            load::burner::burn_core();
            Ok(())
        }
    }
}

/// Returns a future that waits for a signal to end the run, and yields the signal's name.
fn told_to_end() -> anyhow::Result<impl Future<Output = &'static str>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot install signal handlers")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot install signal handlers")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

async fn run_benchmark(args: &cli::RunArgs) -> anyhow::Result<()> {
    let plan = args.plan();
    let places = args.places()?;
    let begun = Instant::now();
    let started = jiff::Timestamp::now().to_string();
    let machine = machine::MachineProfile::look(&places)?;
    let versions = machine::system_versions(&places, plan.systems.iter().copied());
    let findings = Box::pin(plan::BenchRun::new(&plan, &places).all()).await;
    let results = RunResults {
        started,
        took_seconds: begun.elapsed().as_secs(),
        commit: machine::current_commit(),
        machine,
        versions,
        settings: plan.settings,
        samples: findings.samples,
        notes: findings.notes,
    };
    report::write_reports(&results, &args.out())?;
    if let Some(docs) = &args.docs {
        report::page::update_page(&results, docs)?;
    }
    print!("{}", report::markdown::render_tables(&results));
    eprintln!("results written to {}", args.out().display());
    Ok(())
}

fn print_report(args: &cli::ReportArgs) -> anyhow::Result<()> {
    let text = fs::read_to_string(&args.json).with_context(|| format!("cannot read {}", args.json.display()))?;
    let results: RunResults = serde_json::from_str(&text).context("not a results file of a run")?;
    if let Some(docs) = &args.docs {
        report::page::update_page(&results, docs)?;
    }
    print!("{}", report::markdown::render_tables(&results));
    Ok(())
}
