//! When and how a pod ends: told to by a signal, or forced to by a failure it must not outlive.

use crate::exit::{Exit, Failure};
use crate::store::Fatal;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// After leadership has moved and the door says NOT_SERVING, Kubernetes still sends connections for a moment: its
/// endpoints and proxies take that long to follow.
pub const LINGER: Duration = Duration::from_secs(2);

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be listened to.
pub async fn told() -> Result<&'static str, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::caused(Exit::Fatal, &error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// Waits for a failure after which this process's memory may differ from its disk.
pub async fn failed(fatal: &Fatal) -> Failure {
    let cause = fatal.raised().await;
    Failure::new(Exit::Fatal, format!("the process stops at once, so that its state stays right: {cause}"))
}
