//! End of a pod: requested by a signal, or forced by a failure that it must not outlive.

use crate::exit::{ExitReason, ProcessFailure};
use crate::store::{FatalCause, FatalSignal};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Time for which clients are still served after leadership has moved and the gRPC health service reports NOT_SERVING:
/// endpoints and proxies of Kubernetes take that long to follow, and send connections until then.
pub const LINGER: Duration = Duration::from_secs(2);

/// Waits for SIGTERM or SIGINT, and returns the name of the signal.
///
/// # Errors
/// Returns a failure if no signal handler can be installed.
pub async fn wait_for_signal() -> Result<&'static str, ProcessFailure> {
    let listen = |kind| signal(kind).map_err(|error| ProcessFailure::caused(ExitReason::Fatal, &error));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// Waits for a failure after which the memory of this process may differ from its disk.
pub async fn wait_for_failure(fatal: &FatalSignal) -> ProcessFailure {
    let FatalCause { exit, text } = fatal.raised().await;
    ProcessFailure::new(exit, format!("stopping at once so that the state stays consistent: {text}"))
}
