//! `chatd`: one pod of a Quorate chat cluster.

use quorate_chatd::cli::{self, Task};
use quorate_chatd::config::Config;
use quorate_chatd::exit::{Exit, Failure};
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
fn run(runtime: &Runtime, config: Config) -> Result<(), Failure> {
    let traces = {
        let _within = runtime.enter();
        export::start(&config.traces, &config.node_name).map_err(|error| Failure::caused(Exit::Config, &error))?
    };
    telemetry::start(&config.log, traces.as_ref());
    let done = runtime.block_on(serve::run(config));
    if let Some(traces) = traces {
        traces.finish();
    }
    done
}

/// Converts the result of writing to standard output: a closed pipe means that the reader has seen enough, and any
/// other error is a failure.
fn printed(attempt: io::Result<()>) -> Result<(), Failure> {
    match attempt.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Output, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn run_until_stopped(config: Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("chatd").build();
    let runtime = runtime.map_err(|error| Failure::caused(Exit::Fatal, &error))?;
    let done = run(&runtime, config);
    // Drops everything that still holds the database open, and so closes it. RocksDB's threads must be gone before C++
    // destroys its globals, or the process ends with an abort instead of its exit code.
    runtime.shutdown_timeout(CLOSING);
    done
}

/// Performs the task of the command line.
fn work() -> Result<Exit, Failure> {
    let matches = match cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version arrive here, too, and are not errors.
            printed(error.print())?;
            return Ok(if error.use_stderr() { Exit::Usage } else { Exit::Done });
        }
    };
    match cli::task(&matches).map_err(|error| Failure::new(Exit::Config, error.to_string()))? {
        Task::Print(text) => printed(io::stdout().write_all(text.as_bytes()))?,
        Task::Serve(config) => run_until_stopped(*config)?,
    }
    Ok(Exit::Done)
}

fn main() -> ExitCode {
    let exit = work().unwrap_or_else(|Failure { exit, sentence }| {
        eprintln!("chatd: {sentence}");
        exit
    });
    ExitCode::from(exit.code())
}
