//! `chatctl completions`

use crate::{
    cli::{Cli, Context},
    error::Error,
};
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

/// Prints a completion script.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chatctl completions bash > /etc/bash_completion.d/chatctl
  chatctl completions zsh > ~/.zfunc/_chatctl
  source <(chatctl completions bash)")]
pub struct Command {
    /// The shell
    shell: Shell,
}

/// Prints the script, whatever the output format.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(command: &Command, context: &Context) -> Result<(), Error> {
    let mut script = Vec::new();
    generate(command.shell, &mut Cli::command(), "chatctl", &mut script);
    context.out.line(&String::from_utf8_lossy(&script))
}
