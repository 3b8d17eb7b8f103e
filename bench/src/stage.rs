//! Stages of a run: each announces itself on standard error, and has a time limit.

use anyhow::bail;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Longest time for a system's processes to become ready: ejabberd's nodes wait for one another three times.
pub(crate) const START: Duration = Duration::from_secs(400);
/// Longest time for what is done before or after something is measured.
pub(crate) const PREPARE: Duration = Duration::from_secs(120);
/// Longest time for the steps of a search, or for thousands of connections.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// Runs a stage, and fails if it does not end in time.
///
/// # Errors
/// Returns the error of the stage, or one that names the stage if it takes longer than the limit.
pub(crate) async fn run_stage<T>(
    what: &str,
    limit: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    announce_stage(what);
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => bail!("timed out after {limit:?}: {what}"),
    }
}

/// Prints one line with the time since the run began.
fn announce_stage(what: &str) {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let seconds = BEGUN.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("  [{:>2}:{:02}] {what}", seconds / 60, seconds % 60);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stage_that_hangs_ends_with_its_name() {
        let limit = Duration::from_millis(5);
        let error = run_stage("the moon rises", limit, std::future::pending::<anyhow::Result<()>>()).await.unwrap_err();
        assert_eq!(error.to_string(), "timed out after 5ms: the moon rises");
        assert_eq!(run_stage("two is made", PREPARE, async { Ok(2) }).await.unwrap(), 2);
    }
}
