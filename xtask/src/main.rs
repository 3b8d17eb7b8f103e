//! Generates what is generated, and keeps house.
//!
//! `generate` writes, `generate --check` and `tidy` only look: they fail, and say which file and what to do.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use xtask::generate::Programs;
use xtask::{chart_files, generate, tidy};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Root of the workspace.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    root: PathBuf,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes the generated files.
    Generate {
        /// Writes nothing and fails where a file differs.
        #[arg(long)]
        check: bool,
        /// A built `chatd`; with it and the operator, their reference pages are generated too.
        #[arg(long, env = "CHATD", requires = "operator")]
        chatd: Option<PathBuf>,
        /// A built `quorate-operator`.
        #[arg(long, env = "QUORATE_OPERATOR", requires = "chatd")]
        operator: Option<PathBuf>,
    },
    /// Checks the rules of the house that grep can check.
    Tidy,
    /// Prints the CustomResourceDefinition as JSON, for tools that read no YAML.
    Schema,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let root = arguments.root.canonicalize().with_context(|| format!("no folder {}", arguments.root.display()))?;
    match arguments.task {
        Task::Generate { check, chatd, operator } => {
            let programs = chatd.as_deref().zip(operator.as_deref());
            let files = generate::files(programs.map(|(chatd, operator)| Programs { chatd, operator }))?;
            // The chart's copies last: some of their originals are generated.
            if check {
                generate::check(&root, &files)?;
                chart_files::check(&root)
            } else {
                generate::write(&root, &files)?;
                chart_files::write(&root)
            }
        }
        Task::Tidy => tidy::run(&root),
        Task::Schema => generate::print_definition(),
    }
}
