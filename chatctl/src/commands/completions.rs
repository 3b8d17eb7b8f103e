//! The `chatctl completions` command, which prints a completion script for a shell.

use crate::{context::CommandContext, error::Error};
use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// Arguments of `chatctl completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl completions bash > /etc/bash_completion.d/chatctl
  chatctl completions zsh > ~/.zfunc/_chatctl
  source <(chatctl completions bash)")]
pub struct CompletionsArgs {
    /// Shell that the script is for
    shell: Shell,
}

/// Prints the script for `program`, the whole command line, whatever the output format.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn run_completions(
    command: &CompletionsArgs,
    program: &mut Command,
    context: &CommandContext,
) -> Result<(), Error> {
    let mut script = Vec::new();
    generate(command.shell, program, "chatctl", &mut script);
    context.out.line(&String::from_utf8_lossy(&script))
}
