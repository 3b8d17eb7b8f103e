//! Checkpoints of the state, and letting go of the log that they cover.

use super::{AdminError, Administration};
use crate::raft::consensus::SnapshotSummary;
use crate::raft::log::LogExtent;
use crate::raft::volume::{VolumeLevel, VolumeSizes};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A checkpoint is hard links and one flush; a minute means that the disk is in trouble.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// openraft passes a second wish over while one is being built: it is repeated.
const REPEAT_AFTER: u32 = 50;
/// On a volume that is short a checkpoint is made this often, or tried: the one before holds on to files that the state
/// has let go.
const WHEN_SHORT: Duration = Duration::from_secs(60);
/// What a follower still needs is kept until the log is so many times as large as it should be.
const HELD_TIMES: u64 = 4;

/// When checkpoints are made by themselves.
#[derive(Clone, Debug)]
pub struct Compaction {
    /// After so many entries since the last one.
    pub entries: u64,
    /// Or when the log holds so many bytes, and then also of the entries that would be kept: half of this stays.
    pub bytes: u64,
    /// Or when there is anything new after so long: a quiet pod, too, shall have little to read again at its start.
    pub age: Duration,
    /// Entries kept behind a checkpoint, within `bytes`, so that a restarted pod catches up without it.
    pub keep_entries: u64,
    /// How often both are looked at.
    pub every: Duration,
    /// How often rooms are looked through for events that their own rule no longer keeps.
    pub history_every: Duration,
    /// How often a part of the devices is looked through for those that nobody uses any more.
    pub devices_every: Duration,
    /// How long a device is kept after its session expired: its client comes back as the same device, with its name and
    /// its transaction ids, for as long as people are away.
    pub devices_kept: Duration,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            entries: 100_000,
            bytes: 1 << 30,
            age: Duration::from_secs(6 * 60 * 60),
            keep_entries: 20_000,
            every: Duration::from_secs(5),
            history_every: Duration::from_secs(30),
            devices_every: Duration::from_secs(60),
            devices_kept: Duration::from_secs(60 * 24 * 60 * 60),
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
        self.has_space_for_snapshot()?;
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
            self.inner.consensus.purge(self.releasable(last.index)).await?;
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
            if !self.is_due(&compaction, made) {
                continue;
            }
            match self.take_snapshot(true).await {
                Ok(_) => made = Instant::now(),
                Err(AdminError::Stopped(_)) => return,
                Err(error) => {
                    tracing::warn!(%error, "no snapshot was taken");
                    if matches!(error, AdminError::Refused(_)) {
                        sleep(WHEN_SHORT).await;
                    }
                }
            }
        }
    }

    fn is_due(&self, compaction: &Compaction, made: Instant) -> bool {
        let status = self.inner.cluster.status();
        let since = status.applied_index.saturating_sub(status.snapshot_index);
        if since >= compaction.entries || (since > 0 && made.elapsed() >= compaction.age) {
            return true;
        }
        if self.inner.volume.own().level != VolumeLevel::Enough && since > 0 && made.elapsed() >= WHEN_SHORT {
            return true;
        }
        // What must be kept, or is all in one segment, must not make the log look too large for ever.
        let extents = self.inner.log.extents();
        bytes_of(&extents) >= compaction.bytes && self.releasable(status.applied_index) > status.purged_index
    }

    /// Up to where the log can go once a checkpoint holds everything up to `last`.
    fn releasable(&self, last: u64) -> u64 {
        let Compaction { bytes, keep_entries, .. } = self.inner.compaction;
        let extents = self.inner.log.extents();
        let size = bytes_of(&extents);
        let by_bytes = if size >= bytes { before_last_bytes(&extents, bytes / 2) } else { 0 };
        let wanted = last.saturating_sub(keep_entries).max(by_bytes).min(last);
        // A follower that is away for good, or never gets through, must not fill this volume.
        let holds = size < bytes.saturating_mul(HELD_TIMES) && self.inner.volume.own().level == VolumeLevel::Enough;
        match self.inner.holds.least().filter(|_| holds) {
            Some(held) => wanted.min(held),
            None => wanted,
        }
    }

    /// A checkpoint is a flush and some small files; on a volume that is all but full the flush would fail, and with it
    /// the process.
    fn has_space_for_snapshot(&self) -> Result<(), AdminError> {
        let space = self.inner.volume.space();
        let needed = VolumeSizes::to_start(space.total);
        if space.total == 0 || space.free >= needed {
            return Ok(());
        }
        Err(AdminError::Refused(format!(
            "the volume has {} bytes left, a checkpoint needs {needed}: enlarge the volume, or free space on it",
            space.free
        )))
    }
}

fn bytes_of(extents: &[LogExtent]) -> u64 {
    extents.iter().map(|extent| extent.bytes).sum()
}

/// The last index before the newest segments that together have at most so many bytes; the newest always stays.
fn before_last_bytes(extents: &[LogExtent], bytes: u64) -> u64 {
    let mut kept = 0_u64;
    let mut first = None;
    for extent in extents.iter().rev() {
        kept = kept.saturating_add(extent.bytes);
        if first.is_some() && kept > bytes {
            break;
        }
        first = Some(extent.first);
    }
    first.unwrap_or(0).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_segments_stay_as_far_as_the_bytes_reach() {
        let extents: Vec<_> = [1, 100, 250, 400].map(|first| LogExtent { first, bytes: 10 }).to_vec();
        assert_eq!(before_last_bytes(&extents, 0), 399, "the newest stays");
        assert_eq!(before_last_bytes(&extents, 20), 249);
        assert_eq!(before_last_bytes(&extents, 29), 249);
        assert_eq!(before_last_bytes(&extents, 1000), 0);
        assert_eq!(before_last_bytes(&[], 5), 0);
    }
}
