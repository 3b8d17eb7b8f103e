//! What a process that runs a pod has beside the pod: the async runtime, logging and traces.
//!
//! The program calls [`run_until_stopped`], which is not async: each crate that polls an async function compiles it, and
//! all that it calls, once more.

use crate::config::Config;
use crate::exit::{ExitReason, ProcessFailure};
use crate::trace::export;
use crate::{serve, telemetry};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longest wait for blocking tasks at exit. A read of a large log or a flush may be running, but a disk that hangs must
/// not keep the process alive for ever.
const CLOSING: Duration = Duration::from_secs(10);

/// Runs a pod, and everything that its process needs, until it is told to stop.
///
/// # Errors
/// Returns why the pod could not start or did not go on, with the exit code of the process.
pub fn run_until_stopped(config: Config) -> Result<(), ProcessFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("chatd").build();
    let runtime = runtime.map_err(|error| ProcessFailure::caused(ExitReason::Fatal, &error))?;
    let done = run_on_runtime(&runtime, config);
    // Drops everything that still holds the database open, and so closes it. RocksDB's threads must be gone before C++
    // destroys its globals, or the process ends with an abort instead of its exit code.
    runtime.shutdown_timeout(CLOSING);
    done
}

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
