//! Command line of the benchmark.

use crate::places::BenchPaths;
use crate::plan::BenchPlan;
use crate::results::RunSettings;
use crate::system::BenchSystem;
use crate::workload::Workload;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum as _};
use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Measure Quorate and its peers side by side
#[derive(Debug, Parser)]
#[command(name = "quorate-bench", version)]
pub(crate) struct BenchCli {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Run(Box<RunArgs>),
    Report(ReportArgs),
    /// Run a bare server process; started by `run`
    #[command(hide = true)]
    Bare(BareArgs),
    /// Keep a core busy; started by `run`
    #[command(hide = true)]
    Burn,
}

/// Start the systems, measure them in turn, write tables
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate-bench run                                  everything, about 20 minutes
  quorate-bench run --workload B1,B3 --peer nats     two workloads, against NATS only
  quorate-bench run --workload B1 --peer none        Quorate alone
  quorate-bench run --workload B6                    Matrix, against Synapse
  quorate-bench run --docs docs                      also replaces the table and the plot of docs/performance.md

All processes listen on 127.0.0.1 (ejabberd's nodes use 127.0.0.1 to 127.0.0.3) and stop when the run ends. Nothing else
should be running: servers and load generator share the cores.")]
pub(crate) struct RunArgs {
    /// Run only these workloads
    #[arg(long, value_delimiter = ',', value_name = "NAME", ignore_case = true)]
    workload: Vec<Workload>,
    /// Run only these peers alongside Quorate; `none` for no peers
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = parse_peer)]
    peer: Vec<Option<BenchSystem>>,
    /// Number of measurements of each system in each workload
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Seconds of steady load in one measurement
    #[arg(long, default_value_t = 3.0, value_name = "N", value_parser = parse_seconds)]
    seconds: f64,
    /// Seconds of warm-up load before that
    #[arg(long, default_value_t = 1.0, value_name = "N", value_parser = parse_seconds)]
    warm_up: f64,
    /// Also run the long cases: 10⁷ messages, 10⁵ rooms, ten minutes of B10
    #[arg(long)]
    long: bool,
    /// Number of polls in the `crowd` workload
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    crowd: usize,
    /// Directory for results.json, table.md and performance.svg [default: reports/bench in the cache directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Documentation directory whose performance page receives the tables
    #[arg(long, value_name = "DIR")]
    pub(crate) docs: Option<PathBuf>,
    /// Directory for the data of the systems, on a disk [default: bench/run in the cache directory]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Directory that `deploy/deps/install bench` filled [default: bench in the cache directory]
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Directory with the scripts of the peers
    #[arg(long, default_value = "bench/peers", value_name = "DIR")]
    scripts: PathBuf,
    /// Path of the chatd binary [default: next to this one]
    #[arg(long, value_name = "FILE")]
    chatd: Option<PathBuf>,
    /// Path of the chatctl binary [default: next to this one]
    #[arg(long, value_name = "FILE")]
    chatctl: Option<PathBuf>,
}

/// Regenerate the tables of an earlier run
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate-bench report results.json                  prints the tables
  quorate-bench report results.json --docs docs      replaces the table and the plot of docs/performance.md")]
pub(crate) struct ReportArgs {
    /// results.json of a run
    pub(crate) json: PathBuf,
    /// Documentation directory whose performance page receives the tables
    #[arg(long, value_name = "DIR")]
    pub(crate) docs: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BareArgs {
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    #[arg(long)]
    pub(crate) file: PathBuf,
    #[arg(long)]
    pub(crate) follower: Vec<SocketAddr>,
}

fn parse_peer(text: &str) -> Result<Option<BenchSystem>, String> {
    if text == "none" { Ok(None) } else { BenchSystem::from_str(text, true).map(Some) }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    if (0.1..=3600.0).contains(&value) { Ok(value) } else { Err("must be between 0.1 and 3600".to_owned()) }
}

impl RunArgs {
    pub(crate) fn plan(&self) -> BenchPlan {
        let all = || Workload::value_variants().iter().copied();
        let mut workloads: std::collections::BTreeSet<_> =
            if self.workload.is_empty() { all().collect() } else { self.workload.iter().copied().collect() };
        if workloads.contains(&Workload::B7) {
            // B7 is measured in the run of B1.
            workloads.insert(Workload::B1);
        }
        if workloads.contains(&Workload::B6) {
            // What parked polls cost is measured with the crowd.
            workloads.insert(Workload::Crowd);
        }
        let mut systems: std::collections::BTreeSet<_> = if self.peer.is_empty() {
            BenchSystem::value_variants().iter().copied().collect()
        } else {
            self.peer.iter().copied().flatten().collect()
        };
        systems.insert(BenchSystem::Quorate);
        let settings = RunSettings { repeats: self.repeats, warm_seconds: self.warm_up, steady_seconds: self.seconds };
        BenchPlan { workloads, systems, settings, long: self.long, crowd: self.crowd }
    }

    /// Finds the programs and directories that a run needs.
    ///
    /// # Errors
    /// Fails if a program is missing.
    pub(crate) fn places(&self) -> anyhow::Result<BenchPaths> {
        let own = env::current_exe().context("cannot determine the path of this program")?;
        let beside = |given: &Option<PathBuf>, name: &str| {
            let path = given.clone().unwrap_or_else(|| own.with_file_name(name));
            path.canonicalize().with_context(|| format!("{} is missing: run make build", path.display()))
        };
        let scripts = self.scripts.canonicalize();
        let scripts = scripts.with_context(|| {
            format!("{} is missing: run this command from the repository root", self.scripts.display())
        })?;
        Ok(BenchPaths {
            chatd: beside(&self.chatd, "chatd")?,
            chatctl: beside(&self.chatctl, "chatctl")?,
            peers: self.peers.clone().unwrap_or_else(|| cache_dir().join("bench")),
            scripts,
            work: self.work.clone().unwrap_or_else(|| cache_dir().join("bench/run")),
        })
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| cache_dir().join("reports/bench"))
    }
}

/// Returns the cache directory, by the rules of `deploy/deps/env.sh`.
fn cache_dir() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(env::temp_dir, PathBuf::from).join(".cache");
    let of = || env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("quorate");
    env::var_os("QUORATE_CACHE").map_or_else(of, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn run(args: &[&str]) -> BenchPlan {
        let line = ["quorate-bench", "run"].iter().chain(args);
        match BenchCli::try_parse_from(line).unwrap().command {
            BenchCommand::Run(run) => run.plan(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        BenchCli::command().debug_assert();
    }

    #[test]
    fn without_arguments_everything_runs_three_times() {
        let plan = run(&[]);
        assert_eq!(plan.workloads.len(), Workload::value_variants().len());
        assert_eq!(plan.systems.len(), BenchSystem::value_variants().len());
        assert_eq!(plan.settings.repeats, 3);
    }

    #[test]
    fn peers_and_workloads_can_be_chosen_and_quorate_is_always_there() {
        let plan = run(&["--workload", "b7", "--peer", "nats"]);
        assert!(plan.workloads.contains(&Workload::B1), "where B7 is measured");
        assert_eq!(plan.systems.into_iter().collect::<Vec<_>>(), [BenchSystem::Quorate, BenchSystem::Nats]);
        assert_eq!(run(&["--peer", "none"]).systems.len(), 1);
        let plan = run(&["--workload", "b6"]);
        assert_eq!(plan.workloads.into_iter().collect::<Vec<_>>(), [Workload::B6, Workload::Crowd]);
    }
}
