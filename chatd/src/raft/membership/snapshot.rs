//! Checkpoints of the state, and letting go of the log that they cover.

use super::{AdminError, Administration};
use crate::raft::consensus::SnapshotSummary;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// A checkpoint is hard links and one flush; a minute means that the disk is in trouble.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// openraft passes a second wish over while one is being built: it is repeated.
const REPEAT_AFTER: u32 = 50;

/// When checkpoints are made by themselves.
#[derive(Clone, Debug)]
pub struct Compaction {
    /// After so many entries since the last one.
    pub entries: u64,
    /// Or when the log directory holds so many bytes.
    pub bytes: u64,
    /// Or when there is anything new after so long: a quiet pod, too, shall have little to read again at its start.
    pub age: Duration,
    /// Entries kept behind a checkpoint, so that a restarted pod catches up without it.
    pub keep_entries: u64,
    /// How often both are looked at.
    pub every: Duration,
    /// The log's directory; without it only entries count.
    pub log_dir: Option<PathBuf>,
    /// How often rooms are looked through for events that their own rule no longer keeps.
    pub history_every: Duration,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            entries: 100_000,
            bytes: 1 << 30,
            age: Duration::from_secs(6 * 60 * 60),
            keep_entries: 20_000,
            every: Duration::from_secs(5),
            log_dir: None,
            history_every: Duration::from_secs(30),
        }
    }
}

impl Administration {
    /// Makes a checkpoint of this node's state, at least as new as what is applied now; with `purge`, the log goes up
    /// to what it holds, but for [`Compaction::keep_entries`].
    ///
    /// # Errors
    /// [`AdminError::Refused`] when nothing is applied yet, [`AdminError::TimedOut`].
    pub async fn take_snapshot(&self, purge: bool) -> Result<SnapshotSummary, AdminError> {
        let wanted = self.inner.cluster.status().applied_index;
        if wanted == 0 {
            return Err(AdminError::Refused("this node has applied nothing yet; add it to a cluster first".into()));
        }
        match timeout(LIMIT, self.snapshot_at_least(wanted)).await {
            Ok(result) => result?,
            Err(_) => return Err(AdminError::TimedOut { after: LIMIT }),
        }
        let found = self.inner.consensus.snapshot().await;
        let summary = found.map_err(|error| AdminError::Stopped(error.to_string()))?;
        let summary = summary.ok_or_else(|| AdminError::Stopped("the snapshot is not there".into()))?;
        let applied = summary.last_applied.map(|last| last.index);
        tracing::info!(id = summary.id, applied, bytes = summary.size_bytes, purge, "took a snapshot");
        if purge && let Some(last) = summary.last_applied {
            self.inner.consensus.purge(last.index.saturating_sub(self.inner.compaction.keep_entries)).await?;
        }
        Ok(summary)
    }

    async fn snapshot_at_least(&self, wanted: u64) -> Result<(), AdminError> {
        let mut looks = 0_u32;
        while self.inner.cluster.status().snapshot_index < wanted {
            if looks.is_multiple_of(REPEAT_AFTER) {
                self.inner.consensus.build_snapshot().await?;
            }
            looks = looks.wrapping_add(1);
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Runs as long as the node: openraft's own policy is off, because it would purge all older log at its first
    /// snapshot.
    pub(crate) async fn keep_compact(self) {
        let compaction = self.inner.compaction.clone();
        let mut made = Instant::now();
        loop {
            sleep(compaction.every).await;
            if !self.is_due(&compaction, made).await {
                continue;
            }
            match self.take_snapshot(true).await {
                Ok(_) => made = Instant::now(),
                Err(AdminError::Stopped(_)) => return,
                Err(error) => tracing::warn!(%error, "no snapshot was taken"),
            }
        }
    }

    async fn is_due(&self, compaction: &Compaction, made: Instant) -> bool {
        let status = self.inner.cluster.status();
        let since = status.applied_index.saturating_sub(status.snapshot_index);
        if since >= compaction.entries || (since > 0 && made.elapsed() >= compaction.age) {
            return true;
        }
        // What is kept on purpose must not make the log look too large for ever.
        let Some(dir) = compaction.log_dir.clone().filter(|_| since > compaction.keep_entries) else { return false };
        let size = tokio::task::spawn_blocking(move || directory_bytes(&dir)).await;
        size.is_ok_and(|bytes| bytes >= compaction.bytes)
    }
}

/// Bytes of the files in it; what cannot be read counts nothing.
fn directory_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}
