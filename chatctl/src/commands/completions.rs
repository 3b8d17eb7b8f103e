//! The `chatctl completions` command, which prints a completion script for a shell.

use crate::{
    cli::{CommandContext, CommandLine},
    error::Error,
};
use clap::{Args, CommandFactory as _};
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

/// Prints the script, whatever the output format.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn run_completions(command: &CompletionsArgs, context: &CommandContext) -> Result<(), Error> {
    let mut script = Vec::new();
    generate(command.shell, &mut CommandLine::command(), "chatctl", &mut script);
    context.out.line(&String::from_utf8_lossy(&script))
}
