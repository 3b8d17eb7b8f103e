//! The `chatctl` program: reads the command line, runs one command and reports how it ended.

use anyhow::Context as _;
use clap::Parser as _;
use quorate_chatctl::{
    cli::CommandLine,
    dispatch,
    error::Error,
    exit,
    output::{OutputFormat, inert_json, printable_lines},
};
use serde_json::json;
use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

fn main() -> anyhow::Result<ExitCode> {
    let cli = match CommandLine::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Ok(usage(&error)),
    };
    let format = cli.global.output;
    let ended = dispatch::run_to_end(cli).context("cannot start the async runtime")?;
    Ok(ExitCode::from(ended.map_or_else(|error| report_error(&error, format), |()| exit::OK)))
}

fn report_error(error: &Error, format: OutputFormat) -> u8 {
    match (error, format) {
        (Error::OutputClosed, _) => {}
        (_, OutputFormat::Json) => eprintln!("{}", inert_json(&error.to_json().to_string())),
        (_, OutputFormat::Text) => eprintln!("chatctl: {}", printable_lines(&error.to_string())),
    }
    error.exit_code()
}

/// Reports a command line that could not be parsed, or prints help or version, and returns the exit code. The output
/// format is taken from the raw arguments, because parsing failed.
fn usage(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let spaced = arguments.windows(2).any(|pair| pair == ["--output", "json"]);
    let json_wanted = spaced || arguments.iter().any(|argument| argument == "--output=json");
    if json_wanted && error.use_stderr() {
        let message = error.to_string();
        let document = json!({ "error": { "code": "USAGE", "message": message.trim(), "exit_code": exit::USAGE } });
        eprintln!("{}", inert_json(&document.to_string()));
        return ExitCode::from(exit::USAGE);
    }
    let written = if arguments.iter().any(|argument| argument.chars().any(char::is_control)) {
        // The message repeats the arguments. Printed without colours, it has nothing that must reach the terminal
        // unescaped.
        io::stderr().write_all(printable_lines(&error.to_string()).as_bytes())
    } else {
        // Help and version go to standard output, whose buffer is flushed here so that a failed write is noticed.
        error.print().and_then(|()| io::stdout().flush())
    };
    match written.map_err(Error::from_output) {
        Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE)),
        Err(error) => ExitCode::from(report_error(&error, OutputFormat::Text)),
    }
}
