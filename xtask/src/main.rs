//! Generates what is generated, and keeps house.
//!
//! `generate` writes, `generate --check` and `tidy` only look: they fail, and say which file and what to do.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use xtask::{generate, tidy};

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
        /// A built `chatd`; with it the configuration reference is generated too, from `chatd config --reference`.
        #[arg(long, env = "CHATD")]
        chatd: Option<PathBuf>,
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
        Task::Generate { check, chatd } => {
            let files = generate::files(chatd.as_deref())?;
            if check { generate::check(&root, &files) } else { generate::write(&root, &files) }
        }
        Task::Tidy => tidy::run(&root),
        Task::Schema => generate::print_definition(),
    }
}
