//! Maintenance tasks of the workspace: generated files, house rules and counts.
//!
//! `generate` writes files. `generate --check` and `tidy` only check: if they fail, they say which file and what to do.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use xtask::generate::BuiltPrograms;
use xtask::{generate, tidy, words};

#[derive(Parser)]
#[command(about)]
struct XtaskArgs {
    /// Root of the workspace [default: the workspace in which `cargo xtask` was invoked]
    #[arg(long)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    task: XtaskCommand,
}

#[derive(Subcommand)]
enum XtaskCommand {
    /// Write the generated files
    Generate {
        /// Write nothing, and fail if a file differs
        #[arg(long)]
        check: bool,
        /// Path of a built `chatd`; with --operator, also generate the reference pages
        #[arg(long, env = "CHATD", requires = "operator")]
        chatd: Option<PathBuf>,
        /// Path of a built `quorate-operator`
        #[arg(long, env = "QUORATE_OPERATOR", requires = "chatd")]
        operator: Option<PathBuf>,
    },
    /// Check the house rules that grep can check
    Tidy,
    /// Print counts of the style of names and documentation
    Words,
    /// Print the CustomResourceDefinition as JSON, for tools that do not read YAML
    Schema,
}

/// Returns the root of the workspace, as cargo tells it at run time and not when it built this program: checkouts that
/// share a target directory share the program, too, and one would be checked for the other.
fn called_in() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), |own| Path::new(&own).join(".."))
}

fn main() -> anyhow::Result<()> {
    let arguments = XtaskArgs::parse();
    let root = arguments.root.unwrap_or_else(called_in);
    let root = root.canonicalize().with_context(|| format!("cannot find the directory {}", root.display()))?;
    match arguments.task {
        XtaskCommand::Generate { check, chatd, operator } => {
            let programs = chatd.as_deref().zip(operator.as_deref());
            let files = generate::generated_files(programs.map(|(chatd, operator)| BuiltPrograms { chatd, operator }))?;
            if check { generate::check_generated(&root, &files) } else { generate::write_generated(&root, &files) }
        }
        XtaskCommand::Tidy => tidy::check_workspace(&root),
        XtaskCommand::Words => {
            println!("{}", words::count_words(&root)?);
            Ok(())
        }
        XtaskCommand::Schema => generate::print_definition(),
    }
}
