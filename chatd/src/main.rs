//! `chatd`: one pod of a Quorate chat cluster.

use quorate_chatd::cli::{self, CliTask};
use quorate_chatd::exit::{ExitReason, ProcessFailure};
use quorate_chatd::process;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Allocator of the process, RocksDB included (`unprefixed_malloc`). A message takes some tens of small allocations,
/// made on one thread and freed on another, beside history that comes and goes. glibc's allocator costs more for both
/// and returns less memory. (mimalloc is as fast, but keeps half as much again for connections that wait.)
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Converts the result of writing to standard output: a closed pipe means that the reader has seen enough, and any
/// other error is a failure.
fn finish_output(attempt: io::Result<()>) -> Result<(), ProcessFailure> {
    match attempt.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ProcessFailure::new(ExitReason::Output, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Performs the task of the command line.
fn perform_task() -> Result<ExitReason, ProcessFailure> {
    let matches = match cli::command_line().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version arrive here, too, and are not errors.
            finish_output(error.print())?;
            return Ok(if error.use_stderr() { ExitReason::Usage } else { ExitReason::Done });
        }
    };
    match cli::parse_task(&matches).map_err(|error| ProcessFailure::new(ExitReason::Config, error.to_string()))? {
        CliTask::Print(text) => finish_output(io::stdout().write_all(text.as_bytes()))?,
        CliTask::Serve(config) => process::run_until_stopped(*config)?,
    }
    Ok(ExitReason::Done)
}

fn main() -> ExitCode {
    let exit = perform_task().unwrap_or_else(|ProcessFailure { exit, sentence }| {
        eprintln!("chatd: {sentence}");
        exit
    });
    ExitCode::from(exit.code())
}
