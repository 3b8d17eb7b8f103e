//! The pods, which others have started.

use anyhow::{Context as _, Result, ensure};
use std::{env, time::Duration};
use tokio::{process::Command, time::timeout};

/// Limit of one loss of the leader: the tests that run at the same time take turns, and each restarted pod replays its log.
const LONGEST_LOSS: Duration = Duration::from_secs(240);

/// Returns the address of the homeserver; by default that of the first process of `deploy/local`.
#[must_use]
pub fn homeserver() -> String {
    env::var("QUORATE_HOMESERVER").unwrap_or_else(|_| "http://127.0.0.1:18008".to_owned())
}

/// Kills the pod that leads by the command in `QUORATE_KILL_LEADER`, and returns once it is ready again. Without the
/// variable, whoever runs the pods does that, or nobody does.
///
/// # Errors
/// Returns an error if the command fails, or takes too long.
pub async fn lose_the_leader() -> Result<()> {
    let Ok(command) = env::var("QUORATE_KILL_LEADER") else { return Ok(()) };
    let ended = timeout(LONGEST_LOSS, Command::new(&command).kill_on_drop(true).status()).await;
    let status = ended.with_context(|| format!("{command} did not end within {LONGEST_LOSS:?}"))??;
    ensure!(status.success(), "{command} ended with {status}");
    Ok(())
}
