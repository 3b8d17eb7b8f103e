//! Processes of the real binary, with real certificates, on free loopback ports.

pub mod administrator;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod gateway;
pub mod matrix;
pub mod ports;
pub mod process;
pub mod receiver;
pub mod signing;

use std::future::Future;
use std::time::{Duration, Instant};

/// Longest wait for anything; the machine may be busy with other builds.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two checks of a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` returns a value, and returns it. `what` describes the condition for the panic message.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
