//! The `chatctl` program: reads the command line, runs one command, reports how it ended.

use anyhow::Context as _;
use clap::Parser as _;
use quorate_chatctl::{
    cli::{Cli, Context},
    commands,
    error::{Error, exit},
    output::Format,
};
use serde_json::json;
use std::{env, process::ExitCode};

fn main() -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Ok(usage(&error)),
    };
    let format = cli.global.output;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let ended = runtime.block_on(commands::run(cli.command, Context::new(cli.global)));
    // A thread that waits for a line of standard input must not hold up the end.
    runtime.shutdown_background();
    Ok(ExitCode::from(ended.map_or_else(|error| report(&error, format), |()| exit::OK)))
}

fn report(error: &Error, format: Format) -> u8 {
    match (error, format) {
        (Error::OutputClosed, _) => {}
        (_, Format::Json) => eprintln!("{}", error.to_json()),
        (_, Format::Text) => eprintln!("chatctl: {error}"),
    }
    error.exit_code()
}

/// The command line could not be read, so whether JSON was asked for must be seen in the raw arguments.
fn usage(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let spaced = arguments.windows(2).any(|pair| pair == ["--output", "json"]);
    let json_wanted = spaced || arguments.iter().any(|argument| argument == "--output=json");
    if json_wanted && error.use_stderr() {
        let message = error.to_string();
        eprintln!("{}", json!({ "error": { "code": "USAGE", "message": message.trim(), "exit_code": exit::USAGE } }));
        return ExitCode::from(exit::USAGE);
    }
    // Nothing is left to do when the terminal itself cannot be written.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE))
}
