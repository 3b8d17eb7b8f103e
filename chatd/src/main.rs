//! `chatd`: one pod of a Quorate chat cluster.

use quorate_chatd::cli::{self, CliTask};
use quorate_chatd::config::Config;
use quorate_chatd::exit::{ExitReason, ProcessFailure};
use quorate_chatd::trace::export;
use quorate_chatd::{serve, telemetry};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Allocator of the process, RocksDB included (`unprefixed_malloc`). A message takes some tens of small allocations,
/// made on one thread and freed on another, beside history that comes and goes. glibc's allocator costs more for both
/// and returns less memory. (mimalloc is as fast, but keeps half as much again for connections that wait.)
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Longest wait for blocking tasks at exit. A read of a large log or a flush may be running, but a disk that hangs must
/// not keep the process alive for ever.
const CLOSING: Duration = Duration::from_secs(10);

/// Runs a pod with traces and logging. Traces start before logging, which feeds them, and end after the pod.
fn run_on_runtime(runtime: &Runtime, config: Config) -> Result<(), ProcessFailure> {
    let traces = {
        let _within = runtime.enter();
        export::start_tracing(&config.traces, &config.node_name)
            .map_err(|error| ProcessFailure::caused(ExitReason::Config, &error))?
    };
    telemetry::start_logging(&config.log, traces.as_ref());
    let done = runtime.block_on(serve::run_pod(config));
    if let Some(traces) = traces {
        traces.finish();
    }
    done
}

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

fn run_until_stopped(config: Config) -> Result<(), ProcessFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("chatd").build();
    let runtime = runtime.map_err(|error| ProcessFailure::caused(ExitReason::Fatal, &error))?;
    let done = run_on_runtime(&runtime, config);
    // Drops everything that still holds the database open, and so closes it. RocksDB's threads must be gone before C++
    // destroys its globals, or the process ends with an abort instead of its exit code.
    runtime.shutdown_timeout(CLOSING);
    done
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
        CliTask::Serve(config) => run_until_stopped(*config)?,
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
